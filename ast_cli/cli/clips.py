"""`ast-tag clips`: the events of a stored run, cut out of the recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ast_cli.cli.label_options import (
    LABELS,
    EventLabelOptions,
    EventOptions,
    EventThresholdOption,
    complete_class,
)
from ast_cli.cli.option_groups import After, grouped, option, option_group, without
from ast_cli.cli.options import MessageOptions
from ast_cli.cli.stored import ResultsArgument, lacking, scores_of, threshold_for
from ast_cli.errors import ExitCode
from ast_cli.results import FileResult, display_name
from ast_cli.settings import ClipFormat, LabelSettings
from ast_cli.text import counted

CUT = "What is cut"
FAULTS = ("missing", "changed", "unreadable")  # of recordings


@option_group(CUT)
class CutOptions:
    """What is cut, and where it goes."""

    out: str = option(
        ...,
        "A folder for the clips, with one for each class and manifest.csv.",
        "-o",
        metavar="DIR",
        show_default=False,
    )
    audio: Path | None = option(
        None,
        "Where the recordings are now, in a tree like before.",
        metavar="DIR",
        show_default="where they were, from here",
    )
    margin: float = option(0.0, "So much more before and after each event.", metavar="SECONDS")
    most: int | None = option(
        None,
        "At most so many clips of each class, those of the highest scores.",
        "--max",
        metavar="N",
        min=1,
        show_default="all",
    )
    format_: ClipFormat = option(
        "wav", "Of the clips. They are what the recording is, to the sample; flac ends at 24 bits.", "-f"
    )
    overwrite: bool = option(False, "Write into --out though it is not empty.")


@option_group(LABELS)
class ClipLabelOptions(EventLabelOptions):
    """The classes whose events are cut."""

    include: list[str] = option(
        [],
        "Only these: a name, mid, index or glob; 'Animal/**' is a class with all below it. May be repeated.",
        "--label",
        "-l",
        metavar="CLASS",
        autocompletion=complete_class,
        show_default="all",
    )
    threshold: Annotated[EventThresholdOption, After("exclude")] = None


@grouped
def clips(
    *,
    results: ResultsArgument,
    cut: CutOptions,
    labels: Annotated[ClipLabelOptions, without("top_k")],
    events: EventOptions,
    messages: Annotated[MessageOptions, without("verbose")],
) -> None:
    """Cut the events of a run out of its recordings, at their own rate and channels.

    The run must have had --timeline, --events or, best, --keep-scores. manifest.csv has a row for
    every event: its clip, or why there is none. Exit code 1 if a recording is missing, unreadable
    or not what it was.
    """
    from ast_cli.clips.cutter import ClipSettings, ClipTable, Cutter
    from ast_cli.clips.places import MANIFEST
    from ast_cli.files import open_sink
    from ast_cli.outputs.destination import folder_of_all
    from ast_cli.outputs.direct import opened_folder
    from ast_cli.outputs.json_reader import read_results
    from ast_cli.scoring.replay import Replay, labels_of

    stored = read_results(results)
    names = labels_of(stored)
    settings = labels.applied_to(
        LabelSettings(),
        threshold_for(labels.threshold_of(scores_of(stored) if labels.threshold else ""), names, stored),
        events.settings,
    )
    replay = Replay(stored, names, settings)
    screen = messages.screen()
    base = folder_of_all(stored.files())
    cutting = ClipSettings(cut.margin, cut.most, cut.format_)
    # What cannot be had is said before a folder is made.
    next((outcome for outcome in replay.outcomes() if isinstance(outcome, FileResult)), None)
    counts: Counter[str] = Counter()
    told = None
    with (
        opened_folder(cut.out, overwrite=cut.overwrite) as folder,
        open_sink(str(folder / MANIFEST), overwrite=True) as stream,
    ):
        cutter = Cutter(replay.outcomes, names.names, folder, base, cut.audio, cutting)
        table = ClipTable(stream)
        for clip in cutter.clips():
            table.add(clip)
            counts[clip.skipped] += 1
            if clip.skipped in FAULTS and clip.file != told:
                told = clip.file
                screen.failure(f"{display_name(clip.file)}: {clip.skipped}: {clip.message}")
    for warning in stored.warnings:
        screen.warn(warning)
    if replay.missing:
        screen.warn(lacking(replay.missing, results))
    written = counts.pop("", 0)
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    screen.said(
        f"{counted(written + counts.total(), 'event')}: "
        f"{written:,} written, {counts.total():,} skipped{f' ({skipped})' if skipped else ''}"
    )
    if any(counts[fault] for fault in FAULTS):
        raise typer.Exit(ExitCode.SOME_FAILED)
