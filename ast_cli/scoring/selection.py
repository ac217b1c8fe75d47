"""Scores -> the labels that are shown: which classes, above which threshold, the highest first.

One place for a run, a stored run and live audio. Knows scores [C] and classes; nothing of audio or time. A
score that is not known, as a stored run may have kept but the highest, is not a number, and never shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import UsageError
from ast_cli.results import Tag
from ast_cli.scoring.labels import LabelSet
from ast_cli.settings import DEFAULT_EVENT_THRESHOLD, LabelSettings


class Selection:
    """The settings, worked out for the classes of a checkpoint.

    Args:
        labels: The classes.
        settings: Which of them are shown, from which score on, and whether they are rolled up.

    Raises:
        UsageError: There is no such class, none is left, or the thresholds are for other classes.
    """

    def __init__(self, labels: LabelSet, settings: LabelSettings) -> None:
        self.labels = labels
        self.settings = settings
        self.shown = _shown(labels, settings)
        self.least = _least(labels, settings)
        self._below: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
        if settings.rollup:
            below = labels.below()
            starts = np.cumsum([0, *map(len, below[:-1])])
            self._below = np.concatenate([np.array(one, np.intp) for one in below]), starts

    def rolled_up(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores [C] with those of the classes below counted in, if `rollup` is set."""
        if self._below is None:
            return scores
        members, starts = self._below
        rolled: NDArray[np.float32] = np.fmax.reduceat(scores[members], starts)
        return rolled

    def top(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """The indices of the labels of scores [C], highest first; equal ones in the order of the classes."""
        left = np.flatnonzero(self.shown & (scores >= self.least))
        count = self.settings.top_k or len(left)
        if count < len(left):  # to sort all takes ten times as long as to find the last of the first
            last = np.partition(scores[left], -count)[-count]
            left = left[scores[left] >= last]
        return left[np.argsort(-scores[left], kind="stable")][:count]

    def tags(self, scores: NDArray[np.float32]) -> tuple[Tag, ...]:
        """The labels of scores [C], rolled up if `rollup` is set."""
        scores = self.rolled_up(scores)
        return tuple(
            Tag(rank, int(index), *self.labels[index], float(scores[index]))
            for rank, index in enumerate(self.top(scores), start=1)
        )

    def event_thresholds(self) -> NDArray[np.float32]:
        """The score from which each class is an event, [C]; infinite for a class that is not shown."""
        least = self.least
        if self.settings.threshold is None:
            least = np.full(len(self.labels), DEFAULT_EVENT_THRESHOLD, np.float32)
        return np.where(self.shown, least, np.float32(np.inf))


def _shown(labels: LabelSet, settings: LabelSettings) -> NDArray[np.bool_]:
    shown = np.zeros(len(labels), bool)
    for pattern in settings.include:
        shown[labels.matching(pattern)] = True
    if not settings.include:
        shown[:] = True
    for pattern in settings.exclude:
        shown[labels.matching(pattern)] = False
    if not shown.any():
        raise UsageError("--include and --exclude leave no class", "Exclude fewer")
    return shown


def _least(labels: LabelSet, settings: LabelSettings) -> NDArray[np.float32]:
    """The lowest score of each class that is shown, [C]. Thresholds are measured in float32, too."""
    threshold = settings.threshold
    if not isinstance(threshold, tuple):
        return np.full(len(labels), -np.inf if threshold is None else threshold, np.float32)
    if len(threshold) != len(labels):
        raise UsageError(
            f"{len(threshold)} thresholds do not fit {len(labels)} classes",
            "Give one for each class, or a single number",
        )
    # A class without a threshold is above none.
    return np.array([np.inf if one is None else one for one in threshold], np.float32)
