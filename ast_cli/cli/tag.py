"""`ast-tag tag`: recordings in, labels out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ast_cli.cli import options
from ast_cli.cli.cluster import ClusterOptions, cluster_format, tag_on_cluster
from ast_cli.cli.inputs import counting, inputs_of, refuse_missing
from ast_cli.cli.label_options import EVENTS, EventOptions, GivenThreshold, TagLabelOptions, windows_left_out
from ast_cli.cli.option_groups import grouped, option, option_group
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import ExitCode, UsageError
from ast_cli.files import STDOUT
from ast_cli.names import parse_name
from ast_cli.results import display_name
from ast_cli.settings import ModelSettings, TagSettings

if TYPE_CHECKING:
    from ast_cli.outputs.writer import Writer

FEW = 3  # names in a warning


@option_group(options.OUTPUT)
class TagOutputOptions(options.OutputOptions):
    """Where results go, and what is kept of them."""

    keep_scores: bool = option(
        options.DEFAULTS.keep_scores,
        "Store all scores of all windows as .npz beside a JSON output, for `ast-tag export`.",
    )
    resume: bool = option(False, "Go on with the run of --out that was broken off, if there is one.")
    overwrite: options.OverwriteOption = False


@dataclass(frozen=True)
class TagRequest:
    """What is to be tagged, and how, wherever that happens.

    Attributes:
        names: What the user named.
        settings: How recordings are tagged; for a threshold that is in a file, see `threshold`.
        threshold: What --threshold says.
        output: Where the results go.
        format: Of the results.
        models: Names of the checkpoints.
        how: How they are opened.
        engine: How many recordings and windows are processed at once.
    """

    names: Iterable[str]
    settings: TagSettings
    threshold: GivenThreshold
    output: TagOutputOptions
    format: str
    models: list[str]
    how: ModelSettings
    engine: options.EngineOptions


@grouped
def tag(
    *,
    inputs: options.InputOptions,
    windows: options.WindowOptions,
    labels: TagLabelOptions,
    events: bool = option(
        False,
        "What is heard from when to when, one event for one sound. Times are as fine as --hop, "
        "never finer. Formats of events have them anyway.",
        panel=EVENTS,
    ),
    event_options: EventOptions,
    output: TagOutputOptions,
    model: options.ModelOptions,
    engine: options.EngineOptions,
    fail_fast: bool = option(
        False, "Stop at the first bad file; --resume goes on from there.", panel=options.RUN
    ),
    cluster: ClusterOptions,
    messages: options.MessageOptions,
) -> None:
    """Tag recordings: the top labels of each, as a table or for another program.

    On a terminal the labels are drawn; into a pipe they are file, label and score, separated by tabs.
    Long recordings are heard whole, window by window.
    """
    if cluster.shard_size is not None and cluster.ray is None:
        raise UsageError("--shard-size is of --ray, which is not asked for", "Add --ray local")
    format_, writer = output.format_and_writer() if cluster.ray is None else cluster_format(output)
    names = inputs_of(inputs, offline=model.offline)
    if inputs.files_from is None and format_ == "table":
        refuse_missing(inputs.paths)
    if cluster.ray is None:
        _refuse_outputs(inputs, output, format_, writer)
    elif output.keep_scores or fail_fast:
        raise UsageError("--keep-scores and --fail-fast are for one machine", "Leave them out, or --ray")
    threshold = labels.threshold_of(labels.scores)
    of_events = events or writer.of_events
    settings = replace(
        labels.applied_to(windows.settings, threshold.number, event_options.settings_if(wanted=of_events)),
        aggregate=labels.aggregate,
        timeline=labels.timeline,
        keep_scores=output.keep_scores,
    )
    screen = messages.screen()
    if labels.timeline and (warning := windows_left_out(format_, events=of_events)):
        screen.warn(warning)
    request = TagRequest(
        names,
        settings,
        threshold,
        output,
        format_,
        model.model,
        engine.settings(model, labels.scores),
        engine,
    )
    if cluster.ray is not None:
        tag_on_cluster(cluster, request, screen, verbose=messages.verbose)
    else:
        _tag_here(request, inputs, screen, fail_fast=fail_fast)
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _tag_here(
    request: TagRequest, named: options.InputOptions, screen: TagScreen, *, fail_fast: bool
) -> None:
    """Tag on this machine."""
    from ast_cli.outputs.destination import common_folder, is_complete, open_destination

    output = request.output
    out = output.out
    if output.resume and not output.overwrite and out != STDOUT and is_complete(out):
        screen.warn(f"{out} is complete: there is nothing to go on with; --overwrite tags anew")
        return
    with (
        open_destination(
            out,
            request.format,
            overwrite=output.overwrite,
            resume=output.resume,
            keep_scores=output.keep_scores,
            base=common_folder([] if named.files_from else named.paths),
        ) as destination,
        screen.closing_line(lambda: destination.kept),
    ):
        tagger = options.open_tagger(request.models, request.how, screen)
        settings = replace(request.settings, threshold=request.threshold.of(tagger.labels))
        screen.scores = tagger.scores
        screen.warn_if_guessed(request.models[0], request.how.scores, guessed=tagger.scores_are_guessed)
        leave_out: list[str] = [] if out == STDOUT else [out]
        outcomes = tagger.tag_many(
            request.names,
            batch_size=request.engine.batch_size,
            workers=request.engine.workers,
            on_heard=screen.heard,
            known=destination.known,
            leave_out=leave_out,
            passed_over=screen.passed_over,
            settings=settings,
        )
        destination.begin(
            partial(tagger.run_info, batch_size=request.engine.batch_size or "auto", **asdict(settings)),
            [tagger.labels[index] for index in range(len(tagger.labels))],
        )
        with screen.progress(counting(named.paths, named.files_from, leave_out)):
            for outcome in outcomes:
                with screen.showing_results(destination.stream):
                    is_new = destination.write(outcome)
                screen.outcome(outcome, is_new=is_new)
                if fail_fast and screen.failed:
                    raise typer.Exit(ExitCode.SOME_FAILED)
        screen.note(tagger.counters.in_words())
        _tell_changed(screen, destination.changed)
        destination.complete(retry=screen.failed > 0)


def _refuse_outputs(
    named: options.InputOptions, output: TagOutputOptions, format_: str, writer: type[Writer]
) -> None:
    """Say so before anything runs if the output cannot hold what is asked for."""
    from ast_cli.outputs.destination import WITH_SCORES
    from ast_cli.outputs.score_file import scores_path

    out = output.out
    for path in named.paths:
        if os.path.isfile(path) and os.path.isfile(out) and os.path.samefile(path, out):  # noqa: PTH113, PTH121
            raise UsageError(f"--out {out} is one of the recordings", "Name another file")
    if named.files_from is not None or len(named.paths) != 1 or parse_name(named.paths[0]).may_be_many():
        output.refuse_single(format_, writer)
    if output.keep_scores and (output.to_folder or out == STDOUT or format_ not in WITH_SCORES):
        raise UsageError("--keep-scores stores the scores beside a JSON output", "Add --out results.jsonl")
    if output.keep_scores and scores_path(Path(out)) == Path(out):
        raise UsageError(f"{out} is where --keep-scores stores the scores", "Add --out results.jsonl")


def _tell_changed(screen: TagScreen, changed: Sequence[str]) -> None:
    if changed:
        few = ", ".join(map(display_name, changed[:FEW]))
        more = " …" if len(changed) > FEW else ""
        screen.warn(f"{len(changed):,} had changed since, and were tagged again: {few}{more}")
