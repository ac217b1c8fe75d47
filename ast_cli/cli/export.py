"""`ast-tag export`: a stored run in another format, with other labels or events, without the model."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.cli import options
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.tag import FORMATS_HELP, OUTPUT, events_of, format_of
from ast_cli.errors import UsageError
from ast_cli.files import STDOUT
from ast_cli.results import FileResult
from ast_cli.settings import Aggregation, EventSettings, LabelSettings

if TYPE_CHECKING:
    from ast_cli.outputs.json_reader import StoredRun
    from ast_cli.scoring.labels import LabelSet

DEFAULTS = LabelSettings()
EVENTS = EventSettings()
# Whoever asks for one of these wants to know if what was kept does not reach so far.
REACHING = ("top_k", "threshold", "include", "exclude", "rollup", "events", "hysteresis", "timeline")


def export(
    ctx: typer.Context,
    results: options.ResultsArgument,
    top_k: options.TopKOption = DEFAULTS.top_k,
    threshold: options.ThresholdOption = None,
    include: options.IncludeOption = None,
    exclude: options.ExcludeOption = None,
    rollup: options.RollupOption = DEFAULTS.rollup,
    aggregate: Annotated[
        Aggregation | None,
        typer.Option(
            rich_help_panel=options.LABELS,
            help="Windows to file: mean, weighed by the seconds each newly covers, or max.",
            show_default="as the run did",
        ),
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline",
            rich_help_panel=options.LABELS,
            help="The labels of every window; in JSON beside those of the file, in other formats instead.",
        ),
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            rich_help_panel=options.EVENTS,
            help="What is heard from when to when. Formats of events have them anyway.",
        ),
    ] = False,
    hysteresis: options.HysteresisOption = EVENTS.hysteresis,
    min_duration: options.MinDurationOption = EVENTS.min_duration,
    max_gap: options.MaxGapOption = EVENTS.max_gap,
    out: options.OutOption = STDOUT,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            rich_help_panel=OUTPUT,
            help=FORMATS_HELP,
            show_default="by the suffix of --out, else table",
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write the results of a run in another format, or with other labels: the model is not needed.

    The options mean what they mean for `tag`, and have the same defaults, whatever the run had.
    What `tag --keep-scores` stored gives everything anew, to the digit; others give what they kept.
    """
    from ast_cli.outputs.destination import folder_of_all, is_folder
    from ast_cli.outputs.direct import open_output
    from ast_cli.outputs.json_reader import read_results
    from ast_cli.scoring.replay import Replay, labels_of

    format_, writer = format_of(format_, out)
    screen = TagScreen(quiet=quiet, verbose=False)
    of_events = events or writer.of_events
    if timeline and (warning := options.windows_left_out(format_, events=of_events)):
        screen.warn(warning)
    stored = read_results(results)
    labels = labels_of(stored)
    settings = LabelSettings(
        top_k=top_k,
        threshold=read_threshold(threshold, labels, stored),
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        rollup=rollup,
        events=events_of(hysteresis, min_duration, max_gap, wanted=of_events),
    )
    replay = Replay(stored, labels, settings, aggregate=aggregate, timeline=timeline)
    outcomes = replay.outcomes()
    first = [*islice(outcomes, 2)]
    to_folder = out != STDOUT and is_folder(out)
    if len(first) > 1 and not writer.holds_many and not to_folder:
        raise UsageError(
            f"{format_} holds one recording a file", "Name a folder for the files: --out labels/"
        )
    base = folder_of_all(stored.files() if to_folder else ())
    with open_output(out, format_, lambda: replay.run_info, overwrite=overwrite, base=base) as write:
        for outcome in chain(first, outcomes):
            write(outcome)
    for warning in stored.warnings:
        screen.warn(warning)
    asked = any(getattr(ctx.get_parameter_source(name), "name", "") != "DEFAULT" for name in REACHING)
    if replay.missing and (asked or writer.of_events):
        screen.warn(options.lacking(replay.missing, results))


def scores_of(stored: StoredRun) -> str:
    """What the scores of a stored run are; empty if it does not say, or has none."""
    return next((one.scores for one in stored.outcomes() if isinstance(one, FileResult)), "")


def read_threshold(
    text: str | None, labels: LabelSet, stored: StoredRun
) -> float | tuple[float | None, ...] | None:
    """What --threshold says for the classes of a stored run."""
    number, file = options.threshold_of(text, scores_of(stored) if text else "")
    if file is None:
        return number
    from ast_cli.training.thresholds import read_thresholds

    if not all(labels.names):
        raise UsageError(
            f"a threshold for each class needs the names of all, and {stored.path} has but those it found",
            "Tag with --keep-scores, or give one number",
        )
    return read_thresholds(file, labels)
