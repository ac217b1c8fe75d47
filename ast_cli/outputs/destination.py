"""Where the outcomes of a run go, and what is left of them if it does not come to its end.

Standard output and devices get every outcome at once. A file is made of the journal when the run is complete.
In a folder each recording has a file of its own, and the journal knows which ones are there.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from ast_cli.errors import OutputError, UsageError
from ast_cli.files import STDOUT, open_sink, output_errors, target_of
from ast_cli.names import parse_name
from ast_cli.outputs import FORMATS, make_writer
from ast_cli.outputs.journal import Header, Journal
from ast_cli.outputs.score_file import holds_scores, scores_path, write_score_file
from ast_cli.outputs.writer import Writer
from ast_cli.results import FileResult, Outcome, RunInfo
from ast_cli.text import RESERVED

LONGEST_NAME = 250  # bytes that the name of a file may have, with some to spare
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
WITH_SCORES = ("json", "jsonl")  # formats beside which scores may lie
FOLDER_JOURNAL = ".ast-tag.journal"


class Destination(ABC):
    """Takes the outcomes of a run in order: `begin`, `write` each, `complete`.

    Attributes:
        format: A key of `FORMATS`.
        changed: Recordings that an earlier run tagged, and that are not what they were.
        stream: What is written to at once; None if results show up only at the end.
    """

    def __init__(self, format_: str, stream: TextIO | None = None, changed: Sequence[str] = ()) -> None:
        self.format = format_
        self.stream = stream
        self.changed = changed

    @abstractmethod
    def begin(self, run_info: Callable[[], RunInfo], classes: Sequence[tuple[str, str]]) -> None:
        """Say what the outcomes are made with, before the first one.

        Args:
            run_info: Tells it; called only if somebody wants to know.
            classes: Mid and name of each class.
        """

    def known(self, file: str) -> FileResult | None:
        """The result of a recording that needs not be tagged again; called on another thread."""
        return None

    @abstractmethod
    def write(self, outcome: Outcome) -> bool:
        """Take the next outcome; whether it is new, and not one that was `known`."""

    def complete(self, *, retry: bool = False) -> None:  # noqa: B027 — a stream has nothing left to do
        """Every input has its outcome; the journal stays if another run shall `retry` what failed."""

    @property
    def kept(self) -> str:
        """Where the outcomes are if the run breaks off now; empty if nowhere else."""
        return ""


class StreamDestination(Destination):
    """Writes every outcome at once."""

    _writer: Writer | None = None

    def begin(self, run_info: Callable[[], RunInfo], classes: Sequence[tuple[str, str]]) -> None:  # noqa: D102
        assert self.stream is not None
        writer = make_writer(self.format, self.stream, run_info)
        writer.begin()
        self._writer = writer  # one that could not begin has nothing to end

    def write(self, outcome: Outcome) -> bool:  # noqa: D102
        assert self._writer is not None
        self._writer.write(outcome)
        self._writer.stream.flush()
        return True

    def end(self) -> None:
        """No more outcomes come, even if the run broke off: a document is closed, and can be read."""
        if self._writer is not None:
            self._writer.end()


class JournalDestination(Destination):
    """Keeps outcomes in a journal, from which an unfinished run goes on.

    A file is made of it when it is complete. In a folder each recording has a file as soon as it has its
    outcome, in a tree like that of the recordings.

    Args:
        path: The file or folder.
        format_: A key of `FORMATS`.
        journal: Open, and closed by others.
        base: Of a folder, what the recordings' places in it are told from; None of a file.
        resume: Whether an earlier run goes on.
        keep_scores: Whether all scores of all windows are stored beside the file.
    """

    def __init__(
        self,
        path: Path,
        format_: str,
        journal: Journal,
        base: Path | None,
        *,
        resume: bool,
        keep_scores: bool,
    ) -> None:
        super().__init__(format_, changed=journal.changed)
        self._path, self._journal, self._base = path, journal, base
        self._resume, self._keep_scores = resume, keep_scores

    def begin(self, run_info: Callable[[], RunInfo], classes: Sequence[tuple[str, str]]) -> None:  # noqa: D102
        self._run_info, self._header = run_info, Header(run_info(), classes)
        self._journal.begin(self._header, resume=self._resume)

    def known(self, file: str) -> FileResult | None:  # noqa: D102
        place = self._place(file)
        return None if place is not None and not place.exists() else self._journal.known(file)

    def write(self, outcome: Outcome) -> bool:  # noqa: D102
        place = None if self._journal.is_reused(outcome) else self._place(outcome.file)
        if place is not None:
            write_recording(place, self.format, self._run_info, outcome)
        return self._journal.add(outcome)

    def complete(self, *, retry: bool = False) -> None:  # noqa: D102
        if self._base is None:
            if self._keep_scores:
                write_score_file(scores_path(self._path), self._journal.outcomes, self._header)
            write_file(self._path, self.format, self._run_info, self._journal.outcomes())
        self._journal.close(remove=not retry)

    @property
    def kept(self) -> str:  # noqa: D102
        return str(self._journal.path) if self._journal.path.exists() and not self._journal.is_empty else ""

    def _place(self, file: str) -> Path | None:
        if self._base is None:
            return None
        return self._path / place_in_folder(file, self._base, FORMATS[self.format].suffix)


def write_file(
    path: Path, format_: str, run_info: Callable[[], RunInfo], outcomes: Iterable[Outcome]
) -> None:
    """Write outcomes to a file, which appears when it is complete, and its folder; or raise OutputError."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with open_sink(str(path), overwrite=True) as stream, make_writer(format_, stream, run_info) as writer:
        for outcome in outcomes:
            writer.write(outcome)


def write_recording(path: Path, format_: str, run_info: Callable[[], RunInfo], outcome: Outcome) -> None:
    """Write the file of one recording: none for one that failed, unless the format can say so."""
    if isinstance(outcome, FileResult) or FORMATS[format_].tells_failures:
        write_file(path, format_, run_info, [outcome])
        return
    with output_errors(path):  # an empty file, or an older one, would say that nothing was found
        path.unlink(missing_ok=True)


def common_folder(paths: Sequence[str]) -> Path:
    """The folder under which all of the paths lie; of one folder, itself."""
    if not paths:
        return Path.cwd()
    return Path(_common(*(parse_name(path).tree_folder() for path in paths)))


def folder_of_all(files: Iterable[str]) -> Path:
    """The folder under which all files lie, of which there may be any number."""
    common: str | None = None
    for file in files:
        folder = os.path.dirname(parse_name(file).tree_path())  # noqa: PTH120
        common = folder if common is None else _common(common, folder)
    return Path(common or Path.cwd())


def _common(*folders: str) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # on two drives of Windows
        return os.path.sep


def place_in_folder(file: str, base: Path, suffix: str) -> Path:
    """Where the results of a recording stand in a folder: at its path from `base`, with a suffix more.

    So no two recordings share a place. One that is not under `base` stands at its absolute path, under `_`; a
    folder in `base` that is called so gets another `_`.
    """
    # A list may name what no file can be called, whose failure is a result, too.
    file = file.replace("\0", "\N{SYMBOL FOR NULL}")
    path = Path(parse_name("stdin" if file == STDOUT else file).tree_path())
    if path != base and path.is_relative_to(base):
        first, *others = path.relative_to(base).parts
        parts = [f"_{first}" if set(first) == {"_"} else first, *others]
    else:
        parts = ["_", *filter(None, [path.drive]), *path.parts[1:]]
    return Path(*map(_fitting, parts[:-1]), _fitting(parts[-1], suffix))


def _fitting(name: str, suffix: str = "") -> str:
    """A name with its suffix, as long as one may be; cut names differ where whole ones do."""
    if os.name == "nt":
        name = windows_name(name)
    if len(os.fsencode(name + suffix)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{os.fsdecode(os.fsencode(name)[:150])}-{digest}"
    return name + suffix


def windows_name(name: str) -> str:
    """A name that Windows takes, and for no other's: what it does not take becomes `%` and its code."""
    name = re.sub(r'[<>:"/\\|?*%\x00-\x1f]|[. ]$', lambda found: f"%{ord(found[0]):02X}", name)
    return f"%{name}" if RESERVED.match(name) else name


def journal_of(out: str) -> Path:
    """Where the journal of an output is while its run is not complete."""
    path = target_of(out)
    return path / FOLDER_JOURNAL if is_folder(out) else Path(f"{path}.journal")


def is_folder(out: str) -> bool:
    """Whether an output is a folder with a file for each recording."""
    return out.endswith(SEPARATORS) or os.path.isdir(out)  # noqa: PTH112 — Path.is_dir may raise


def is_complete(out: str) -> bool:
    """Whether an output is there and no run is unfinished, so that there is nothing to go on with."""
    with suppress(OSError):
        path = Path(out)
        there = any(one.name[0] != "." for one in path.iterdir()) if path.is_dir() else path.is_file()
        return there and not journal_of(out).exists()
    return False  # opening it will say why it cannot be looked at


@contextmanager
def open_destination(
    out: str,
    format_: str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    keep_scores: bool = False,
    base: Path = Path(),
) -> Iterator[Destination]:
    """Open an output.

    Args:
        out: `-` for standard output; a device; a file; or a folder, which ends in a slash or is there.
        format_: A key of `FORMATS`.
        overwrite: Whether what is there may be replaced.
        resume: Whether an unfinished run goes on, if there is one.
        keep_scores: Whether all scores of all windows are stored beside the file.
        base: The recordings' place in a folder is their path from here.

    Raises:
        OutputError: It exists and must not be replaced, cannot be written, or another run writes it.
    """
    with ExitStack() as stack:
        path = target_of(out)
        with output_errors(path):
            is_device = path.exists() and not path.is_file() and not path.is_dir()
        if out == STDOUT or is_device:
            if resume:
                raise UsageError("--resume goes on with a file", "Name it with --out")
            destination = StreamDestination(format_, stack.enter_context(open_sink(out)))
            stack.callback(destination.end)
            yield destination
            return
        folder = is_folder(out)
        with output_errors(path):
            if folder:
                path.mkdir(parents=True, exist_ok=True)
            journal = Journal(journal_of(out), out)
            stack.callback(journal.close)
            # Looked at behind the lock: until then another run may have come to its end.
            unfinished = not journal.is_empty
            if not overwrite and not unfinished:
                _refuse_replacing(out, path, keep_scores=keep_scores)
            if not overwrite and unfinished and not resume:
                raise OutputError(
                    f"{journal.path} holds the results of an unfinished run",
                    "--resume goes on with it, --overwrite starts anew",
                )
            if not folder and format_ in WITH_SCORES and not keep_scores:
                beside = scores_path(path)
                if holds_scores(beside):
                    raise OutputError(
                        f"{beside} holds the scores of another run, with which {out} would be read",
                        "--keep-scores replaces them; or move it away, or name another file",
                    )
        tree = base if folder else None
        goes_on = unfinished and resume
        yield JournalDestination(path, format_, journal, tree, resume=goes_on, keep_scores=keep_scores)


def _refuse_replacing(out: str, path: Path, *, keep_scores: bool) -> None:
    if is_folder(out):
        if any(not one.name.startswith(FOLDER_JOURNAL) for one in path.iterdir()):
            raise OutputError(f"{out} is not empty", "--overwrite writes into it; or name another")
        return
    for one in (path, scores_path(path)) if keep_scores else (path,):
        if one.is_file():
            remedy = "--overwrite replaces it; or name another file"
            raise OutputError(f"{out if one == path else one} is there already", remedy)
