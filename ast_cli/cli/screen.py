"""What a person sees on stderr: messages, progress, the closing line. Results never come here."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ast_cli.errors import AstCliError
from ast_cli.files import open_stdout
from ast_cli.results import FileFailure, Outcome, display_name
from ast_cli.settings import in_words
from ast_cli.text import clock, color_system, one_line

if TYPE_CHECKING:
    from ast_cli.cluster.worker import ShardReport
    from ast_cli.scoring.embedding import Embedding

ROOM_FOR_BAR = 80  # columns; in less it would push the numbers out
ROOM_FOR_LONG_BAR = 110
LONG_BAR, SHORT_BAR = 40, 10
FEW = 6  # suffixes that are named
FAST = 100  # times realtime, of which nobody wants a decimal


def stderr() -> Console:
    """A console on the stderr of this moment, so that tests can put another in its place."""
    return _MessageConsole(stderr=True, color_system=color_system(), highlight=False, soft_wrap=True)


class _MessageConsole(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:  # such as of a full disk
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True  # nobody reads the messages any more; the results are none the worse for it


@contextmanager
def stdout() -> Iterator[Console]:
    """A console for what a command prints; writing fails as in `sink.open_stdout`."""
    with open_stdout() as stream:
        yield _OutConsole(
            file=stream, color_system=color_system(), highlight=False, soft_wrap=not stream.isatty()
        )


class _OutConsole(Console):
    def on_broken_pipe(self) -> None:
        raise  # as every writer to a pipe does; rich would exit with 1, which means something else here


def error_line(message: str, console: Console | None = None) -> None:
    """One line that says what is wrong."""
    line = Text("ast-tag: ", "bold red")
    line.append(one_line(message), "not bold default")
    (console or stderr()).print(line)


def _of_other_kinds(passed_over: Counter[str]) -> str:
    count = passed_over.total()
    kinds = ", ".join(
        f"{suffix or 'without a suffix'} {number:,}" for suffix, number in passed_over.most_common(FEW)
    )
    more = ", …" if len(passed_over) > FEW else ""
    return f"passed over {count:,} {'file' if count == 1 else 'files'} of other kinds: {kinds}{more}"


class TagScreen:
    """The messages of one tagging run: progress while it lasts, failures as they come, a closing line.

    Args:
        quiet: Say nothing but failures.
        verbose: Say what runs where, too.
        done: What is done with recordings.
    """

    def __init__(self, *, quiet: bool, verbose: bool, done: str = "tagged") -> None:
        self._console = stderr()
        self._quiet = quiet
        self._verbose = verbose
        self._done = done
        self._progress: Progress | None = None
        self._started = time.perf_counter()
        self._seconds = 0.0
        self.scores = ""
        self.tagged = 0
        self.failed = 0
        self.skipped = 0
        self.passed_over: Counter[str] = Counter()

    @contextmanager
    def progress(
        self, count: Callable[[], Iterable[object]] | None, doing: str = "tagging"
    ) -> Iterator[None]:
        """Show progress while the block runs, on a terminal only.

        Args:
            count: Gives the inputs once more, for the total; None where they can be read only once.
            doing: What is done with them.
        """
        self._started = time.perf_counter()
        if self._quiet or not self._console.is_terminal:
            yield
            return
        length = LONG_BAR if self._console.width >= ROOM_FOR_LONG_BAR else SHORT_BAR
        bar = (TextColumn("[progress.description]{task.description}"), BarColumn(length))
        self._progress = Progress(
            *(bar if self._console.width >= ROOM_FOR_BAR else ()),
            MofNCompleteColumn(),
            TextColumn("{task.fields[heard]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(doing, total=None, heard="")
        if count is not None:
            # Walking a large tree takes a while; tagging need not wait for it.
            threading.Thread(target=self._count, args=(count,), daemon=True).start()
        try:
            with self._progress:
                yield
        finally:
            self._progress = None

    def passed(self, done: int, total: int) -> None:
        """Move the bar of what is counted in passes through the network."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def _count(self, count: Callable[[], Iterable[object]]) -> None:
        try:
            total = sum(1 for _ in count())
        except AstCliError:  # the run will meet it, too, and tell
            return
        progress = self._progress
        if progress is not None:
            progress.update(self._task, total=total)

    @contextmanager
    def _above_progress(self) -> Iterator[None]:
        """Take the progress line away while something else is written to the same terminal."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def showing_results(self, stream: TextIO | None) -> AbstractContextManager[None]:
        """Around writing to `stream`: keeps results and progress apart where both are on the terminal.

        What reads a pipe may show rows there whenever it likes: from the first one on, they are the progress.
        """
        if stream is None or self._progress is None:
            return nullcontext()
        if stream.isatty():
            return self._above_progress()
        with suppress(OSError):  # of a stream that is no file
            if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
                self._progress.stop()
                self._progress = None
        return nullcontext()

    def heard(self, seconds: float) -> None:
        """More audio was scored."""
        self._seconds += seconds
        if self._progress is not None:
            self._progress.update(self._task, heard=self._rate())

    def advance(self) -> None:
        """An input is done."""
        if self._progress is not None:
            self._progress.advance(self._task)

    def outcome(self, outcome: Outcome | Embedding, *, is_new: bool = True) -> None:
        """A recording is done, or was before this run."""
        self.advance()
        if not is_new:
            self.skipped += 1
            return
        file = display_name(outcome.file)
        if isinstance(outcome, FileFailure):
            self.failed += 1
            with self._above_progress():
                error_line(f"{file}: {outcome.error}: {outcome.message}", self._console)
            return
        self.tagged += 1
        for warning in outcome.warnings:
            self.warn(f"{file}: {warning}")

    def skip(self, recordings: int) -> None:
        """So many were done before this run."""
        self.skipped += recordings

    def report(self, report: ShardReport) -> None:
        """A shard is done, whose recordings have their outcomes."""
        for notice in report.notices:
            self.warn(notice)
        for file, error, message in report.failures:
            self.outcome(FileFailure(file, error, message))
        for file, warning in report.warnings:
            self.warn(f"{display_name(file)}: {warning}")
        self.tagged += report.tagged
        self.skipped -= report.again
        self.heard(report.seconds)
        if self._progress is not None:
            self._progress.advance(self._task, report.tagged)

    def failure(self, message: str) -> None:
        """Something that could not be done, said even when all else is quiet."""
        with self._above_progress():
            error_line(message, self._console)

    def said(self, message: str) -> None:
        """An opening or closing line of another run than of tagging."""
        if not self._quiet:
            self._say(message, "dim")

    def warn(self, message: str) -> None:
        """Something that is odd but stops nothing."""
        if not self._quiet:
            with self._above_progress():
                self._say(f"ast-tag: warning: {message}", "yellow")

    def warn_if_guessed(self, model: str, scores: str, *, guessed: bool) -> None:
        """Say so if nobody said whether the classes exclude each other, neither the model nor --scores."""
        if scores == "auto" and guessed:
            self.warn(
                f"{model} does not say whether its classes exclude each other: softmax is assumed; "
                "--scores sigmoid takes each on its own"
            )

    def note(self, message: str) -> None:
        """Something for --verbose."""
        if self._verbose:
            self._say(message, "dim")

    @contextmanager
    def closing_line(self, kept: Callable[[], str] = str, *, whole: str = "") -> Iterator[None]:
        """After the block: what came in is what was tagged, failed or skipped.

        If the block breaks off, says what was done and where the results so far are.

        Args:
            kept: Says it; nowhere if that is empty.
            whole: A file that is written at the end or not at all.
        """
        try:
            yield
        except BaseException as error:
            where = kept()
            is_over = self.tagged or self.failed or isinstance(error, KeyboardInterrupt)
            if is_over and not isinstance(error, BrokenPipeError):
                how = f"; kept in {where}: --resume goes on from there" if where else ""
                lost = f"; {whole} is not written" if whole else ""
                self._say(f"{self._counts()} before the end{how}{lost}")
            raise
        inputs = self.tagged + self.failed + self.skipped
        if not self._quiet:
            scores = f" · {in_words(self.scores)}" if self.scores and self.tagged else ""
            counts = f"{self._counts()}, {self.skipped} skipped"
            if self.passed_over:
                self._say(_of_other_kinds(self.passed_over), "dim")
            again = " · --resume tries the failed again" if self.failed and kept() else ""
            what = "input" if inputs == 1 else "inputs"
            self._say(f"{inputs} {what}: {counts}{self._rate(' · ')}{scores}{again}", "dim")

    def _counts(self) -> str:
        return f"{self.tagged} {self._done}, {self.failed} failed"

    def _rate(self, before: str = "") -> str:
        elapsed = time.perf_counter() - self._started
        if not self._seconds:
            return ""
        speed = self._seconds / elapsed
        return f"{before}{clock(self._seconds)} of audio, {speed:.{0 if speed >= FAST else 1}f} × realtime"

    def _say(self, message: str, style: str = "") -> None:
        # Broken by the terminal where it must be, so that a line that is copied is one line.
        self._console.print(Text(one_line(message), style), soft_wrap=True)
