"""`ast-tag tag`: recordings in, labels out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from ast_cli.audio.discover import STDIN, discover, read_list
from ast_cli.cli import options
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import ExitCode, InputError, UsageError
from ast_cli.labels import did_you_mean
from ast_cli.published import DEFAULT_MODEL
from ast_cli.settings import DEFAULT_BATCH_SIZE, Aggregation, Scores, TagSettings

WHAT = "What is tagged"
LABELS = "Labels"
OUTPUT = "Output"
DEFAULTS = TagSettings()


def tag(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="Audio files; folders, walked recursively; - is one audio file on stdin.",
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=WHAT,
            help="A list of paths, one a line; - is stdin.",
            show_default=False,
        ),
    ] = None,
    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", rich_help_panel=WHAT, help="The list is NUL-separated (`find -print0`)."
        ),
    ] = False,
    channel: Annotated[
        str,
        typer.Option(
            metavar="mix|N", rich_help_panel=WHAT, help="mix (the mean) or a channel number from 1."
        ),
    ] = "mix",
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=WHAT,
            help="Length of a window.",
            show_default="the model's length",
        ),
    ] = DEFAULTS.window,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=WHAT,
            help="From one window to the next.",
            show_default="the window's length",
        ),
    ] = DEFAULTS.hop,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=0, rich_help_panel=LABELS, help="Labels per file (0: all).")
    ] = DEFAULTS.top_k,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            rich_help_panel=LABELS,
            help="Drop labels scored below it; a CSV of `eval --calibrate` has one for each class.",
            show_default="none dropped",
        ),
    ] = None,
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
        bool, typer.Option("--timeline", rich_help_panel=LABELS, help="Keep the windows' labels too.")
    ] = DEFAULTS.timeline,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="A file; - is stdout.")
    ] = "-",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            rich_help_panel=OUTPUT,
            help="table, json, jsonl, csv or tsv.",
            show_default="by the suffix of --out, else table",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace --out if it is there already."),
    ] = False,
    model: options.ModelOption = [DEFAULT_MODEL],  # noqa: B006 — Typer copies it
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    batch_size: options.BatchSizeOption = DEFAULT_BATCH_SIZE,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    attn: options.AttnOption = "sdpa",
    workers: options.WorkersOption = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            rich_help_panel=options.RUN,
            help="Stop at the first bad file; the results so far stay in NAME.part.",
        ),
    ] = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Tag recordings: the top labels of each, as a table or for another program.

    On a terminal the labels are drawn; into a pipe they are file, label and score, separated by tabs.
    Long recordings are heard whole, window by window.
    """
    from ast_cli.outputs import choose_format, make_writer
    from ast_cli.outputs.sink import open_sink

    format_ = choose_format(format_, out)
    if null and files_from is None:
        raise UsageError("-0 says how a list is separated, but there is none", "Add --files-from FILE")
    if files_from is None and format_ == "table":
        _refuse_missing(paths or [], [*getattr(ctx.parent and ctx.parent.command, "commands", ())])
    for path in paths or []:
        if os.path.isfile(path) and os.path.isfile(out) and os.path.samefile(path, out):  # noqa: PTH113, PTH121
            raise UsageError(f"--out {out} is one of the recordings", "Name another file")
    inputs = _inputs(paths or [], files_from, "\0" if null else "\n")
    number, thresholds = _threshold(threshold)
    settings = TagSettings(
        top_k,
        number,
        aggregate=aggregate,
        channel=_channel(channel),
        window=window,
        hop=hop,
        timeline=timeline,
    )
    screen = TagScreen(quiet=quiet, verbose=verbose)
    with screen.closing_line(out), open_sink(out, overwrite=overwrite) as stream:
        from ast_cli.tagger import Tagger

        tagger = Tagger.from_pretrained(
            model,
            revision,
            device=device,
            dtype=dtype,
            attn_implementation=attn,
            scores=scores,
            offline=offline,
        )
        if thresholds is not None:
            from ast_cli.training.thresholds import read_thresholds

            settings = replace(settings, threshold=read_thresholds(thresholds, tagger.labels))
        screen.note(tagger.description)
        screen.scores = tagger.scores
        if scores == "auto" and tagger.scores_are_guessed:
            screen.warn(
                f"{model[0]} does not say whether its classes exclude each other: softmax is assumed; "
                "--scores sigmoid takes each on its own"
            )
        outcomes = tagger.tag_many(
            inputs,
            batch_size=batch_size,
            workers=workers,
            on_heard=screen.heard,
            **asdict(settings),
        )
        run_info = partial(tagger.run_info, batch_size=batch_size, **asdict(settings))
        with (
            # A list can be read only once, so that its length is not known before its end.
            screen.progress(None if files_from else lambda: discover(paths or [])),
            make_writer(format_, stream, run_info) as writer,
        ):
            for outcome in outcomes:
                screen.outcome(outcome)
                with screen.showing_results(stream):
                    writer.write(outcome)
                if fail_fast and screen.failed:
                    raise typer.Exit(ExitCode.SOME_FAILED)
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _threshold(text: str | None) -> tuple[float | None, Path | None]:
    """A number for all classes, or the file that has one for each."""
    if text is None:
        return None, None
    try:
        return float(text), None
    except ValueError:
        if not os.path.exists(text):  # noqa: PTH110 — Path.exists may raise
            raise UsageError(
                f"--threshold {text} is neither a number nor a file", "`ast-tag eval --calibrate` writes one"
            ) from None
        return None, Path(text)


def _channel(text: str) -> int | None:
    if text == "mix":
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise UsageError(f"no such channel: {text}", "--channel takes mix or a number from 1")
    return int(text)


def _inputs(paths: list[str], files_from: str | None, separator: str) -> Iterable[str]:
    """The paths of the command line, then those of the list as they come."""
    if not paths and files_from is None:
        raise UsageError("nothing to tag", "Name files or folders, or --files-from a list")
    if files_from == "-" and "-" in paths:
        raise UsageError("stdin cannot be both an audio file and a list of files")
    if files_from is None:
        return paths
    if files_from == "-" and sys.stdin is None:
        raise UsageError("standard input is closed", "Name a file with the list")
    try:
        # Names are bytes: what is not UTF-8 comes through as it is.
        lines = (
            sys.stdin.buffer if files_from == "-" else open(files_from, "rb")  # noqa: PTH123, SIM115
        )
    except OSError as error:
        raise UsageError(f"cannot read the list {files_from}: {error.strerror}") from error
    return chain(paths, read_list(lines, separator.encode()))


def _refuse_missing(paths: list[str], commands: list[str]) -> None:
    """Say so at once if nothing that was named is there: a slip should not cost the loading of a model.

    Only to a person: another program gets the document it asked for, with the failures in it.
    """
    if not paths or any(path == STDIN or os.path.lexists(path) for path in paths):
        return
    hint = did_you_mean(paths[0], commands).replace("mean ", "mean the command ")
    raise InputError("not-found", f"no such file: {', '.join(paths)}", hint or "Check the spelling")
