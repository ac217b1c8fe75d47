"""What a run has finished so far, on disk: whatever ends the run, the next one goes on from there.

A file of JSON lines that only grows. Each run begins with a line that says what it is made with; then each
input has one line, in order: its outcome, or where the line of an earlier run stands. So the last run's lines
are the whole run's results, and a line that was torn is the last one. A lock lets in one process at a time.
"""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import BaseFileLock, FileLock, Timeout

from ast_cli.errors import OutputError, UsageError
from ast_cli.names import parse_name
from ast_cli.outputs.journal_records import from_record, to_record
from ast_cli.results import FileResult, ModelInfo, Outcome, RunInfo, Stamp, display_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "ast-journal/1"
SYNC_SECONDS = 1.0  # after which at the latest a line is on the disk
FILE_KEY = b'{"file": '  # how the line of an outcome begins
JOURNAL_KEY = b'{"journal": '  # and that of a run
# Settings that change nothing but the rounding, and so may differ from run to run.
OF_NO_MATTER = ("ast_tag", "torch", "engine", "device", "attn", "batch_size")
# What a damaged line may raise.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a run.

    Attributes:
        run: What it is made with.
        classes: Mid and name of each class.
    """

    run: RunInfo
    classes: Sequence[tuple[str, str]]

    def to_line(self) -> dict[str, Any]:
        """As the journal holds it."""
        models = [asdict(model) for model in self.run.models]
        return {"journal": SCHEMA, "models": models, "settings": self.run.settings, "classes": self.classes}

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Header:
        """Read it back; raises what a damaged line may raise."""
        if line["journal"] != SCHEMA:
            raise ValueError(line["journal"])
        models = tuple(ModelInfo(**model) for model in line["models"])
        classes = [(str(mid), str(name)) for mid, name in line["classes"]]
        return cls(RunInfo(models, dict(line["settings"])), classes)

    def matters(self) -> dict[str, object]:
        """What the results depend on, by name."""
        settings = {key: value for key, value in self.run.settings.items() if key not in OF_NO_MATTER}
        models = [f"{model.id} ({model.sha256[:8]})" for model in self.run.models]
        return {"model": " + ".join(models), "scores": self.run.models[0].scores, **settings}


def require_same(what: str, now: Mapping[str, object], before: Mapping[str, object]) -> None:
    """See that what the results of a run depend on, by name, is what it was begun with.

    Raises:
        UsageError: Something is not as it was; `what` is what the run writes.
    """
    here, there = (json.loads(json.dumps(dict(one))) for one in (now, before))  # tuples become lists
    differences = [
        f"{key} was {_brief(there.get(key))}, is {_brief(here.get(key))}"
        for key in here | there
        if here.get(key) != there.get(key)
    ]
    if differences:
        raise UsageError(
            f"{what} was begun with other settings: {'; '.join(differences)}",
            "Say the same again, or start anew with --overwrite",
        )


class Journal:
    """An open journal, locked; the file is made if it is not there. `what` its run writes, messages name.

    Raises:
        OutputError: Another run holds it, or it cannot be written.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.changed: list[str] = []  # recordings that were tagged before, and are not what they were
        self._what = what
        self._lock = _locked(path, what)
        try:
            self._file = path.open("ab", buffering=0)
            self._lines = path.open("rb")
        except OSError:
            _unlock(self._lock)
            raise
        self._size = path.stat().st_size
        self._classes: Sequence[tuple[str, str]] = ()
        self._index: _Index | None = None
        self._reused: dict[int, int] = {}  # where an outcome stands that was `known`, by its identity
        self._section = 0  # where the lines of this run begin
        self._closing = threading.Event()
        self._unsynced = False
        self._failed: OSError | None = None
        self._syncing = threading.Thread(target=self._sync_now_and_then, daemon=True)

    @property
    def is_empty(self) -> bool:
        """Whether no run has left anything in it."""
        return self._size == 0

    def begin(self, header: Header, *, resume: bool) -> None:
        """Begin a run; `resume` says whether what is there already counts: otherwise it goes.

        Raises:
            UsageError: What is there was made with other settings that matter.
            OutputError: It is no journal, or cannot be written.
        """
        if resume and not self.is_empty:
            self._read_before(header)
        else:
            self._require_ours()
            self._file.truncate(0)
            self._size = 0
        self._classes = header.classes
        self._section = self._append(header.to_line())
        self._syncing.start()

    def known(self, file: str) -> FileResult | None:
        """The result of a recording from an earlier run, if it still is the same file.

        One in a shard is the same while the shard is. What is at an address is taken to be the same: stores
        have to be asked for each, which takes about as long as to fetch it.
        """
        file = parse_name(file).shown
        offset = self._index.find(file) if self._index is not None else None
        if offset is None:
            return None
        try:
            outcome = _outcome_at(self._lines, offset, self._classes)
            stamp = Stamp.of_recording(file)
        except (OSError, *UNREADABLE):
            return None
        # What failed is tried again: a share may be mounted by now.
        if not isinstance(outcome, FileResult) or outcome.file != file:
            return None
        if outcome.stamp != stamp:
            if outcome.stamp is not None:  # a pipe has none
                self.changed.append(file)
            return None
        self._reused[id(outcome)] = offset
        return outcome

    def add(self, outcome: Outcome) -> bool:
        """Write one outcome, the next in order; whether it is new, and not one that was `known`."""
        offset = self._reused.pop(id(outcome), None)
        self._append(to_record(outcome) if offset is None else {"again": offset})
        return offset is None

    def is_reused(self, outcome: Outcome) -> bool:
        """Whether an outcome was `known`, and waits for `add`."""
        return id(outcome) in self._reused

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes of this run so far, in order."""
        yield from _read_section(self.path, self._section, self._classes)

    def close(self, *, remove: bool = False) -> None:
        """Give up the lock; with `remove`, the run is complete and the file goes."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._syncing.is_alive():
            self._syncing.join()
        self._lines.close()
        self._file.close()
        with suppress(OSError):
            if remove or self._size == 0:
                self.path.unlink()
        _unlock(self._lock)

    def _require_ours(self) -> None:
        """What is there may go only if a run of ours left it, even with a torn first line."""
        head = self._lines.read(len(JOURNAL_KEY))
        if not JOURNAL_KEY.startswith(head):
            raise OutputError(f"{self.path} is no journal of a run", "Move it away, or name another output")

    def _read_before(self, header: Header) -> None:
        """Index what earlier runs have left, and cut a torn line off."""
        before: Header | None = None
        keys, offsets, end = array("q"), array("q"), 0
        with self.path.open("rb") as lines:
            for line in lines:
                is_whole = line.endswith(b"\n")
                with suppress(*UNREADABLE):
                    if is_whole and line.startswith(FILE_KEY):
                        file, _ = json.JSONDecoder().raw_decode(line.decode(), len(FILE_KEY))
                        keys.append(hash(file))
                        offsets.append(end)
                    elif is_whole and line.startswith(JOURNAL_KEY):
                        before = Header.from_line(json.loads(line))
                is_torn_header = not is_whole and line[: len(JOURNAL_KEY)] == JOURNAL_KEY[: len(line)]
                if before is None and not is_torn_header:
                    raise OutputError(
                        f"{self.path} is no journal of a run, or damaged at its start",
                        "Move it away, or start anew with --overwrite",
                    )
                if not is_whole:
                    break
                end += len(line)
        if before is not None:
            require_same(self._what, header.matters(), before.matters())
        self._file.truncate(end)
        self._size = end
        self._index = _Index(keys, offsets)

    def _append(self, document: Mapping[str, Any]) -> int:
        """Write a line; returns where it begins."""
        line = (json.dumps(document) + "\n").encode("ascii")
        offset = self._size
        try:
            if self._failed is not None:
                raise self._failed
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(offset)
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}",
                "What was done is kept: free some space, then go on with --resume",
            ) from error
        self._size += len(line)
        self._unsynced = True
        return offset

    def _sync_now_and_then(self) -> None:
        while True:
            closing = self._closing.wait(SYNC_SECONDS)
            if self._unsynced:
                self._unsynced = False
                try:
                    os.fsync(self._file.fileno())
                except OSError as error:
                    self._failed = error
            if closing:
                return


class _Index:
    """Where the last line of each recording stands, in 16 bytes each: there may be millions."""

    def __init__(self, keys: array[int], offsets: array[int]) -> None:
        import numpy as np

        numbers = np.frombuffer(keys, np.int64)
        order = np.argsort(numbers, kind="stable")
        self._keys: NDArray[np.int64] = numbers[order]
        self._offsets: NDArray[np.int64] = np.frombuffer(offsets, np.int64)[order]

    def find(self, file: str) -> int | None:
        place = int(self._keys.searchsorted(hash(file), side="right")) - 1
        if place < 0 or self._keys[place] != hash(file):
            return None
        return int(self._offsets[place])


def read_journal(path: Path) -> tuple[Header, Iterator[Outcome]]:
    """What an unfinished run was made with, and its outcomes; raises one of `UNREADABLE` if it is damaged."""
    header: Header | None = None
    section = 0
    for offset, line in _whole_lines(path):
        if line.startswith(JOURNAL_KEY):
            header, section = Header.from_line(json.loads(line)), offset
    if header is None:
        raise ValueError("no journal")
    return header, _read_section(path, section, header.classes)


def _read_section(path: Path, section: int, classes: Sequence[tuple[str, str]]) -> Iterator[Outcome]:
    """The outcomes of the run whose header stands at `section`."""
    with path.open("rb") as again:
        for _, line in islice(_whole_lines(path, section), 1, None):
            record = json.loads(line)
            if "again" in record:
                yield _outcome_at(again, record["again"], classes)
            else:
                yield from_record(record, classes)


def _whole_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line; the last is left out if it was torn."""
    with path.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            if line.endswith(b"\n"):
                yield start, line
            start += len(line)


def _outcome_at(lines: IO[bytes], offset: int, classes: Sequence[tuple[str, str]]) -> Outcome:
    lines.seek(offset)
    return from_record(json.loads(lines.readline()), classes)


def _locked(path: Path, what: str) -> BaseFileLock:
    """The lock of a journal, which lies beside it: Windows would let nobody read what is locked itself."""
    path.parent.stat()  # a lock would make the folder
    lock = FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0.05, poll_interval=0.01)  # once more, where the run that held it has just ended
    except Timeout:
        raise OutputError(
            f"another run is writing {what} at this moment", "Let it end, or name another output"
        ) from None
    return lock


def _unlock(lock: BaseFileLock) -> None:
    with suppress(OSError):  # Windows removes it when it is released, and not before
        Path(lock.lock_file).unlink()
    lock.release()


def _brief(value: object) -> str:
    text = json.dumps(value)
    return display_name(text if len(text) < 60 else text[:57] + "…")
