"""`ast-tag search`: what is alike among the vectors of `ast-tag embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ast_cli.cli import options
from ast_cli.cli.embed import MAKE_WINDOWS
from ast_cli.cli.option_groups import argument, grouped, only, option, option_group
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import InputError, ResultsError, UsageError
from ast_cli.files import STDOUT, open_sink
from ast_cli.names import parse_name
from ast_cli.outputs.search_results import (
    Pair,
    SearchFormat,
    SearchResult,
    write_search_results,
)
from ast_cli.results import FileFailure, display_name
from ast_cli.settings import NEAR_DUPLICATE, ModelSettings, TagSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ast_cli.outputs.embedding_file import StoredEmbeddings

WHAT = "What is searched"
NEAREST = 10
PAIRS = 1000


@option_group(WHAT)
class SearchOptions:
    """What is searched, and for how much."""

    in_: str = option(..., "The .npz, .parquet or .npy that `embed` wrote.", metavar="FILE")
    near_duplicates: bool = option(
        False, "List the pairs in the file that are nearly the same, instead of what is like a QUERY."
    )
    top_k: int | None = option(
        None,
        "At most so many, the nearest (0: all).",
        "-k",
        min=0,
        show_default=f"{NEAREST}; of pairs {PAIRS}",
    )
    threshold: float | None = option(
        None,
        "Leave out what is less alike.",
        metavar="COSINE",
        show_default=f"nothing; of pairs {NEAR_DUPLICATE}",
    )


@option_group(options.OUTPUT)
class SearchOutputOptions:
    """Where what is found goes, and as what."""

    out: str = option(STDOUT, "A file; - is stdout.", "-o", metavar="FILE")
    format_: SearchFormat | None = option(
        None,
        "In a pipe, a table is lines with tabs.",
        "-f",
        show_default="by the suffix of --out, else table",
    )
    overwrite: options.OverwriteOption = False


@grouped
def search(
    *,
    query: str | None = argument(
        None, "An audio file; - is one on stdin.", metavar="QUERY", show_default=False
    ),
    asked: SearchOptions,
    output: SearchOutputOptions,
    model: str | None = option(
        None,
        "Where the model of the file is now.",
        "-m",
        metavar="NAME",
        show_default="as the file names it",
        panel=options.MODEL,
    ),
    offline: options.OfflineOption = False,
    engine: Annotated[options.EngineOptions, only("device", "dtype")],
    messages: options.MessageOptions,
) -> None:
    """Find the recordings or windows that sound most like a recording, or pairs that are nearly the same.

    Every vector is compared, by its cosine: 1 is the same. QUERY is embedded as the file was.
    """
    if query is not None and parse_name(query).may_be_many():
        raise UsageError(f"{display_name(query)} may hold several recordings", "Name one as the QUERY")
    if (query is None) is not asked.near_duplicates:
        raise UsageError("name either a QUERY or --near-duplicates", "`ast-tag search clip.wav --in all.npz`")
    from ast_cli.outputs.embedding_file import read_embeddings

    stored = read_embeddings(asked.in_)
    screen = messages.screen()
    about = {"model": {"id": stored.model, "sha256": stored.sha256}, "in": display_name(asked.in_)}
    with open_sink(output.out, overwrite=output.overwrite) as stream:
        format_: SearchFormat = output.format_ or _by_suffix(output.out)
        if query is None:
            least = NEAR_DUPLICATE if asked.threshold is None else asked.threshold
            pairs = _pairs(stored, PAIRS if asked.top_k is None else asked.top_k, least, screen)
            write_search_results(stream, format_, Pair, pairs, about | {"threshold": least})
        else:
            how = ModelSettings(device=engine.device, dtype=engine.dtype, offline=offline)
            vector = _embed(query, stored, screen, model or stored.model, how)
            hits = _hits(stored, vector, NEAREST if asked.top_k is None else asked.top_k, asked.threshold)
            write_search_results(stream, format_, SearchResult, hits, about | {"query": display_name(query)})


def _by_suffix(out: str) -> SearchFormat:
    if out.lower().endswith(".json"):
        return "json"
    return "csv" if out.lower().endswith(".csv") else "table"


def _embed(
    query: str, stored: StoredEmbeddings, screen: TagScreen, model: str, how: ModelSettings
) -> NDArray[np.float32]:
    """The vector [D] of a recording, by the network of a file and as that has processed its own."""
    tagger = options.open_tagger(model, how, screen)
    [its] = tagger.run_info().models
    if its.sha256 != stored.sha256:
        raise ResultsError(
            f"{display_name(str(stored.path))} is of the model {stored.model} ({stored.sha256[:12]}), and "
            f"{its.id} is another ({its.sha256[:12]})",
            "--model says where the model of the file is now; or embed the recordings anew",
        )
    known = stored.settings
    settings = TagSettings(**{name: known[name] for name in MAKE_WINDOWS if name in known})
    [found] = tagger.embed([query], noise_masking=known.get("noise_masking"), settings=settings)
    if isinstance(found, FileFailure):
        cause = f"{display_name(query)}: {found.error}"
        if found.error == "no-such-channel":
            where = display_name(str(stored.path))
            raise InputError(found.error, f"{cause}: {where} is of channel {settings.channel} alone")
        raise InputError(found.error, f"{cause}: {found.message}")
    for warning in found.warnings:
        screen.warn(f"{display_name(query)}: {warning}")
    vector: NDArray[np.float32] = found.vectors[0]
    return vector


def _hits(
    stored: StoredEmbeddings, vector: NDArray[np.float32], top_k: int, threshold: float | None
) -> list[SearchResult]:
    from ast_cli.scoring.search import nearest

    rows, cosines = nearest(stored.vectors, vector, top_k=top_k, threshold=threshold, is_unit=stored.is_unit)
    return [
        SearchResult(rank, *stored.place(row), cosine)
        for rank, (row, cosine) in enumerate(zip(rows.tolist(), cosines.tolist(), strict=True), start=1)
    ]


def _pairs(stored: StoredEmbeddings, top_k: int, threshold: float, screen: TagScreen) -> list[Pair]:
    from ast_cli.scoring.search import near_duplicates

    found = near_duplicates(
        stored.vectors, stored.recording, threshold=threshold, top_k=top_k, is_unit=stored.is_unit
    )
    if found.total > len(found.cosine):
        screen.warn(f"of {found.total:,} pairs, the nearest {len(found.cosine):,} are shown: see --top-k")
    rows = zip(found.first.tolist(), found.second.tolist(), found.cosine.tolist(), strict=True)
    return [
        Pair(rank, *stored.place(first), *stored.place(second), cosine)
        for rank, (first, second, cosine) in enumerate(rows, start=1)
    ]
