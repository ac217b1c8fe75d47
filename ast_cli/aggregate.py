"""Scores of windows -> the result of a recording: weighed mean or maximum, top-k, threshold, times.

Knows nothing of audio or of the network: windows come as frame counts and scores [C].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.errors import InputError
from ast_cli.features import FRAME_SECONDS, FRAMES_PER_SECOND
from ast_cli.labels import LabelSet
from ast_cli.results import Facts, FileResult, Tag, WindowResult
from ast_cli.settings import TagSettings


@dataclass
class Aggregate:
    """The scores of one recording so far."""

    file: str
    labels: LabelSet
    settings: TagSettings
    scores: str = ""
    _total: NDArray[np.float64] | None = None
    _weight: int = 0
    _windows: list[tuple[int, int, tuple[Tag, ...]]] = field(default_factory=list)

    def add(self, start: int, length: int, new: int, scores: NDArray[np.float32]) -> None:
        """Take one more window, in order of time.

        Args:
            start: Its first frame.
            length: Number of its frames that are the recording's.
            new: Number of its frames that no earlier window held.
            scores: [C].
        """
        if self.settings.aggregate == "max":
            self._total = (
                scores.astype(np.float64) if self._total is None else np.maximum(self._total, scores)
            )
            self._weight = 1
        else:
            weighed = scores.astype(np.float64) * new
            self._total = weighed if self._total is None else self._total + weighed
            self._weight += new
        if self.settings.timeline:
            self._windows.append((start, start + length, top_tags(scores, self.labels, self.settings)))

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
        heard = (facts.frames - 1) / FRAMES_PER_SECOND + FRAME_SECONDS
        return FileResult(
            file=self.file,
            duration=facts.duration,
            seconds_heard=min(facts.duration, heard),
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            scores=self.scores,
            tags=top_tags(scores, self.labels, self.settings),
            windows=tuple(
                WindowResult(*_times(start, end, facts), tags) for start, end, tags in self._windows
            ),
            warnings=facts.warnings,
        )


def top_tags(scores: NDArray[np.float32], labels: LabelSet, settings: TagSettings) -> tuple[Tag, ...]:
    """The labels of scores [C], highest first; equal scores in the order of the classes."""
    order = np.argsort(-scores, kind="stable")
    if settings.threshold is not None:
        each = settings.threshold if isinstance(settings.threshold, tuple) else (settings.threshold,)
        # A class without a threshold is above none. Thresholds are measured in float32, too.
        least = np.array([np.inf if one is None else one for one in each], dtype=np.float32)
        order = order[(scores >= least)[order]]
    return tuple(
        Tag(rank, int(i), labels.mids[i], labels.names[i], float(scores[i]))
        for rank, i in enumerate(order[: settings.top_k or len(order)], start=1)
    )


def to_scores(logits: Tensor, scores: str) -> Tensor:
    """Logits [B, C] -> scores [B, C]: `sigmoid`, `softmax`, or the logits themselves."""
    if scores == "sigmoid":
        return logits.sigmoid()
    return logits.softmax(dim=-1) if scores == "softmax" else logits


def _times(start: int, end: int, facts: Facts) -> tuple[float, float]:
    """Frames -> seconds. The window that holds the last frame ends where the audio does."""
    last = end >= facts.frames
    return start / FRAMES_PER_SECOND, facts.duration if last else end / FRAMES_PER_SECOND
