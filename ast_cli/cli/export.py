"""`ast-tag export`: a stored run in another format, with other labels or events, without the model."""

from __future__ import annotations

from itertools import chain, islice
from typing import Annotated

import typer

from ast_cli.cli.label_options import (
    AGGREGATE_HELP,
    EVENTS,
    LABELS,
    EventOptions,
    LabelOptions,
    TimelineOption,
    windows_left_out,
)
from ast_cli.cli.option_groups import grouped, option, option_group, without
from ast_cli.cli.options import OUTPUT, MessageOptions, OutputOptions, OverwriteOption
from ast_cli.cli.stored import ResultsArgument, lacking, scores_of, threshold_for
from ast_cli.files import STDOUT
from ast_cli.settings import Aggregation, LabelSettings
from ast_cli.text import counted

# Who asks for one of these wants to know if what was kept does not reach so far.
REACHING = ("top_k", "threshold", "include", "exclude", "rollup", "events", "hysteresis", "timeline")


@option_group(OUTPUT)
class ExportOutputOptions(OutputOptions):
    """Where results go, and as what."""

    overwrite: OverwriteOption = False


@grouped
def export(
    *,
    ctx: typer.Context,
    results: ResultsArgument,
    labels: LabelOptions,
    aggregate: Aggregation | None = option(None, AGGREGATE_HELP, show_default="as the run did", panel=LABELS),
    timeline: TimelineOption = False,
    events: bool = option(
        False, "What is heard from when to when. Formats of events have them anyway.", panel=EVENTS
    ),
    event_options: EventOptions,
    output: ExportOutputOptions,
    messages: Annotated[MessageOptions, without("verbose")],
) -> None:
    """Write the results of a run in another format, or with other labels: the model is not needed.

    The options mean what they mean for `tag`, and have the same defaults, whatever the run had.
    What `tag --keep-scores` stored gives everything anew, to the digit; others give what they kept.
    """
    from ast_cli.outputs.destination import folder_of_all
    from ast_cli.outputs.direct import open_output
    from ast_cli.outputs.json_reader import read_results
    from ast_cli.scoring.replay import Replay, labels_of

    format_, writer = output.format_and_writer()
    screen = messages.screen()
    of_events = events or writer.of_events
    if timeline and (warning := windows_left_out(format_, events=of_events)):
        screen.warn(warning)
    stored = read_results(results)
    names = labels_of(stored)
    settings = labels.applied_to(
        LabelSettings(),
        threshold_for(labels.threshold_of(scores_of(stored) if labels.threshold else ""), names, stored),
        event_options.settings_if(wanted=of_events),
    )
    replay = Replay(stored, names, settings, aggregate=aggregate, timeline=timeline)
    outcomes = replay.outcomes()
    first = [*islice(outcomes, 2)]
    if len(first) > 1:
        output.refuse_single(format_, writer)
    base = folder_of_all(stored.files() if output.to_folder else ())
    with open_output(
        output.out, format_, lambda: replay.run_info, overwrite=output.overwrite, base=base
    ) as write:
        count = sum(1 for _ in map(write, chain(first, outcomes)))
    for warning in stored.warnings:
        screen.warn(warning)
    asked = any(getattr(ctx.get_parameter_source(name), "name", "") != "DEFAULT" for name in REACHING)
    if replay.missing and (asked or writer.of_events):
        screen.warn(lacking(replay.missing, results))
    if output.out != STDOUT:
        screen.said(f"{counted(count, 'recording')}: written to {output.out}")
