"""Scores of windows -> the result of a recording: weighed mean or maximum, labels, timeline, events.

Knows nothing of audio or of the network: windows come as frame counts and scores [C]. Loads no torch, so that
a stored run, which needs none, is read at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import InputError
from ast_cli.results import FRAME_SECONDS, FRAMES_PER_SECOND, Event, Facts, FileResult, Windows, WindowScores
from ast_cli.scoring.events import EventFinder, tidied
from ast_cli.scoring.selection import Selection
from ast_cli.settings import TagSettings

if TYPE_CHECKING:
    from torch import Tensor


class Timeline:
    """The requested results of one recording's windows, which come in order of time: labels, events, scores.

    Args:
        selection: Which labels are shown.
        settings: Those that `selection` was made from.
    """

    def __init__(self, selection: Selection, settings: TagSettings) -> None:
        self._selection = selection
        self._windows = Windows(selection.labels) if settings.timeline else None
        self._finder: EventFinder | None = None
        self._settings = settings
        self._found: list[Event] = []
        if settings.events is not None:
            self._finder = EventFinder(selection.event_thresholds(), settings.events, selection.labels)
        self._kept: list[tuple[float, float, NDArray[np.float32]]] | None = None
        if settings.keep_scores:
            self._kept = []

    def add(self, start: float, end: float, scores: NDArray[np.float32]) -> None:
        """Take the next window, start and end in seconds; a score [C] that is not known is not a number."""
        if self._kept is not None:
            self._kept.append((start, end, scores))
        if self._windows is None and self._finder is None:
            return
        rolled = self._selection.rolled_up(scores)
        if self._windows is not None:
            top = self._selection.top(rolled)
            self._windows.append(start, end, top.tolist(), rolled[top].tolist())
        if self._finder is not None:
            _, ended = self._finder.push(start, end, rolled)
            self._found += ended

    def windows(self) -> Windows | tuple[()]:
        """The labels of each window, if requested."""
        return () if self._windows is None else self._windows

    def events(self) -> tuple[Event, ...] | None:
        """The events, after the last window; None unless requested."""
        if self._finder is None or self._settings.events is None:
            return None
        return tidied(self._found + self._finder.finish(), self._settings.events)

    def scores(self) -> WindowScores | None:
        """All scores of each window; None unless requested."""
        if self._kept is None:
            return None
        start, end, scores = zip(*self._kept, strict=True)
        return WindowScores(np.array(start), np.array(end), np.stack(scores))


class Aggregate:
    """The scores of one recording so far.

    Args:
        file: What the recording is called.
        selection: Which labels are shown.
        settings: Those that `selection` was made from.
        scores: What the scores are.
    """

    def __init__(self, file: str, selection: Selection, settings: TagSettings, scores: str = "") -> None:
        self.file = file
        self._selection = selection
        self._settings = settings
        self._scores = scores
        self._total: NDArray[np.float64] | None = None
        self._weight = 0
        self._last: tuple[int, int, NDArray[np.float32]] | None = None  # a window whose end may still change
        self._timeline = Timeline(selection, settings)

    def add(self, start: int, length: int, new: int, scores: NDArray[np.float32]) -> None:
        """Take one more window, in order of time, with its scores [C].

        It starts at the frame `start`; `length` of its frames are the recording's, `new` of them no earlier
        window held.
        """
        if self._settings.aggregate == "max":
            self._total = (
                scores.astype(np.float64) if self._total is None else np.maximum(self._total, scores)
            )
            self._weight = 1
        else:
            weighed = scores.astype(np.float64) * new
            self._total = weighed if self._total is None else self._total + weighed
            self._weight += new
        self._pass_on(None)
        self._last = start, length, scores

    def result(self, facts: Facts) -> FileResult:
        """The result, after the last window; InputError where huge samples made a score not finite."""
        assert self._total is not None
        scores = (self._total / self._weight).astype(np.float32)
        require_finite(scores)
        self._pass_on(facts.duration)
        covered = (facts.frames - 1) / FRAMES_PER_SECOND + FRAME_SECONDS
        return FileResult(
            file=self.file,
            duration=facts.duration,
            seconds_heard=min(facts.duration, covered),
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            scores=self._scores,
            tags=self._selection.tags(scores),
            windows=self._timeline.windows(),
            warnings=facts.warnings,
            events=self._timeline.events(),
            window_scores=self._timeline.scores(),
            stamp=facts.stamp,
        )

    def _pass_on(self, end_of_audio: float | None) -> None:
        """Hand the last window on, now that its end is known: in seconds, if it ends with the recording."""
        if self._last is None:
            return
        first, length, scores = self._last
        self._last = None
        start, end = first / FRAMES_PER_SECOND, (first + length) / FRAMES_PER_SECOND
        if end_of_audio is not None:
            end = end_of_audio
        self._timeline.add(start, end, scores)


def require_finite(scores: NDArray[np.float32]) -> None:
    """Raise InputError if a score is not a finite number: the samples were so large."""
    if not np.isfinite(scores).all():
        raise InputError(
            "non-finite",
            "its samples are so large that the scores are not finite numbers",
            "Scale it to [-1, 1]; --dtype float32 reaches furthest",
        )


def to_scores(logits: Tensor, scores: str) -> Tensor:
    """Logits [B, C] -> scores [B, C]: `sigmoid`, `softmax`, or the logits themselves."""
    if scores == "sigmoid":
        return logits.sigmoid()
    return logits.softmax(dim=-1) if scores == "softmax" else logits
