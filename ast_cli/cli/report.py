"""`ast-tag report`: what was heard as one page, to look at and to listen to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.export import scores_of
from ast_cli.cli.inputs import counting, require_openable
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.tag import DEFAULTS, EVENTS
from ast_cli.errors import ExitCode, InputError, UsageError
from ast_cli.files import STDOUT, open_sink
from ast_cli.names import parse_name
from ast_cli.settings import LabelSettings
from ast_cli.text import counted

if TYPE_CHECKING:
    from ast_cli.results import Outcome

PAGE = "The page"
RESULTS_SUFFIXES = (".json", ".jsonl", ".journal")
# They say how recordings are tagged, which stored results already are.
OF_TAGGING = ("model", "revision", "offline", "hop", "batch_size", "device", "dtype", "engine", "workers")


def report(
    ctx: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS|PATH...",
            show_default=False,
            help="What `tag --out` wrote, a .jsonl, .json or .journal (- is stdin); or recordings and "
            "folders, as `tag` takes them, which are tagged first.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=PAGE,
            help="The page; - is stdout.",
            show_default=False,
        ),
    ],
    embed: Annotated[
        bool,
        typer.Option(
            "--embed",
            rich_help_panel=PAGE,
            help="Put the audio into the page, up to 64 MB of each recording; otherwise it is linked.",
        ),
    ] = False,
    no_spectrograms: Annotated[
        bool,
        typer.Option(
            "--no-spectrograms", rich_help_panel=PAGE, help="No pictures: smaller, and no audio is read."
        ),
    ] = False,
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=PAGE,
            help="Where the recordings of RESULTS are now, in a tree like before.",
            show_default="where they were, from here",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", rich_help_panel=PAGE, help="Heading.", show_default="what was named"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=PAGE, help="Replace --out if it is there already.")
    ] = False,
    top_k: options.TopKOption = DEFAULTS.top_k,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            rich_help_panel=options.LABELS,
            help="Drop labels scored below it.",
            show_default="none dropped; 0.5 for events",
        ),
    ] = None,
    include: options.IncludeOption = None,
    exclude: options.ExcludeOption = None,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=options.EVENTS,
            help="From one window to the next.",
            show_default="the window's length",
        ),
    ] = DEFAULTS.hop,
    model: options.ModelOption = [DEFAULT_MODEL],  # noqa: B006 — Typer copies it
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    batch_size: options.BatchSizeOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    engine: options.EngineOption = "torch",
    workers: options.WorkersOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Write one page that shows what was heard where, and plays it: it needs no network and no server.

    A list of the recordings to sort and filter; for each a player, its spectrogram, its labels
    over time, and its events to jump to. Send it with the recordings; made with --embed, alone.
    """
    from ast_cli.outputs.destination import folder_of_all
    from ast_cli.outputs.json_reader import read_results
    from ast_cli.report.page import Report, ReportSettings, require_packages, stored_outcomes, write_report

    require_packages(spectrograms=not no_spectrograms)
    is_stored = _is_results(what)
    given = [name for name in OF_TAGGING if _is_given(ctx, name)]
    if is_stored and given:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} says how recordings are tagged; {what[0]} has been", "Leave it out")
    if audio is not None and not is_stored:
        raise UsageError("--audio says where the recordings of stored results are", "Name those results")
    if not is_stored:
        require_openable(what, offline=offline)
        names = map(parse_name, what)
        if not any(os.path.lexists(one.text) or one.is_pattern() or one.is_there() for one in names):
            raise InputError("not-found", f"no such file: {', '.join(what)}", "Check the spelling")
    stored = read_results(what[0]) if is_stored else None
    if threshold is not None:
        options.require_threshold(threshold, "auto" if stored is None else scores_of(stored))
    labels = LabelSettings(top_k, threshold, tuple(include or ()), tuple(exclude or ()), events=EVENTS)
    screen = TagScreen(quiet=quiet, verbose=False)
    settings = ReportSettings(title or _heading(what), embed, not no_spectrograms)
    folder = Path.cwd() if out == STDOUT else Path(os.path.abspath(out)).parent  # noqa: PTH100 — links stay
    if stored is not None:
        from ast_cli.clips.places import find_recording

        base = folder_of_all(stored.files())
        with (
            Report(folder, settings, lambda file: find_recording(file, base, audio)) as page,
            open_sink(out, overwrite=overwrite) as stream,
        ):
            outcomes = stored_outcomes(
                stored, labels, lambda missing: screen.warn(options.lacking(missing, what[0]))
            )
            total = sum(1 for _ in stored.files())
            with screen.progress(lambda: range(total), "drawing"):
                write_report(_advancing(screen, outcomes), page, stream, lambda: stored.run)
        for warning in stored.warnings:
            screen.warn(warning)
    else:
        with (
            Report(folder, settings, lambda file: file if parse_name(file).is_there() else None) as page,
            open_sink(out, overwrite=overwrite) as stream,
            screen.closing_line(),
        ):
            from ast_cli.tagger import Tagger

            tagger = Tagger.from_pretrained(
                model,
                revision,
                device=device,
                dtype=dtype,
                engine=engine,
                offline=offline,
                on_notice=screen.warn,
            )
            screen.scores = tagger.scores
            screen.warn_if_guessed(model[0], "auto", guessed=tagger.scores_are_guessed)
            tagged = tagger.tag_many(
                what,
                batch_size=batch_size,
                workers=workers,
                on_heard=screen.heard,
                leave_out=[] if out == STDOUT else [out],
                top_k=top_k,
                threshold=threshold,
                include=labels.include,
                exclude=labels.exclude,
                events=EVENTS,
                hop=hop,
                timeline=True,
                keep_scores=True,
            )
            with _showing(screen, what, tagged) as heard:
                write_report(heard, page, stream, lambda: tagger.run_info(hop=hop, top_k=top_k))
    if page.odd:
        count = counted(page.odd, "recording")
        screen.warn(f"{count} cannot be played or drawn as tagged: the page says which and why")
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


@contextmanager
def _showing(screen: TagScreen, paths: list[str], tagged: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    """The outcomes, each of which shows in the progress."""

    def each() -> Iterator[Outcome]:
        for outcome in tagged:
            screen.outcome(outcome)
            yield outcome

    with screen.progress(counting(paths)):
        yield each()


def _advancing(screen: TagScreen, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes, each of which shows in the progress once the page has taken it."""
    for outcome in outcomes:
        yield outcome
        screen.advance()


def _heading(what: list[str]) -> str:
    """The name of the only thing that was named, if it has one."""
    is_stream = what[0] == STDOUT or Path(what[0]).is_fifo()
    return ("" if is_stream or len(what) > 1 else Path(what[0]).name) or "What was heard"


def _is_results(what: list[str]) -> bool:
    """Whether stored results were named rather than recordings."""
    stored = [
        one
        for one in what
        if one == STDOUT
        or one.lower().endswith(RESULTS_SUFFIXES)
        or (os.path.exists(one) and Path(one).is_fifo())  # noqa: PTH110
    ]
    if stored and len(what) > 1:
        raise UsageError(
            f"{stored[0]} holds results, beside which nothing else can be named", "Make a page of each"
        )
    return bool(stored)


def _is_given(ctx: typer.Context, name: str) -> bool:
    return getattr(ctx.get_parameter_source(name), "name", "") != "DEFAULT"
