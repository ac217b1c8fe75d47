"""Options that several commands share, written once."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.errors import UsageError
from ast_cli.settings import DEFAULT_EVENT_THRESHOLD, Attention, Dtype, EngineName, TorchDtype


def batch_size_of(text: str) -> int | None:
    """What --batch-size says; None for auto."""
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise UsageError(f"--batch-size {text} is neither auto nor a number from 1", "Leave it out for auto")
    return int(text)


HEARD = "What is heard"
MODEL = "Model"
RUN = "Where and how it runs"
CLUSTER = "On a cluster"
MESSAGES = "Messages"

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        help="Audio files; folders, walked recursively; tar and Parquet shards; addresses of these, as "
        "s3://bucket/folder/ or https://…; - is one audio file on stdin.",
    ),
]
FilesFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=HEARD,
        help="A list of paths and addresses, one a line; - is stdin.",
        show_default=False,
    ),
]
NullOption = Annotated[
    bool,
    typer.Option("--null", "-0", rich_help_panel=HEARD, help="The list is NUL-separated (`find -print0`)."),
]
ChannelOption = Annotated[
    str,
    typer.Option(metavar="mix|N", rich_help_panel=HEARD, help="mix (the mean) or a channel number from 1."),
]
WindowOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=HEARD,
        help="Length of a window.",
        show_default="the model's length",
    ),
]
HopOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=HEARD,
        help="From one window to the next.",
        show_default="the window's length",
    ),
]
ModelOption = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        rich_help_panel=MODEL,
        show_default=DEFAULT_MODEL,
        help="Hub id, folder, .safetensors, .pth or .bin. Given several times, the scores are averaged.",
    ),
]
OneModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        rich_help_panel=MODEL,
        help="Hub id, folder, weights file, or the built-in tiny.",
    ),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        rich_help_panel=MODEL,
        help="Hub branch, tag or commit.",
        show_default="the default branch",
    ),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", rich_help_panel=MODEL, help="Never touch the network.")
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", rich_help_panel=RUN, help="auto, cpu, cuda, cuda:N or mps."),
]
DtypeOption = Annotated[
    Dtype,
    typer.Option(
        rich_help_panel=RUN,
        help="Number format of the network; auto is float32, on CUDA float16. int8 is for openvino.",
    ),
]
TorchDtypeOption = Annotated[
    TorchDtype,
    typer.Option(rich_help_panel=RUN, help="Number format of the network; auto is float32, on CUDA float16."),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        rich_help_panel=RUN,
        help="What runs the network; openvino is faster on the CPU and comes with the extra of this name.",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile", rich_help_panel=RUN, help="Let torch compile the network first; for long runs on CUDA."
    ),
]
AttnOption = Annotated[
    Attention,
    typer.Option(
        metavar="NAME",
        rich_help_panel=RUN,
        help="Attention: auto, heads, sdpa, eager; flash, efficient, cudnn or math. auto is heads, one at a "
        "time, on the CPU, else sdpa, for which torch chooses among the last four.",
    ),
]
TrainAttnOption = Annotated[
    Attention,
    typer.Option(
        metavar="NAME",
        rich_help_panel=RUN,
        help="Attention: sdpa, eager; flash, efficient, cudnn or math, among which sdpa lets torch choose.",
    ),
]

LABELS = "Labels"
EVENTS = "Events"
TopKOption = Annotated[
    int, typer.Option("--top-k", "-k", min=0, rich_help_panel=LABELS, help="Labels per file (0: all).")
]
ThresholdOption = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|FILE",
        rich_help_panel=LABELS,
        help="Drop labels scored below it; a CSV of `eval --calibrate` has one for each class.",
        show_default="none dropped; 0.5 for events",
    ),
]
EventThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="NUMBER|FILE",
        rich_help_panel=LABELS,
        help="The score at which an event begins; a CSV of `eval --calibrate` has one for each class.",
        show_default=f"{DEFAULT_EVENT_THRESHOLD:g}",
    ),
]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="CLASS",
        rich_help_panel=LABELS,
        help="Only these: a name, mid, index or glob; 'Animal/**' is a class with all below it. "
        "May be repeated.",
        show_default=False,
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="CLASS", rich_help_panel=LABELS, help="Not these, likewise.", show_default=False
    ),
]
RollupOption = Annotated[
    bool,
    typer.Option(
        "--rollup",
        rich_help_panel=LABELS,
        help="Give each class the highest score among itself and all below it in AudioSet's tree.",
    ),
]
HysteresisOption = Annotated[
    float,
    typer.Option(
        metavar="PART",
        rich_help_panel=EVENTS,
        help="An event begins at the threshold and lasts while the score is at least this part of it.",
    ),
]
MinDurationOption = Annotated[
    float, typer.Option(metavar="SECONDS", rich_help_panel=EVENTS, help="Leave out shorter events.")
]
MaxGapOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", rich_help_panel=EVENTS, help="Events of a class that are this close are one."
    ),
]

OUTPUT = "Output"
OutOption = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE|DIR/",
        rich_help_panel=OUTPUT,
        help="A file; or a folder, ending in /, for a file per recording; - is stdout.",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace --out if it is there already."),
]

ResultsArgument = Annotated[
    str,
    typer.Argument(
        metavar="RESULTS",
        help="What `tag` wrote: .jsonl, .json, or the .journal of a run that was broken off; - is stdin.",
    ),
]

LABELLED = "The labelled recordings"
LABELLED_DATA = (
    "CSV with the header file,labels; AudioSet's segment CSV; the original AST's JSON; the folder of ESC-50 "
    "or Speech Commands; or a folder for each class."
)
AudioOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=LABELLED,
        help="Where the recordings are.",
        show_default="beside the table",
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=LABELLED,
        help="What the labels stand for: CSV with index, mid, display_name.",
        show_default="AudioSet's classes",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="auto|N",
        parser=batch_size_of,
        rich_help_panel=RUN,
        show_default="auto",
        help="Windows per forward pass; auto is 8 or one a core, or what a long run on CUDA does best with.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=RUN, help="Recordings decoded at once.", show_default="one a core, at most 16"
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=MESSAGES, help="Only failures on stderr.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", rich_help_panel=MESSAGES, help="Say what runs where.")
]


def threshold_of(text: str | None, scores: str) -> tuple[float | None, Path | None]:
    """What --threshold says of these scores: a number for all classes, or the file that has one for each."""
    if text is None:
        return None, None
    try:
        return require_threshold(float(text), scores), None
    except ValueError:
        if not os.path.exists(text):  # noqa: PTH110 — Path.exists may raise
            raise UsageError(
                f"--threshold {text} is neither a number nor a file", "`ast-tag eval --calibrate` writes one"
            ) from None
        return None, Path(text)


def require_threshold(number: float, scores: str) -> float:
    """The number, unless all scores of this kind, or none, are above it: it is not what was meant.

    Args:
        number: What --threshold says.
        scores: Of `settings.Scores`, where auto is never logits; empty if it is not known.
    """
    if scores in ("", "logits") or not math.isfinite(number) or 0 <= number <= 1:
        return number
    meant = f"Did you mean {number / 100:g}?" if 1 < number <= 100 else "Choose a number in between"
    raise UsageError(f"--threshold {number:g} fits no score: they are from 0 to 1", meant)


def windows_left_out(format_: str, *, events: bool) -> str:
    """The warning that a format does not show the windows of --timeline; empty if it does.

    Args:
        format_: A key of `outputs.FORMATS`.
        events: Whether there are events, be it that the format is of events.
    """
    if not events or format_ in ("json", "jsonl"):
        return ""
    return f"{format_} shows events alone, without the windows of --timeline; json --events has both"


def lacking(recordings: int, results: str) -> str:
    """The warning that results of a stored run are less than what was asked for."""
    what = "recording may lack" if recordings == 1 else "recordings may lack"
    return (
        f"{recordings:,} {what} labels or events, for which {results} kept too few labels: "
        "tag with --keep-scores to have all"
    )
