"""A stored run -> its outcomes anew: with other labels, thresholds or events, and without the network.

Where all scores were kept, everything is worked out from them just as the run did it. Otherwise what was kept
must do: the labels of recordings and windows, or events. What is not known then is never shown, and `Replay`
says how much that may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import InputError, ResultsError, UsageError
from ast_cli.outputs.json_reader import StoredRun
from ast_cli.results import (
    FRAME_SECONDS,
    FRAMES_PER_SECOND,
    Event,
    Facts,
    FileFailure,
    FileResult,
    Outcome,
    RunInfo,
    Tag,
    WindowScores,
)
from ast_cli.scoring.aggregate import Aggregate, Timeline
from ast_cli.scoring.events import lasting_thresholds, tidied
from ast_cli.scoring.labels import LabelSet, audioset_classes
from ast_cli.scoring.selection import Selection
from ast_cli.settings import Aggregation, EventSettings, LabelSettings, TagSettings

REMEDY = "Tag with --keep-scores"


def labels_of(stored: StoredRun) -> LabelSet:
    """The classes of a run; those with an empty name are not known.

    Labels that were kept name but those that occur; where they are AudioSet's own, the others are known, too.
    """
    nodes = [(node.mid, node.name) for node in audioset_classes()]
    classes: Sequence[tuple[str, str]] = stored.classes
    may_be_audioset = len(classes) == len(nodes) if stored.run is not None else len(classes) <= len(nodes)
    if may_be_audioset and all(name in (("", ""), node) for name, node in zip(classes, nodes, strict=False)):
        classes = nodes
    return LabelSet(tuple(name for _, name in classes), tuple(mid for mid, _ in classes))


class Replay:
    """The outcomes of a stored run with other settings.

    Attributes:
        run_info: What they are made with: the run's own settings, but for those that are asked for here.
        missing: How many recordings may lack labels or events, since these were not kept; complete once
            `outcomes` are read.

    Args:
        stored: The run.
        labels: Its classes, of `labels_of`.
        settings: Which labels and events are asked for.
        aggregate: Windows -> recording; None for the run's own way.
        timeline: Whether the labels of each window are asked for.

    Raises:
        UsageError: There is no such class, or none is left.
    """

    def __init__(
        self,
        stored: StoredRun,
        labels: LabelSet,
        settings: LabelSettings,
        *,
        aggregate: Aggregation | None = None,
        timeline: bool = False,
    ) -> None:
        self._stored = stored
        before = {} if stored.run is None else stored.run.settings
        self._before = before
        own = cast("Aggregation | None", before.get("aggregate"))  # `TagSettings` looks at it
        self._aggregates_anew = aggregate is not None and aggregate != own
        asked = {one.name: getattr(settings, one.name) for one in fields(LabelSettings)}
        if not stored.has_scores:
            asked["rollup"] |= bool(before.get("rollup"))  # what was rolled up stays so
        how = aggregate or own or TagSettings().aggregate
        self._settings = TagSettings(**asked, aggregate=how, timeline=timeline)
        try:
            self._selection = Selection(labels, self._settings)
        except UsageError as error:
            if all(labels.names):
                raise
            raise UsageError(
                f"{error.cause}, among those that {stored.path} names",
                f"{REMEDY}: then the names of all classes are known",
            ) from error
        events = self._settings.events
        self._thresholds = self._selection.event_thresholds()
        self._lasting = self._thresholds if events is None else lasting_thresholds(self._thresholds, events)
        shown = asdict(self._settings)
        told = [*asked, "timeline", "keep_scores", *(["aggregate"] if aggregate or own else [])]
        models = () if stored.run is None else stored.run.models
        self.run_info = RunInfo(models, before | {name: shown[name] for name in told})
        self.missing = 0

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes in order, any number of times; ResultsError if damaged, or not kept as asked for."""
        self.missing = 0
        for outcome in self._stored.outcomes():
            if isinstance(outcome, FileFailure):
                yield outcome
            elif outcome.window_scores is not None:
                yield self._from_scores(outcome, outcome.window_scores)
            elif self._aggregates_anew:
                yield self._from_scores(outcome, self._whole_windows(outcome))
            else:
                yield self._from_labels(outcome)

    def _from_scores(self, result: FileResult, kept: WindowScores) -> Outcome:
        """As the run did it, window by window."""
        whole = Aggregate(result.file, self._selection, self._settings, result.scores)
        frames = round((result.seconds_heard - FRAME_SECONDS) * FRAMES_PER_SECOND) + 1
        starts = np.rint(kept.start * FRAMES_PER_SECOND).astype(int).tolist()
        ends = np.rint(kept.end * FRAMES_PER_SECOND).astype(int).tolist()
        ends[-1] = frames  # that of the last window is where the audio ends, which may be within a frame
        before = 0
        for start, end, scores in zip(starts, ends, kept.scores, strict=True):
            whole.add(start, end - start, end - before, scores)
            before = end
        facts = Facts(
            result.duration, frames, result.sample_rate, result.channels, result.warnings, result.stamp
        )
        try:
            return whole.result(facts)
        except InputError as error:
            return FileFailure.of(result.file, error)

    def _whole_windows(self, result: FileResult) -> WindowScores:
        """All scores of all windows, where as many labels were kept."""
        windows = result.windows
        if not windows or any(len(window.tags) < len(self._selection.labels) for window in windows):
            raise ResultsError(
                f"{self._stored.path} does not hold the scores of all classes in all windows, which "
                f"--aggregate {self._settings.aggregate} needs",
                REMEDY,
            )
        return WindowScores(
            np.array([window.start for window in windows]),
            np.array([window.end for window in windows]),
            np.stack([self._known(window.tags) for window in windows]),
        )

    def _from_labels(self, result: FileResult) -> FileResult:
        """From the labels and events that were kept."""
        settings = self._settings
        if settings.timeline and not result.windows:
            raise ResultsError(f"{self._stored.path} does not hold windows", "Tag with --timeline")
        scores = self._selection.rolled_up(self._known(result.tags))
        lacks_labels = not settings.timeline and self._may_lack(result.tags, scores)
        lacks_events = False
        timeline = Timeline(self._selection, settings)
        for window in result.windows if settings.timeline or settings.events is not None else ():
            known = self._known(window.tags)
            timeline.add(window.start, window.end, known)
            rolled = self._selection.rolled_up(known)
            lacks_labels |= settings.timeline and self._may_lack(window.tags, rolled)
            lacks_events |= settings.events is not None and self._lacks(window.tags, rolled, self._lasting)
        events = timeline.events()
        if settings.events is not None and (not result.windows or lacks_events):
            found = self._from_events(result, settings.events)
            if found is not None:
                events, lacks_events = found
        self.missing += lacks_labels or lacks_events
        return replace(
            result,
            tags=self._selection.tags(self._known(result.tags)),
            windows=timeline.windows(),
            events=events,
        )

    def _from_events(self, result: FileResult, asked: EventSettings) -> tuple[tuple[Event, ...], bool] | None:
        """The events the run had found, and whether others were asked for; None if windows say more."""
        if result.events is None:
            if result.windows:
                return None
            raise ResultsError(
                f"{self._stored.path} holds neither windows nor events, from which events could be made",
                f"{REMEDY}, or with --timeline",
            )
        as_before = self._settings.threshold is None and asked.hysteresis == EventSettings().hysteresis
        if result.windows and not as_before:
            return None
        # Unless asked otherwise, they are what the run took for an event.
        least = np.full_like(self._thresholds, -np.inf) if as_before else self._thresholds
        shown = [
            one for one in result.events if self._selection.shown[one.index] and one.score >= least[one.index]
        ]
        return tidied(shown, asked), not as_before

    def _known(self, tags: Sequence[Tag]) -> NDArray[np.float32]:
        """The scores [C] that labels tell."""
        told = np.array([tag.score for tag in tags], np.float32)
        if (told[1:] == told[:-1]).any():
            # Rounding made them equal, but they are in order, and stay so.
            for place in range(len(told) - 2, -1, -1):
                told[place] = max(told[place], np.nextafter(told[place + 1], np.float32(np.inf)))
        scores = np.full(len(self._selection.labels), np.nan, np.float32)
        scores[[tag.index for tag in tags]] = told
        return scores

    def _may_lack(self, tags: Sequence[Tag], scores: NDArray[np.float32]) -> bool:
        """Whether more labels are asked for than these tell: their number, or how low they may score."""
        shown = len(self._selection.top(scores))
        is_enough = 0 < self._settings.top_k <= shown
        return not is_enough and self._lacks(tags, scores, self._selection.least)

    def _lacks(self, tags: Sequence[Tag], scores: NDArray[np.float32], least: NDArray[np.float32]) -> bool:
        """Whether a class whose score is not known could have one of at least `least` [C]."""
        unknown = np.isnan(scores) & self._selection.shown
        return bool((unknown & (least < self._kept_down_to(tags))).any())

    def _kept_down_to(self, tags: Sequence[Tag]) -> float:
        """The score above which a list of labels names all that there were."""
        top_k, threshold = self._before.get("top_k"), self._before.get("threshold")
        chose = self._before.get("include") or self._before.get("exclude")
        if isinstance(top_k, int) and not chose and (top_k == 0 or len(tags) < top_k):
            if threshold is None:
                return -math.inf
            if isinstance(threshold, int | float):
                return threshold
        return tags[-1].score if tags else math.inf
