"""`ast-tag search`: what is alike among the vectors of `ast-tag embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ast_cli.cli import options
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.tag import OUTPUT
from ast_cli.errors import InputError, ResultsError, UsageError
from ast_cli.files import STDOUT, open_sink
from ast_cli.names import parse_name
from ast_cli.outputs.search_results import Hit, HitFormat, Pair, write_hits
from ast_cli.results import FileFailure, display_name
from ast_cli.settings import NEAR_DUPLICATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ast_cli.outputs.embedding_file import StoredEmbeddings

WHAT = "What is searched"
NEAREST = 10
PAIRS = 1000


def search(
    query: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", show_default=False, help="An audio file; - is one on stdin."),
    ] = None,
    in_: Annotated[
        str,
        typer.Option(
            "--in",
            metavar="FILE",
            rich_help_panel=WHAT,
            help="The .npz, .parquet or .npy that `embed` wrote.",
        ),
    ] = ...,  # type: ignore[assignment]
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates",
            rich_help_panel=WHAT,
            help="List the pairs in the file that are nearly the same, instead of what is like a QUERY.",
        ),
    ] = False,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            "-k",
            min=0,
            rich_help_panel=WHAT,
            help="At most so many, the nearest (0: all).",
            show_default=f"{NEAREST}; of pairs {PAIRS}",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            rich_help_panel=WHAT,
            help="Leave out what is less alike.",
            show_default=f"nothing; of pairs {NEAR_DUPLICATE}",
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="A file; - is stdout."),
    ] = STDOUT,
    format_: Annotated[
        HitFormat | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=OUTPUT,
            show_default="by the suffix of --out, else table",
            help="In a pipe, a table is lines with tabs.",
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            rich_help_panel=options.MODEL,
            help="Where the model of the file is now.",
            show_default="as the file names it",
        ),
    ] = None,
    offline: options.OfflineOption = False,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Find the recordings or windows that sound most like a recording, or pairs that are nearly the same.

    Every vector is compared, by its cosine: 1 is the same. QUERY is embedded as the file was.
    """
    if query is not None and parse_name(query).may_be_many():
        raise UsageError(f"{display_name(query)} may hold several recordings", "Name one as the QUERY")
    if (query is None) is not near_duplicates:
        raise UsageError("name either a QUERY or --near-duplicates", "`ast-tag search clip.wav --in all.npz`")
    from ast_cli.outputs.embedding_file import read_embeddings

    stored = read_embeddings(in_)
    screen = TagScreen(quiet=quiet, verbose=verbose)
    about: dict[str, Any] = {"model": {"id": stored.model, "sha256": stored.sha256}, "in": display_name(in_)}
    with open_sink(out, overwrite=overwrite) as stream:
        how: HitFormat = format_ or _by_suffix(out)
        if query is None:
            least = NEAR_DUPLICATE if threshold is None else threshold
            pairs = _pairs(stored, PAIRS if top_k is None else top_k, least, screen)
            write_hits(stream, how, Pair, pairs, about | {"threshold": least})
        else:
            vector = _embed(
                query, stored, screen, model or stored.model, offline=offline, device=device, dtype=dtype
            )
            hits = _hits(stored, vector, NEAREST if top_k is None else top_k, threshold)
            write_hits(stream, how, Hit, hits, about | {"query": display_name(query)})


def _by_suffix(out: str) -> HitFormat:
    if out.lower().endswith(".json"):
        return "json"
    return "csv" if out.lower().endswith(".csv") else "table"


def _embed(
    query: str, stored: StoredEmbeddings, screen: TagScreen, model: str, **where: Any
) -> NDArray[np.float32]:
    """The vector [D] of a recording, by the network of a file and as that has heard its own."""
    from ast_cli.tagger import Tagger

    tagger = Tagger.from_pretrained(model, on_notice=screen.warn, **where)
    [its] = tagger.run_info().models
    if its.sha256 != stored.sha256:
        raise ResultsError(
            f"{display_name(str(stored.path))} is of the model {stored.model} ({stored.sha256[:12]}), and "
            f"{its.id} is another ({its.sha256[:12]})",
            "--model says where the model of the file is now; or embed the recordings anew",
        )
    screen.note(tagger.description)
    heard = {name: stored.settings.get(name) for name in ("window", "hop", "noise_masking")}
    [found] = tagger.embed([query], short=stored.settings.get("short", "pad"), **heard)  # type: ignore[arg-type]
    if isinstance(found, FileFailure):
        raise InputError(found.error, f"{display_name(query)}: {found.error}: {found.message}")
    for warning in found.warnings:
        screen.warn(f"{display_name(query)}: {warning}")
    vector: NDArray[np.float32] = found.vectors[0]
    return vector


def _hits(
    stored: StoredEmbeddings, vector: NDArray[np.float32], top_k: int, threshold: float | None
) -> list[Hit]:
    from ast_cli.scoring.search import nearest

    rows, cosines = nearest(stored.vectors, vector, top_k=top_k, threshold=threshold, is_unit=stored.is_unit)
    return [
        Hit(rank, *stored.place(row), cosine)
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
