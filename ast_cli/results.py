"""What tagging hands out: plain frozen records, times in seconds, files as the caller named them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ast_cli.errors import InputError


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a recording once it has been read.

    Attributes:
        duration: Seconds of audio.
        frames: Number of its frames.
        sample_rate: In Hz.
        channels: Their number.
        warnings: See `FileResult.warnings`.
    """

    duration: float
    frames: int
    sample_rate: int
    channels: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileResult:
    """A tagged recording.

    Attributes:
        file: The path as it was given; `-` for standard input.
        duration: Seconds of audio that could be decoded.
        seconds_heard: Seconds that reached the network: all but a last, incomplete frame of under 10 ms.
        sample_rate: Of the recording, in Hz.
        channels: Of the recording.
        tags: The labels of the whole recording, highest score first.
        windows: The labels of each window, in order of time; empty unless asked for.
        scores: What the scores are: `sigmoid`, `softmax` or `logits`.
        warnings: What was wrong with the recording without preventing the result.
    """

    file: str
    duration: float
    seconds_heard: float
    sample_rate: int
    channels: int
    tags: tuple[Tag, ...]
    windows: tuple[WindowResult, ...] = ()
    scores: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A recording that could not be tagged, and why.

    Attributes:
        file: The path as it was given.
        error: The short stable word of `errors.InputError`.
        message: Cause and remedy in one line.
    """

    file: str
    error: str
    message: str

    @classmethod
    def of(cls, file: str, error: InputError) -> FileFailure:
        """The record of why `file` has no result."""
        return cls(file, error.word, str(error))


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
    r"""A path as valid Unicode: bytes that are not UTF-8 are shown as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
