"""`ast-tag clips`: the events of a stored run, cut out of the recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ast_cli.cli import options
from ast_cli.cli.export import read_threshold
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import ExitCode
from ast_cli.results import FileResult, display_name
from ast_cli.settings import ClipFormat, EventSettings, LabelSettings
from ast_cli.text import counted

CUT = "What is cut"
EVENTS = EventSettings()
FAULTS = ("missing", "changed", "unreadable")  # of recordings


def clips(
    results: options.ResultsArgument,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=CUT,
            help="A folder for the clips, with one for each class and manifest.csv.",
            show_default=False,
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            metavar="CLASS",
            rich_help_panel=options.LABELS,
            help="Only these: a name, mid, index or glob; 'Animal/**' is a class with all below it. "
            "May be repeated.",
            show_default="all",
        ),
    ] = None,
    exclude: options.ExcludeOption = None,
    threshold: options.EventThresholdOption = None,
    rollup: options.RollupOption = False,
    hysteresis: options.HysteresisOption = EVENTS.hysteresis,
    min_duration: options.MinDurationOption = EVENTS.min_duration,
    max_gap: options.MaxGapOption = EVENTS.max_gap,
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=CUT,
            help="Where the recordings are now, in a tree like before.",
            show_default="where they were, from here",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", rich_help_panel=CUT, help="So much more before and after each event."
        ),
    ] = 0.0,
    most: Annotated[
        int | None,
        typer.Option(
            "--max",
            metavar="N",
            min=1,
            rich_help_panel=CUT,
            help="At most so many clips of each class, those of the highest scores.",
            show_default="all",
        ),
    ] = None,
    format_: Annotated[
        ClipFormat,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=CUT,
            help="Of the clips. They are what the recording is, to the sample; flac ends at 24 bits.",
        ),
    ] = "wav",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", rich_help_panel=CUT, help="Write into --out though it is not empty."),
    ] = False,
    quiet: options.QuietOption = False,
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
    labels = labels_of(stored)
    settings = LabelSettings(
        threshold=read_threshold(threshold, labels, stored),
        include=tuple(label or ()),
        exclude=tuple(exclude or ()),
        rollup=rollup,
        events=EventSettings(hysteresis, min_duration, max_gap),
    )
    replay = Replay(stored, labels, settings)
    screen = TagScreen(quiet=quiet, verbose=False)
    base = folder_of_all(stored.files())
    cutting = ClipSettings(margin, most, format_)
    # What cannot be had is said before a folder is made.
    next((outcome for outcome in replay.outcomes() if isinstance(outcome, FileResult)), None)
    counts: Counter[str] = Counter()
    told = None
    with (
        opened_folder(out, overwrite=overwrite) as folder,
        open_sink(str(folder / MANIFEST), overwrite=True) as stream,
    ):
        cutter = Cutter(replay.outcomes, labels.names, folder, base, audio, cutting)
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
        screen.warn(options.lacking(replay.missing, results))
    written = counts.pop("", 0)
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    screen.said(
        f"{counted(written + counts.total(), 'event')}: "
        f"{written:,} written, {counts.total():,} skipped{f' ({skipped})' if skipped else ''}"
    )
    if any(counts[fault] for fault in FAULTS):
        raise typer.Exit(ExitCode.SOME_FAILED)
