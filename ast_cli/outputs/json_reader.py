"""Stored results -> outcomes: what `tag` wrote as JSON, JSON lines or a journal, read back.

JSON lines and journals are read recording by recording, however many there are; a JSON document is loaded
whole. Beside JSON may lie all scores (`score_file`): then the outcomes have them, and exact times.

What a file is shows in its first line, not in its name.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar
from weakref import finalize

from ast_cli.errors import ResultsError
from ast_cli.files import STDOUT
from ast_cli.outputs.journal import JOURNAL_KEY, UNREADABLE, Header, read_journal
from ast_cli.outputs.json_entries import OtherClassesError, classes_of, file_of, outcome_of, run_info_of
from ast_cli.outputs.json_writer import SCHEMA
from ast_cli.outputs.score_file import read_score_file, scores_path
from ast_cli.results import FileResult, Outcome, RunInfo, WindowScores

STDIN = STDOUT  # `-`, too
DIGITS = 1e-6  # what rounding to 6 decimals may change, twice
T = TypeVar("T")
CANNOT_BE_READ = "Name what `tag --out NAME.jsonl` or NAME.json wrote"


class StoredRun(ABC):
    """The results of a run.

    Attributes:
        path: Where they are, as it was given.
        run: What they were made with; None where that is not told, as by JSON lines alone.
        classes: Mid and name of each class by its index; empty ones are not known. All are, where all scores
            were kept; otherwise those that occur.
        has_scores: Whether `outcomes` have all scores of all windows.
        warnings: What was odd and stops nothing; complete once `outcomes` are read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.run: RunInfo | None = None
        self.classes: Sequence[tuple[str, str]] = ()
        self.has_scores = False
        self.warnings: list[str] = []
        self.spooled: IO[bytes] | None = None  # kept as long as this may be read

    @abstractmethod
    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes in order, any number of times; raises ResultsError where they are damaged."""

    def files(self) -> Iterator[str]:
        """The recordings in order, including those that failed."""
        return (outcome.file for outcome in self.outcomes())


def read_results(path: str) -> StoredRun:
    """Open stored results: JSON, JSON lines or the journal of a run that broke off; of a pipe, or `-`, too.

    Raises:
        ResultsError: There are none, or they are damaged, of another program or of another version.
    """
    try:
        spooled = _spooled(path)
        place = Path(path) if spooled is None else Path(spooled.name)
        with place.open("rb") as lines:
            first = lines.readline()
            while first.isspace():
                first = lines.readline()
    except OSError as error:
        _refuse(path, error)
    except ValueError as error:  # what no file system can spell
        raise ResultsError(f"no file can be called {path}: {error}", CANNOT_BE_READ) from error
    if not first:
        raise ResultsError(f"{path} holds no results: it is empty", "Tag something first")
    run: StoredRun
    if first.startswith(JOURNAL_KEY):
        run = _JournalRun(path, place)
    elif _keys(first) >= {"file"} or first.startswith(b'{"file"'):  # the latter if that line is torn
        run = _LinesRun(path, place)
    elif first.lstrip().startswith(b"{"):
        run = _DocumentRun(path, place)
    else:
        _refuse_format(path, first)
    run.spooled = spooled
    return run


def _copy_of(stream: IO[bytes]) -> IO[bytes]:
    """A copy of a stream in a file with a name, which goes with the object."""
    # Closed, since Windows opens nothing a second time that is deleted when it is closed.
    with tempfile.NamedTemporaryFile(delete=False) as copy:
        finalize(copy, Path(copy.name).unlink, missing_ok=True)
        shutil.copyfileobj(stream, copy)
    return copy


def _spooled(path: str) -> IO[bytes] | None:
    """A copy of what can be read but once: standard input, or a pipe, as `<(zcat r.jsonl.gz)` is."""
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise ResultsError("nothing comes through standard input", "`cat r.jsonl | ast-tag export -`")
        return _copy_of(sys.stdin.buffer)
    if Path(path).is_fifo():
        with Path(path).open("rb") as pipe:
            return _copy_of(pipe)
    return None


class _JournalRun(StoredRun):
    """What an unfinished run has left."""

    def __init__(self, path: str, place: Path) -> None:
        super().__init__(path)
        self._place = place
        header, _ = self._read()
        self.run, self.classes = header.run, header.classes
        self.has_scores = bool(header.run.settings.get("keep_scores"))

    def outcomes(self) -> Iterator[Outcome]:
        _, outcomes = self._read()
        count = 0
        try:
            for outcome in outcomes:
                count += 1
                yield outcome
        except UNREADABLE as error:
            where = f"damaged after {count:,} of its recordings"
            raise ResultsError(f"{self.path} is {where}", "Go on with it: `tag --resume`") from error
        if not count:
            raise ResultsError(f"{self.path} holds no results: the run had only begun", "Tag with --resume")

    def _read(self) -> tuple[Header, Iterator[Outcome]]:
        try:
            return read_journal(self._place)
        except OSError as error:  # the run came to its end meanwhile
            _refuse(self.path, error)
        except UNREADABLE as error:
            raise ResultsError(
                f"{self.path} is a damaged journal, or one of another version", "Tag again with --overwrite"
            ) from error


class _JsonRun(StoredRun):
    """JSON in one of its forms, with all scores beside it or without."""

    def __init__(self, path: str, place: Path) -> None:
        super().__init__(path)
        self.place = place
        beside = scores_path(Path(path))
        self._scores = beside if path != STDIN and beside.is_file() else None
        if self._scores is not None:
            header, _ = read_score_file(self._scores)
            self.run, self.classes = header.run, header.classes
            self.has_scores = True

    @abstractmethod
    def _entries(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each outcome as JSON has it, and where it stands."""

    def outcomes(self) -> Iterator[Outcome]:
        kept = None if self._scores is None else read_score_file(self._scores)[1]
        empty = True
        for _, outcome in self._each(lambda entry: outcome_of(entry, self.classes)):
            empty = False
            if kept is not None and isinstance(outcome, FileResult):
                yield self._with_scores(outcome, next(kept, None))
            else:
                yield outcome
        if empty:
            raise ResultsError(f"{self.path} holds no results", "Tag something first")
        if kept is not None and next(kept, None) is not None:
            self._refuse_scores("of more recordings than there are results")

    def files(self) -> Iterator[str]:
        return (file for _, file in self._each(file_of))

    def _each(self, of: Callable[[Mapping[str, Any]], T]) -> Iterator[tuple[str, T]]:
        """Something of each outcome, and where that stands."""
        for where, entry in self._entries():
            try:
                value = of(entry)
            except OtherClassesError as error:
                if self.has_scores:
                    self._refuse_scores("of other classes")
                self._refuse_entry(where, error)
            except UNREADABLE as error:
                self._refuse_entry(where, error)
            yield where, value

    def _survey(self) -> None:
        """Learn the classes from the labels, which have index, mid and name in every place."""
        known: dict[int, tuple[str, str]] = {}
        for where, classes in self._each(lambda entry: set(classes_of(entry))):
            for index, mid, label in classes:
                mid_before, label_before = known.setdefault(index, (mid, label))
                if (mid_before, label_before) != (mid, label):
                    raise ResultsError(
                        f"{self.path}, {where}: class {index} is {label!r} here, and {label_before!r} before",
                        "These are results of several models: export them one by one",
                    )
        told = 0 if self.run is None else self.run.models[0].labels
        count = max(told, max(known, default=-1) + 1)
        self.classes = [known.get(index, ("", "")) for index in range(count)]

    def _with_scores(self, result: FileResult, scores: WindowScores | None) -> FileResult:
        if scores is None:
            self._refuse_scores("of fewer recordings than there are results")
        if (result.windows and len(result.windows) != len(scores.start)) or (
            round(float(scores.end[-1]), 3) != round(result.duration, 3)
        ):
            self._refuse_scores(f"for other windows than those of {result.file}")
        rolled_up = self.run is not None and self.run.settings.get("rollup")
        for tag in result.tags:
            column = scores.scores[:, tag.index]
            # A mean or maximum of windows lies between the lowest and the highest.
            if not rolled_up and not column.min() - DIGITS <= tag.score <= column.max() + DIGITS:
                self._refuse_scores(f"that do not give those of {result.file}")
        return replace(result, duration=float(scores.end[-1]), window_scores=scores)

    def _refuse_scores(self, why: str) -> NoReturn:
        raise ResultsError(
            f"{self._scores} does not belong to {self.path}: it has scores {why}",
            "Move it away to use the labels alone, or tag again with --keep-scores",
        )

    def _refuse_entry(self, where: str, error: Exception) -> NoReturn:
        raise ResultsError(
            f"{self.path}, {where}: not a result of `ast-tag tag`, or a damaged one", "Tag it again"
        ) from error


class _LinesRun(_JsonRun):
    """JSON lines."""

    def __init__(self, path: str, place: Path) -> None:
        super().__init__(path, place)
        if not self.has_scores:
            self._survey()

    def _entries(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        with self.place.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.isspace():
                    continue
                try:
                    entry = _parsed(line)
                except (ValueError, RecursionError) as error:
                    if not line.endswith(b"\n") and number > 1:
                        # As after a kill: a whole line ends in a line end, and what comes before is whole.
                        torn = f"{self.path} ends in the middle of line {number}: that recording is left out"
                        if torn not in self.warnings:
                            self.warnings.append(torn)
                        return
                    self._refuse_entry(f"line {number}", error)
                yield f"line {number}", entry


class _DocumentRun(_JsonRun):
    """One JSON document."""

    def __init__(self, path: str, place: Path) -> None:
        try:
            document = _parsed(place.read_bytes())
        except (ValueError, RecursionError) as error:
            where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise ResultsError(f"{path} is no JSON, or damaged{where}", CANNOT_BE_READ) from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            ours = isinstance(schema, str) and schema.startswith("ast-")
            raise ResultsError(
                f"{path} holds {f'{schema} and not {SCHEMA}' if ours else 'no results of `ast-tag tag`'}",
                "Another version of ast-tag reads it" if ours and "tag" in str(schema) else CANNOT_BE_READ,
            )
        super().__init__(path, place)
        try:
            self._results: list[Any] = [*document["results"]]
            self._errors: list[Any] = [*document["errors"]]
            told = run_info_of(document)
        except UNREADABLE as error:
            self._refuse_entry("in its head", error)
        if self.has_scores and told is not None and self.run is not None and told.models != self.run.models:
            self._refuse_scores("of another model")
        self.run = told or self.run
        if not self.has_scores:
            self._survey()

    def _entries(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, entries in (("result", self._results), ("error", self._errors)):
            for number, entry in enumerate(entries, start=1):
                yield f"{name} {number}", entry


def _parsed(text: bytes) -> Any:
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _keys(line: bytes) -> set[str]:
    try:
        entry = _parsed(line)
    except (ValueError, RecursionError):
        return set()
    return set(entry) if isinstance(entry, dict) else set()


def _refuse(path: str, error: OSError) -> NoReturn:
    remedy = CANNOT_BE_READ
    if isinstance(error, FileNotFoundError) and Path(f"{path}.journal").is_file():
        remedy = f"Its run was broken off: name {path}.journal, or end it with `tag --resume`"
    elif isinstance(error, IsADirectoryError):
        remedy = f"Name a file; or, for a folder of JSON lines: `cat {path}/*.jsonl | ast-tag export -`"
    raise ResultsError(f"cannot read the results {path}: {error.strerror}", remedy) from error


def _refuse_format(path: str, first: bytes) -> NoReturn:
    if first.startswith(b"PK\3\4"):
        raise ResultsError(f"{path} holds scores alone", "Name the JSON output beside it")
    if first.startswith((b"file,", b"file\t")):
        raise ResultsError(
            f"{path} is a table, which holds too little",
            "Tag with --out NAME.jsonl, which can become a table",
        )
    raise ResultsError(f"{path} holds no results of `ast-tag tag`", CANNOT_BE_READ)
