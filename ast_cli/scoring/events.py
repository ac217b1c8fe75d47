"""Windows -> events: which class sounds from when to when, one event for one sound.

An event is a run of windows whose score stays high: it begins with a score at the threshold and lasts while
the score is at least a part of it (hysteresis). Where windows overlap, all of those around a short sound hold
it, so the event is not as long as they are together: it claims no audio that the window before the run or the
one behind it held too, since that one stayed below. So its times are as fine as the hop, and never finer.

Knows scores [C] and times in seconds; nothing of audio, labels' names or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ast_cli.results import Event
from ast_cli.scoring.labels import LabelSet
from ast_cli.settings import EventSettings


@dataclass(slots=True)
class _OpenEvent:
    """Windows in a row in which a class scores high."""

    first: float  # where its first window starts
    before: float  # where the window before it ends; `first` if there is none
    hop: float | None  # from the window before it, or else from its first window, to the next
    last: float = 0.0  # where its last window ends
    highest: float = -np.inf
    total: float = 0.0
    count: int = 0
    begun: bool = False  # whether a score has reached the threshold


class EventFinder:
    """Finds the events of one recording, whose windows come in order of time; forgets those that ended.

    Args:
        thresholds: The score [C] at which an event of each class begins.
        settings: How events last; neither how they are merged nor which are left out, see `tidied`.
        labels: What the classes are called.
    """

    def __init__(self, thresholds: NDArray[np.float32], settings: EventSettings, labels: LabelSet) -> None:
        self._on = thresholds
        self._off = lasting_thresholds(thresholds, settings)
        self._labels = labels
        self._runs: dict[int, _OpenEvent] = {}
        self._window: tuple[float, float] | None = None  # the last one, start and end

    def push(self, start: float, end: float, scores: NDArray[np.float32]) -> tuple[list[Event], list[Event]]:
        """Take the next window, its start and end in seconds, with its scores [C].

        Returns:
            The events that began with it, of which the end and the scores are those so far; and those that
            ended before it.
        """
        before, hop = start, None
        if self._window is not None:
            before, hop = self._window[1], start - self._window[0]
            for run in self._runs.values():
                if run.hop is None:
                    run.hop = hop
        lasting = np.flatnonzero(scores >= self._off)
        ended = [self._end(index, start) for index in self._runs.keys() - set(lasting.tolist())]
        begun = []
        for index in lasting.tolist():
            run = self._runs.setdefault(index, _OpenEvent(start, before, hop))
            score = float(scores[index])
            run.last = end
            run.highest = max(run.highest, score)
            run.total += score
            run.count += 1
            if not run.begun and score >= self._on[index]:
                run.begun = True
                begun.append(self._event(index, run, None))
        self._window = (start, end)
        return begun, _in_order(event for event in ended if event is not None)

    def finish(self) -> list[Event]:
        """The recording is over: returns the events that were still lasting, as `push` does."""
        return _in_order(event for index in [*self._runs] if (event := self._end(index, None)) is not None)

    def _end(self, index: int, behind: float | None) -> Event | None:
        run = self._runs.pop(index)
        return self._event(index, run, behind) if run.begun else None

    def _event(self, index: int, run: _OpenEvent, behind: float | None) -> Event:
        """The event of a run; `behind` is where the window behind it starts, if there is one."""
        start = max(run.first, run.before)
        end = run.last if behind is None else min(run.last, behind)
        if end < start:
            # So short or faint that the windows around the run held some of it: it lies where they overlap.
            start, end = end, start
        if run.hop is not None and end - start < run.hop:  # no finer than the hop
            middle = (start + end) / 2
            start = max(run.first, min(middle - run.hop / 2, run.last - run.hop))
            end = min(run.last, start + run.hop)
        return Event(
            *(round(start, 3), round(end, 3)), index, *self._labels[index], run.highest, run.total / run.count
        )


def tidied(events: Sequence[Event], settings: EventSettings) -> tuple[Event, ...]:
    """Merge events of a class that are at most `max_gap` apart, leave out short ones, sort by time."""
    merged = [
        event
        for _, alike in groupby(sorted(events, key=lambda one: (one.index, one.start)), lambda one: one.index)
        for event in _merged(alike, settings.max_gap)
    ]
    # Times have three decimals, their differences more.
    return tuple(_in_order(one for one in merged if round(one.end - one.start, 3) >= settings.min_duration))


def _merged(events: Iterator[Event], max_gap: float) -> Iterator[Event]:
    """Merge events of one class, in order of time; a mean is weighed by the seconds it stands for."""
    last = next(events)
    for event in events:
        if round(event.start - last.end, 3) > max_gap:
            yield last
            last = event
            continue
        one, other = last.end - last.start, event.end - event.start
        mean = (last.mean_score * one + event.mean_score * other) / (one + other)
        last = replace(
            last, end=max(last.end, event.end), score=max(last.score, event.score), mean_score=mean
        )
    yield last


def _in_order(events: Iterator[Event] | list[Event]) -> list[Event]:
    return sorted(events, key=lambda one: (one.start, one.end, one.index))


def lasting_thresholds(thresholds: NDArray[np.float32], settings: EventSettings) -> NDArray[np.float32]:
    """The score [C] down to which an event lasts that begins at `thresholds` [C].

    It is a part of it; of a negative one, as logits have, what is as much lower.
    """
    part = np.float32(settings.hysteresis)
    return np.where(thresholds < 0, thresholds / part, thresholds * part)
