"""What tagging hands out: plain frozen records, times in seconds, files as the caller named them."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

from ast_cli.errors import InputError
from ast_cli.names import parse_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


FRAME_SECONDS = 0.025
FRAME_SHIFT_SECONDS = 0.010
FRAMES_PER_SECOND = round(1 / FRAME_SHIFT_SECONDS)  # times are divided by it: 35 * 0.01 is not 0.35


class Classes(Protocol):
    """Mid and name of a class by its index."""

    def __getitem__(self, index: int, /) -> tuple[str, str]:
        """Mid and name."""
        ...

    def __len__(self) -> int:
        """Their number."""
        ...


@dataclass(frozen=True, slots=True)
class Tag:
    """One label of a recording or of a window.

    Attributes:
        rank: 1 for the highest score.
        index: Position of the class in the checkpoint's logits.
        mid: AudioSet's machine id; empty where the checkpoint's labels have none.
        label: The class name.
        score: Sigmoid, softmax or logit, as `RunInfo.scores` says.
    """

    rank: int
    index: int
    mid: str
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The labels of one window; `start` and `end` are seconds from the start of the recording."""

    start: float
    end: float
    tags: tuple[Tag, ...]


class Windows(Sequence[WindowResult]):
    """The windows of a recording in order of time, held compactly: a day of them takes a few megabytes.

    Args:
        classes: What the indices mean.
    """

    __slots__ = ("_classes", "_ends", "_indices", "_scores", "_starts", "_tags_until")

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._starts, self._ends, self._scores = array("d"), array("d"), array("d")
        self._indices = array("i")
        self._tags_until = array("q")  # where the labels of each window end in `_indices` and `_scores`

    def append(self, start: float, end: float, indices: Iterable[int], scores: Iterable[float]) -> None:
        """Add the next window: start and end in seconds, the classes of its labels, highest score first."""
        self._starts.append(start)
        self._ends.append(end)
        self._indices.extend(indices)
        self._scores.extend(scores)
        self._tags_until.append(len(self._indices))

    def arrays(self) -> dict[str, array[Any]]:
        """What it consists of, for `from_arrays`."""
        return {name: getattr(self, f"_{name}") for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, classes: Classes, arrays: Mapping[str, bytes]) -> Windows:
        """Make it of the bytes of `arrays`; ValueError if they are not that."""
        windows = cls(classes)
        for name in _ARRAYS:
            getattr(windows, f"_{name}").frombytes(arrays[name])
        until = windows._tags_until
        if (
            not len(until) == len(windows._starts) == len(windows._ends)
            or list(until) != sorted(until)
            or not (until[-1] if until else 0) == len(windows._indices) == len(windows._scores)
            or not all(0 <= index < len(classes) for index in set(windows._indices))
        ):
            raise ValueError("arrays that do not fit each other")
        return windows

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> WindowResult: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[WindowResult, ...]: ...
    def __getitem__(self, place: int | slice) -> WindowResult | tuple[WindowResult, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        number = range(len(self))[place]
        first = self._tags_until[number - 1] if number else 0
        tags = (
            Tag(rank, index, *self._classes[index], self._scores[first + rank - 1])
            for rank, index in enumerate(self._indices[first : self._tags_until[number]], start=1)
        )
        return WindowResult(self._starts[number], self._ends[number], tuple(tags))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == its for one, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} windows>"


_ARRAYS = ("starts", "ends", "indices", "scores", "tags_until")


@dataclass(frozen=True, slots=True)
class Event:
    """A sound with a start and an end, found in the windows of a recording: see `events`.

    Attributes:
        start: Seconds from the start of the recording, as is `end`.
        end: Of the sound.
        index: Position of the class in the checkpoint's logits.
        mid: AudioSet's machine id; empty where the checkpoint's labels have none.
        label: The class name.
        score: The highest of its windows.
        mean_score: The mean of its windows.
    """

    start: float
    end: float
    index: int
    mid: str
    label: str
    score: float
    mean_score: float


@dataclass(frozen=True, slots=True, eq=False)
class WindowScores:
    """The scores of every class in every window of a recording.

    Attributes:
        start: [W], seconds from the start of the recording.
        end: [W], seconds from the start of the recording.
        scores: [W, C], float32.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a file is taken to be the same as before.

    Attributes:
        size: In bytes.
        mtime_ns: When it was last written, in nanoseconds; only ever compared for equality.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns)

    @classmethod
    def of_recording(cls, name: str) -> Stamp | None:
        """The stamp that a recording would have now; that of its shard where it lies in one.

        None for what is at an address, of which none can be had without asking the store.

        Raises:
            OSError: It is not there.
            ValueError: No file can have this name.
        """
        parsed = parse_name(name)
        if parsed.is_address:
            return None
        inside = parsed.shard_and_member()
        return cls.of(os.stat(inside[0] if inside else name))  # noqa: PTH116 — names are bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a recording once it has been read.

    Attributes:
        duration: Seconds of audio.
        frames: Number of its frames.
        sample_rate: In Hz.
        channels: Their number.
        warnings: See `FileResult.warnings`.
        stamp: See `FileResult.stamp`.
    """

    duration: float
    frames: int
    sample_rate: int
    channels: int
    warnings: tuple[str, ...] = ()
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """A tagged recording.

    Attributes:
        file: The path as it was given; `-` for standard input. An address has lost its secrets.
        duration: Seconds of audio that could be decoded.
        seconds_heard: Seconds that reached the network: all but a last, incomplete frame of under 10 ms.
        sample_rate: Of the recording, in Hz.
        channels: Of the recording.
        tags: The labels of the whole recording, highest score first.
        windows: The labels of each window, in order of time; empty unless asked for.
        scores: What the scores are: `sigmoid`, `softmax` or `logits`.
        warnings: What was wrong with the recording without preventing the result.
        events: Which classes sound from when to when, in order of time; None unless asked for.
        window_scores: All scores of each window; None unless asked for.
        stamp: Of the file when it was opened, or of the shard it lies in; None for what is no file here.
    """

    file: str
    duration: float
    seconds_heard: float
    sample_rate: int
    channels: int
    tags: tuple[Tag, ...]
    windows: Sequence[WindowResult] = ()
    scores: str = ""
    warnings: tuple[str, ...] = ()
    events: tuple[Event, ...] | None = None
    window_scores: WindowScores | None = field(default=None, compare=False, repr=False)
    stamp: Stamp | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", parse_name(self.file).shown)


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A recording that could not be tagged, and why.

    Attributes:
        file: The path as it was given. An address has lost its secrets.
        error: The short stable word of `errors.InputError`.
        message: Cause and remedy in one line.
    """

    file: str
    error: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", parse_name(self.file).shown)

    @classmethod
    def of(cls, file: str, error: InputError) -> FileFailure:
        """The record of why `file` has no result."""
        return cls(file, error.word, str(error))


Outcome: TypeAlias = FileResult | FileFailure


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which network gave the scores.

    Attributes:
        id: Hub id, or path as it was given.
        revision: The Hub's commit; empty for local files.
        sha256: Of the weights file, in hex.
        scores: `sigmoid`, `softmax` or `logits`.
        labels: Number of classes.
    """

    id: str
    revision: str
    sha256: str
    scores: str
    labels: int


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a set of results was made with: enough to make it again."""

    models: tuple[ModelInfo, ...]
    settings: dict[str, object] = field(default_factory=dict)


def display_name(path: str | os.PathLike[str]) -> str:
    r"""A name as valid Unicode and without secrets: bytes that are not UTF-8 are shown as `\xNN`."""
    return os.fsencode(parse_name(os.fspath(path)).shown).decode("utf-8", "backslashreplace")


def path_shown_as(shown: str) -> str:
    r"""The path that `display_name` shows so: `\xNN` is a byte again, unless a file is called just that."""
    if "\\x" not in shown or os.path.lexists(shown):
        return shown
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), shown.encode())
    path = os.fsdecode(raw)
    return path if display_name(path) == shown else shown
