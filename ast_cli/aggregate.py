"""Scores of windows -> the result of a recording: weighed mean or maximum, labels, timeline, events.

Knows nothing of audio or of the network: windows come as frame counts and scores [C].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.errors import InputError
from ast_cli.events import EventFinder
from ast_cli.features import FRAME_SECONDS, FRAMES_PER_SECOND
from ast_cli.results import Facts, FileResult, Windows, WindowScores
from ast_cli.selection import Selection
from ast_cli.settings import TagSettings


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
        self._windows = Windows(selection.labels) if settings.timeline else None
        self._finder: EventFinder | None = None
        if settings.events is not None:
            self._finder = EventFinder(selection.event_thresholds(), settings.events, selection.labels)
        self._kept: list[tuple[float, float, NDArray[np.float32]]] = []

    def add(self, start: int, length: int, new: int, scores: NDArray[np.float32]) -> None:
        """Take one more window, in order of time.

        Args:
            start: Its first frame.
            length: Number of its frames that are the recording's.
            new: Number of its frames that no earlier window held.
            scores: [C].
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
        """The whole recording's result, after its last window.

        Raises:
            InputError: Its samples were so large that a score is not a finite number.
        """
        assert self._total is not None
        scores = (self._total / self._weight).astype(np.float32)
        if not np.isfinite(scores).all():
            raise InputError(
                "non-finite",
                "its samples are so large that the scores are not finite numbers",
                "Scale it to [-1, 1]; --dtype float32 reaches furthest",
            )
        self._pass_on(facts.duration)
        if self._finder is not None:
            self._finder.finish()
        heard = (facts.frames - 1) / FRAMES_PER_SECOND + FRAME_SECONDS
        return FileResult(
            file=self.file,
            duration=facts.duration,
            seconds_heard=min(facts.duration, heard),
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            scores=self._scores,
            tags=self._selection.tags(scores),
            windows=() if self._windows is None else self._windows,
            warnings=facts.warnings,
            events=None if self._finder is None else self._finder.events(),
            window_scores=self._all_scores() if self._settings.keep_scores else None,
            stamp=facts.stamp,
        )

    def _pass_on(self, end_of_audio: float | None) -> None:
        """Hand the last window to what is kept of windows, now that its end is known.

        Args:
            end_of_audio: In seconds, where the window ends with the recording.
        """
        if self._last is None:
            return
        first, length, scores = self._last
        self._last = None
        start, end = first / FRAMES_PER_SECOND, (first + length) / FRAMES_PER_SECOND
        if end_of_audio is not None:
            end = end_of_audio
        if self._settings.keep_scores:
            self._kept.append((start, end, scores))
        if self._windows is None and self._finder is None:
            return
        rolled = self._selection.rolled_up(scores)
        if self._windows is not None:
            top = self._selection.top(rolled)
            self._windows.append(start, end, top.tolist(), rolled[top].tolist())
        if self._finder is not None:
            self._finder.push(start, end, rolled)

    def _all_scores(self) -> WindowScores:
        start, end, scores = zip(*self._kept, strict=True)
        return WindowScores(np.array(start), np.array(end), np.stack(scores))


def to_scores(logits: Tensor, scores: str) -> Tensor:
    """Logits [B, C] -> scores [B, C]: `sigmoid`, `softmax`, or the logits themselves."""
    if scores == "sigmoid":
        return logits.sigmoid()
    return logits.softmax(dim=-1) if scores == "softmax" else logits
