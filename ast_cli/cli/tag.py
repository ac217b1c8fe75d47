"""`ast-tag tag`: recordings in, labels out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.cluster import cluster_format, tag_on_cluster
from ast_cli.cli.inputs import counting, inputs_of, refuse_missing
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import ExitCode, UsageError
from ast_cli.files import STDOUT
from ast_cli.names import parse_name
from ast_cli.results import display_name
from ast_cli.settings import Aggregation, EventSettings, Scores, Short, TagSettings

if TYPE_CHECKING:
    from ast_cli.outputs.writer import Writer

LABELS = options.LABELS
OUTPUT = options.OUTPUT
FORMATS_HELP = "table, json, jsonl, csv, tsv, parquet; of events: audacity, raven, dcase, rttm, vtt, srt."
DEFAULTS = TagSettings()
EVENTS = EventSettings()
FEW = 3  # names in a warning


def tag(
    ctx: typer.Context,
    paths: options.PathsArgument = None,
    files_from: options.FilesFromOption = None,
    null: options.NullOption = False,
    channel: options.ChannelOption = "mix",
    window: options.WindowOption = DEFAULTS.window,
    hop: options.HopOption = DEFAULTS.hop,
    short: Annotated[
        Short,
        typer.Option(
            rich_help_panel=options.HEARD,
            help="Windows shorter than the model's: pad them as in training, repeat them, or crop the model, "
            "which then is as much faster.",
        ),
    ] = DEFAULTS.short,
    top_k: options.TopKOption = DEFAULTS.top_k,
    threshold: options.ThresholdOption = None,
    include: options.IncludeOption = None,
    exclude: options.ExcludeOption = None,
    rollup: options.RollupOption = DEFAULTS.rollup,
    scores: Annotated[
        Scores,
        typer.Option(rich_help_panel=LABELS, help="What a score is; auto follows the checkpoint."),
    ] = "auto",
    aggregate: Annotated[
        Aggregation,
        typer.Option(
            rich_help_panel=LABELS,
            help="Windows to file: mean, weighed by the seconds each newly covers, or max.",
        ),
    ] = DEFAULTS.aggregate,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline",
            rich_help_panel=LABELS,
            help="The labels of every window; in JSON beside those of the file, in other formats instead.",
        ),
    ] = DEFAULTS.timeline,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            rich_help_panel=options.EVENTS,
            help="What is heard from when to when, one event for one sound. Times are as fine as --hop, "
            "never finer. Formats of events have them anyway.",
        ),
    ] = False,
    hysteresis: options.HysteresisOption = EVENTS.hysteresis,
    min_duration: options.MinDurationOption = EVENTS.min_duration,
    max_gap: options.MaxGapOption = EVENTS.max_gap,
    out: options.OutOption = "-",
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
    keep_scores: Annotated[
        bool,
        typer.Option(
            "--keep-scores",
            rich_help_panel=OUTPUT,
            help="Store all scores of all windows as .npz beside a JSON output, for `ast-tag export`.",
        ),
    ] = DEFAULTS.keep_scores,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            rich_help_panel=OUTPUT,
            help="Go on with the run of --out that was broken off, if there is one.",
        ),
    ] = False,
    overwrite: options.OverwriteOption = False,
    model: options.ModelOption = [DEFAULT_MODEL],  # noqa: B006 — Typer copies it
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    batch_size: options.BatchSizeOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    attn: options.AttnOption = "auto",
    engine: options.EngineOption = "torch",
    compile_: options.CompileOption = False,
    workers: options.WorkersOption = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            rich_help_panel=options.RUN,
            help="Stop at the first bad file; --resume goes on from there.",
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|auto|ADDRESS",
            rich_help_panel=options.CLUSTER,
            help="Tag on Ray: local starts one here, auto joins the cluster of RAY_ADDRESS or this machine. "
            "--out is then a folder or an address such as s3://bucket/dir, for a file per shard.",
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size",
            metavar="N",
            min=1,
            rich_help_panel=options.CLUSTER,
            help="Recordings in a shard, which is tagged in one go.",
            show_default="256",
        ),
    ] = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Tag recordings: the top labels of each, as a table or for another program.

    On a terminal the labels are drawn; into a pipe they are file, label and score, separated by tabs.
    Long recordings are heard whole, window by window.
    """
    from ast_cli.outputs.destination import common_folder, is_complete, open_destination

    if shard_size is not None and ray is None:
        raise UsageError("--shard-size is of --ray, which is not asked for", "Add --ray local")
    format_, writer = format_of(format_, out) if ray is None else cluster_format(format_, out)
    inputs = inputs_of(paths or [], files_from, null=null, offline=offline)
    if files_from is None and format_ == "table":
        refuse_missing(paths or [], [*getattr(ctx.parent and ctx.parent.command, "commands", ())])
    if ray is None:
        _refuse_outputs(paths or [], files_from, out, format_, writer, keep_scores=keep_scores)
    elif keep_scores or fail_fast:
        raise UsageError("--keep-scores and --fail-fast are for one machine", "Leave them out, or --ray")
    number, thresholds = options.threshold_of(threshold, scores)
    of_events = events or writer.of_events
    settings = TagSettings(
        top_k=top_k,
        threshold=number,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        rollup=rollup,
        events=events_of(hysteresis, min_duration, max_gap, wanted=of_events),
        aggregate=aggregate,
        channel=channel_of(channel),
        window=window,
        hop=hop,
        short=short,
        timeline=timeline,
        keep_scores=keep_scores,
    )
    screen = TagScreen(quiet=quiet, verbose=verbose)
    if timeline and (warning := options.windows_left_out(format_, events=of_events)):
        screen.warn(warning)
    how: dict[str, Any] = {
        "revision": revision,
        "device": device,
        "dtype": dtype,
        "attn_implementation": attn,
        "engine": engine,
        "compile": compile_,
        "scores": scores,
        "offline": offline,
    }
    if ray is not None:
        tag_on_cluster(
            ray,
            screen,
            inputs,
            settings,
            out=out,
            format_=format_,
            model=model,
            thresholds=thresholds,
            how=how,
            batch_size=batch_size,
            workers=workers,
            shard_size=shard_size,
            resume=resume,
            overwrite=overwrite,
            verbose=verbose,
        )
        if screen.failed:
            raise typer.Exit(ExitCode.SOME_FAILED)
        return
    if resume and not overwrite and out != STDOUT and is_complete(out):
        screen.warn(f"{out} is complete: there is nothing to go on with; --overwrite tags anew")
        return
    with (
        open_destination(
            out,
            format_,
            overwrite=overwrite,
            resume=resume,
            keep_scores=keep_scores,
            base=common_folder([] if files_from else paths or []),
        ) as destination,
        screen.closing_line(lambda: destination.kept),
    ):
        from ast_cli.tagger import Tagger

        tagger = Tagger.from_pretrained(model, **how, on_notice=screen.warn)
        if thresholds is not None:
            from ast_cli.training.thresholds import read_thresholds

            settings = replace(settings, threshold=read_thresholds(thresholds, tagger.labels))
        screen.note(tagger.description)
        screen.scores = tagger.scores
        screen.warn_if_guessed(model[0], scores, guessed=tagger.scores_are_guessed)
        leave_out: list[str] = [] if out == STDOUT else [out]
        asked: dict[str, Any] = {one.name: getattr(settings, one.name) for one in fields(settings)}
        outcomes = tagger.tag_many(
            inputs,
            batch_size=batch_size,
            workers=workers,
            on_heard=screen.heard,
            known=destination.known,
            leave_out=leave_out,
            **asked,
        )
        destination.begin(
            partial(tagger.run_info, batch_size=batch_size or "auto", **asdict(settings)),
            [tagger.labels[index] for index in range(len(tagger.labels))],
        )
        with screen.progress(counting(paths or [], files_from, leave_out)):
            for outcome in outcomes:
                with screen.showing_results(destination.stream):
                    is_new = destination.write(outcome)
                screen.outcome(outcome, is_new=is_new)
                if fail_fast and screen.failed:
                    raise typer.Exit(ExitCode.SOME_FAILED)
        _tell_changed(screen, destination.changed)
        destination.complete()
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def format_of(asked: str | None, out: str) -> tuple[str, type[Writer]]:
    """The format and its writer."""
    from ast_cli.outputs import FORMATS, choose_format
    from ast_cli.outputs.destination import is_folder

    if not out:
        raise UsageError("--out is empty", "Name a file or a folder; - is stdout")
    if parse_name(out).is_address:
        raise UsageError(
            f"--out {parse_name(out).shown} is an address, where only `ast-tag tag --ray` writes",
            "Name a file or a folder here, or add --ray local",
        )
    if asked is None and out != STDOUT and is_folder(out):
        raise UsageError(f"{out} is a folder, whose name tells no format", "Say --format")
    format_ = choose_format(asked, out)
    return format_, FORMATS[format_]


def _refuse_outputs(
    paths: list[str],
    files_from: str | None,
    out: str,
    format_: str,
    writer: type[Writer],
    *,
    keep_scores: bool,
) -> None:
    """Say so before anything runs if the output cannot hold what is asked for."""
    from ast_cli.outputs.destination import WITH_SCORES, is_folder
    from ast_cli.outputs.score_file import scores_path

    for path in paths:
        if os.path.isfile(path) and os.path.isfile(out) and os.path.samefile(path, out):  # noqa: PTH113, PTH121
            raise UsageError(f"--out {out} is one of the recordings", "Name another file")
    to_folder = out != STDOUT and is_folder(out)
    is_one = files_from is None and len(paths) == 1 and not parse_name(paths[0]).may_be_many()
    if not is_one and not writer.holds_many and not to_folder:
        raise UsageError(
            f"{format_} holds one recording a file", "Name a folder for the files: --out labels/"
        )
    if keep_scores and (to_folder or out == STDOUT or format_ not in WITH_SCORES):
        raise UsageError("--keep-scores stores the scores beside a JSON output", "Add --out results.jsonl")
    if keep_scores and scores_path(Path(out)) == Path(out):
        raise UsageError(f"{out} is where --keep-scores stores the scores", "Add --out results.jsonl")


def _tell_changed(screen: TagScreen, changed: Sequence[str]) -> None:
    if changed:
        few = ", ".join(map(display_name, changed[:FEW]))
        more = " …" if len(changed) > FEW else ""
        screen.warn(f"{len(changed):,} had changed since, and were tagged again: {few}{more}")


def events_of(
    hysteresis: float, min_duration: float, max_gap: float, *, wanted: bool
) -> EventSettings | None:
    """What the options of events say; None where there are none, for which nothing may be said either."""
    settings = EventSettings(hysteresis, min_duration, max_gap)
    if settings != EVENTS and not wanted:
        raise UsageError(
            "--hysteresis, --min-duration and --max-gap tell of events, which are not asked for",
            "Add --events, or a --format of events",
        )
    return settings if wanted else None


def channel_of(text: str) -> int | None:
    """What --channel says; None for the mean of all."""
    if text == "mix":
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise UsageError(f"no such channel: {text}", "--channel takes mix or a number from 1")
    return int(text)
