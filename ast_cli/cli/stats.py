"""`ast-tag stats`: the two numbers that features are normalised by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli.option_groups import argument, grouped, option
from ast_cli.cli.options import OfflineOption
from ast_cli.cli.screen import TagScreen, stdout
from ast_cli.errors import ExitCode
from ast_cli.outputs.json_writer import dump
from ast_cli.results import FileFailure, display_name

if TYPE_CHECKING:
    from ast_cli.training.datasets import LabelledClip

TABLES = (".csv", ".tsv", ".json")
NAMED = 20  # failures that the terminal names


@grouped
def stats(
    *,
    data: list[Path] = argument(
        ..., "Recordings, folders of them, or the tables `eval` takes.", metavar="DATA"
    ),
    model: str | None = option(
        None,
        "Whether this checkpoint's own numbers fit.",
        "-m",
        metavar="NAME",
        show_default=f"the numbers of {DEFAULT_MODEL}",
    ),
    audio: Path | None = option(
        None, "Where a table's recordings are.", metavar="DIR", show_default="beside it"
    ),
    with_padding: bool = option(
        False, "Count each clip's first window and its padding, as the original recipe does."
    ),
    as_json: bool = option(False, "One JSON document.", "--json"),
    offline: OfflineOption = False,
    quiet: bool = option(False, "No progress.", "-q"),
) -> None:
    """Measure mean and standard deviation of the fbank, over every frame of the recordings.

    A checkpoint's numbers fit where they bring these recordings to mean 0 and deviation 0.5.
    Padding is left out. Exit code 1 if a recording could not be read.
    """
    from ast_cli.features.extractor import ASTFeatureExtractor
    from ast_cli.networks.config import FeatureConfig
    from ast_cli.training.stats import measure_norm

    # AudioSet's numbers are FeatureConfig's own: no checkpoint need be here to compare with them.
    features = FeatureConfig() if model is None else FeatureConfig.from_pretrained(model, offline=offline)
    extractor = ASTFeatureExtractor(
        sampling_rate=features.sampling_rate,
        num_mel_bins=features.num_mel_bins,
        max_length=features.max_length,
    )
    screen = TagScreen(quiet=quiet, verbose=False)
    with screen.progress(None):
        measured = measure_norm(
            _clips(data, audio), extractor, with_padding=with_padding, on_clip=screen.heard
        )
    for failure in measured.failed[:NAMED]:
        screen.warn(f"{display_name(failure.file)}: {failure.error}: {failure.message}")
    mean, std = measured.normalised(features)
    fits = measured.fits(features)
    own = {"mean": features.mean, "std": features.std, "normalised_mean": mean, "normalised_std": std}
    with stdout() as console:
        if as_json:
            document = {
                **{name: getattr(measured, name) for name in ("mean", "std", "clips", "seconds")},
                "failed": [{"file": display_name(one.file), "error": one.error} for one in measured.failed],
                "with_padding": with_padding,
                "model": {"id": model or DEFAULT_MODEL, **own, "fits": fits},
            }
            console.file.write(dump(document, indent=2) + "\n")
        else:
            rows = {"mean": f"{measured.mean:.6f}", "std": f"{measured.std:.6f}", "clips": measured.clips}
            rows |= {"seconds": f"{measured.seconds:.2f}", "failed": len(measured.failed)}
            rows |= {"normalised mean": f"{mean:.3f}", "normalised std": f"{std:.3f}"}
            rows["fits"] = "yes" if fits else "no"
            console.file.writelines(f"{name}\t{value}\n" for name, value in rows.items())
    if measured.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _clips(data: list[Path], audio: Path | None) -> Iterator[LabelledClip | FileFailure]:
    from ast_cli.audio.discover import discover
    from ast_cli.training.datasets import LabelledClip, read_dataset

    for is_table, paths in itertools.groupby(data, lambda path: path.suffix.lower() in TABLES):
        if is_table:
            for path in paths:
                found = read_dataset(path, audio=audio)
                yield from found.clips
                for name in found.missing:
                    yield FileFailure(name, "not-found", "no such file")
        else:
            for file in discover(paths):
                yield file if isinstance(file, FileFailure) else LabelledClip(file, ())
