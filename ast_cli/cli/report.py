"""`ast-tag report`: the results as one page, to look at and to listen to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.cli import options
from ast_cli.cli.inputs import counting, require_openable
from ast_cli.cli.label_options import EVENT_DEFAULTS, EVENTS, LABELS, LabelOptions, require_threshold
from ast_cli.cli.option_groups import argument, grouped, option, option_group, without
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.stored import lacking, scores_of
from ast_cli.errors import ExitCode, InputError, UsageError
from ast_cli.files import STDOUT, open_sink
from ast_cli.names import parse_name
from ast_cli.settings import TagSettings
from ast_cli.text import counted

if TYPE_CHECKING:
    from ast_cli.outputs.json_reader import StoredRun
    from ast_cli.report.page import ReportSettings
    from ast_cli.results import Outcome, RunInfo

PAGE = "The page"
RESULTS_SUFFIXES = (".json", ".jsonl", ".journal")
# They say how recordings are tagged, which stored results already are.
OF_TAGGING = ("model", "revision", "offline", "hop", "batch_size", "device", "dtype", "engine", "workers")


@option_group(PAGE)
class PageOptions:
    """Where the page goes, and what is in it."""

    out: str = option(..., "The page; - is stdout.", "-o", metavar="FILE", show_default=False)
    embed: bool = option(
        False, "Put the audio into the page, up to 64 MB of each recording; otherwise it is linked."
    )
    no_spectrograms: bool = option(False, "No pictures: smaller, and no audio is read.")
    audio: Path | None = option(
        None,
        "Where the recordings of RESULTS are now, in a tree like before.",
        metavar="DIR",
        show_default="where they were, from here",
    )
    title: str | None = option(None, "Heading.", metavar="TEXT", show_default="what was named")
    overwrite: bool = option(False, "Replace --out if it is there already.")

    @property
    def folder(self) -> Path:
        """Of the page: links to recordings begin here."""
        return Path.cwd() if self.out == STDOUT else Path(os.path.abspath(self.out)).parent  # noqa: PTH100 — links stay


@option_group(LABELS)
class PageLabelOptions(LabelOptions):
    """Which labels and events the page shows."""

    threshold: float | None = option(  # type: ignore[assignment]  # a page needs no file of them
        None, "Drop labels scored below it.", metavar="NUMBER", show_default="none dropped; 0.5 for events"
    )
    hop: float | None = option(
        options.DEFAULTS.hop,
        "From one window to the next.",
        metavar="SECONDS",
        show_default="the window's length",
        panel=EVENTS,
    )

    @property
    def settings(self) -> TagSettings:
        """How recordings are tagged for a page, which shows events and the scores of windows."""
        settings = TagSettings(hop=self.hop, timeline=True, keep_scores=True)
        return self.applied_to(settings, self.threshold, EVENT_DEFAULTS)


@grouped
def report(
    *,
    ctx: typer.Context,
    what: list[str] = argument(
        ...,
        "What `tag --out` wrote, a .jsonl, .json or .journal (- is stdin); or recordings and "
        "folders, as `tag` takes them, which are tagged first.",
        metavar="RESULTS|PATH...",
        show_default=False,
    ),
    page: PageOptions,
    labels: Annotated[PageLabelOptions, without("rollup")],
    model: options.ModelOptions,
    engine: Annotated[options.EngineOptions, without("attn", "compile_")],
    messages: Annotated[options.MessageOptions, without("verbose")],
) -> None:
    """Write one page that shows what was heard where, and plays it: it needs no network and no server.

    A list of the recordings to sort and filter; for each a player, its spectrogram, its labels
    over time, and its events to jump to. Send it with the recordings; made with --embed, alone.
    """
    from ast_cli.outputs.json_reader import read_results
    from ast_cli.report.page import ReportSettings, require_packages

    require_packages(spectrograms=not page.no_spectrograms)
    is_stored = _is_results(what)
    given = [name for name in OF_TAGGING if _is_given(ctx, name)]
    if is_stored and given:
        name = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{name} says how recordings are tagged; {what[0]} has been", "Leave it out")
    if page.audio is not None and not is_stored:
        raise UsageError("--audio says where the recordings of stored results are", "Name those results")
    if not is_stored:
        require_openable(what, offline=model.offline)
        names = map(parse_name, what)
        if not any(os.path.lexists(one.text) or one.is_pattern() or one.is_there() for one in names):
            raise InputError("not-found", f"no such file: {', '.join(what)}", "Check the spelling")
    stored = read_results(what[0]) if is_stored else None
    if labels.threshold is not None:
        require_threshold(labels.threshold, "auto" if stored is None else scores_of(stored))
    screen = messages.screen()
    settings = ReportSettings(page.title or _heading(what), page.embed, not page.no_spectrograms)
    if stored is not None:
        odd = _draw_stored(stored, page, settings, labels.settings, screen)
    else:
        odd = _tag_and_draw(what, page, settings, labels.settings, model, engine, screen)
    if odd:
        count = counted(odd, "recording")
        screen.warn(f"{count} cannot be played or drawn as tagged: the page says which and why")
    if stored is not None and page.out != STDOUT:
        screen.said(f"{counted(sum(1 for _ in stored.files()), 'recording')}: drawn in {page.out}")
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _draw_stored(
    stored: StoredRun, page: PageOptions, settings: ReportSettings, labels: TagSettings, screen: TagScreen
) -> int:
    """The page of stored results; returns how many recordings are odd."""
    from ast_cli.clips.places import find_recording
    from ast_cli.outputs.destination import folder_of_all
    from ast_cli.report.page import Page, stored_outcomes, write_report

    base = folder_of_all(stored.files())
    with (
        Page(page.folder, settings, lambda file: find_recording(file, base, page.audio)) as report,
        open_sink(page.out, overwrite=page.overwrite) as stream,
    ):
        outcomes = stored_outcomes(
            stored, labels, lambda missing: screen.warn(lacking(missing, str(stored.path)))
        )
        total = sum(1 for _ in stored.files())
        with screen.progress(lambda: range(total), "drawing"):
            write_report(_advancing(screen, outcomes), report, stream, lambda: stored.run)
    for warning in stored.warnings:
        screen.warn(warning)
    return report.odd


def _tag_and_draw(
    paths: list[str],
    page: PageOptions,
    settings: ReportSettings,
    tag_settings: TagSettings,
    model: options.ModelOptions,
    engine: options.EngineOptions,
    screen: TagScreen,
) -> int:
    """The page of recordings, which are tagged for it; returns how many of them are odd."""
    from ast_cli.report.page import Page, write_report

    with (
        Page(page.folder, settings, lambda file: file if parse_name(file).is_there() else None) as report,
        open_sink(page.out, overwrite=page.overwrite) as stream,
        screen.closing_line(whole="" if page.out == STDOUT else page.out),
    ):
        tagger = options.open_tagger(model.model, engine.settings(model), screen)
        screen.scores = tagger.scores
        screen.warn_if_guessed(model.model[0], "auto", guessed=tagger.scores_are_guessed)
        tagged = tagger.tag_many(
            paths,
            batch_size=engine.batch_size,
            workers=engine.workers,
            on_heard=screen.heard,
            leave_out=[] if page.out == STDOUT else [page.out],
            settings=tag_settings,
        )

        def run_info() -> RunInfo:
            return tagger.run_info(hop=tag_settings.hop, top_k=tag_settings.top_k)

        with screen.progress(counting(paths)):
            write_report(_showing(screen, tagged), report, stream, run_info)
    return report.odd


def _showing(screen: TagScreen, tagged: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes, each of which shows in the progress."""
    for outcome in tagged:
        screen.outcome(outcome)
        yield outcome


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
