"""Outcomes -> what the report's page holds of them, as plain data; and how data is put into a page safely.

Knows nothing of templates, files or audio.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ast_cli.results import FileFailure, FileResult, Outcome, WindowScores, display_name
from ast_cli.text import one_line

MOST_COLUMNS = 1000  # of a heat map: no screen shows many more
MOST_LANES = 12  # labels in a heat map
UNKNOWN = 0  # in a heat map, where the run did not keep the score
JOINERS = (
    "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # not printable, and part of how some names are spelled
)
# What could end a script element, or begin something else in it.
IN_SCRIPTS = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def script_json(value: object) -> str:
    """A value as JSON that means the same inside a script element, whatever text it holds."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(IN_SCRIPTS)


def shown(text: str) -> str:
    """A text as it may be shown: line ends, control characters and changes of direction as their escapes."""
    return "".join(char if char in JOINERS else one_line(char) for char in text)


@dataclass(slots=True)
class ClassCount:
    """How often a class was found.

    Attributes:
        first: Recordings of which it is the first label.
        events: Its events.
        files: Recordings that have such events.
        seconds: What its events last together.
    """

    first: int = 0
    events: int = 0
    files: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Summary:
    """What all recordings come to.

    Attributes:
        tagged: Number of recordings with a result.
        seconds: What they last together.
        failures: File, word and message of each that has none.
        classes: Each class that is some recording's first label, or has an event.
        timed: Recordings of which events were looked for.
    """

    tagged: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    classes: defaultdict[str, ClassCount] = field(default_factory=lambda: defaultdict(ClassCount))
    timed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one recording."""
        if isinstance(outcome, FileFailure):
            self.failures.append((shown(display_name(outcome.file)), outcome.error, shown(outcome.message)))
            return
        self.tagged += 1
        self.seconds += outcome.duration
        if outcome.tags:
            self.classes[outcome.tags[0].label].first += 1
        if outcome.events is None:
            return
        self.timed += 1
        for label in {event.label for event in outcome.events}:
            self.classes[label].files += 1
        for event in outcome.events:
            self.classes[event.label].events += 1
            self.classes[event.label].seconds += event.end - event.start

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """The words of the failures, the most frequent first."""
        return Counter(word for _, word, _ in self.failures).most_common()

    def by_frequency(self) -> list[tuple[str, ClassCount]]:
        """The classes, the most frequent first."""
        return sorted(
            ((shown(label), count) for label, count in self.classes.items()),
            key=lambda one: (-one[1].events, -one[1].first, one[0]),
        )


def row_of(outcome: Outcome, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What the list of recordings shows of one; `notes` as that its audio is not there any more."""
    row: dict[str, Any] = {"name": shown(display_name(outcome.file))}
    if isinstance(outcome, FileFailure):
        return row | {"error": outcome.error, "message": shown(outcome.message)}
    return row | {
        "seconds": round(outcome.duration, 3),
        "tags": [[shown(tag.label), round(tag.score, 4)] for tag in outcome.tags],
        "labels": sorted({shown(event.label) for event in outcome.events or ()}),
        "events": None if outcome.events is None else len(outcome.events),
        "notes": [shown(note) for note in (*outcome.warnings, *notes)],
    }


def detail_of(result: FileResult) -> dict[str, Any]:
    """What is shown of a recording once it is opened, but for its audio and its picture."""
    return {
        "rate": result.sample_rate,
        "channels": result.channels,
        "heard": round(result.seconds_heard, 3),
        "events": [
            [round(one.start, 3), round(one.end, 3), shown(one.label), round(one.score, 4)]
            for one in result.events or ()
        ],
        "heat": heat_map(result),
    }


def heat_map(result: FileResult) -> dict[str, Any] | None:
    """The scores of the most prominent labels over time.

    Windows may overlap; each stands for the time that is nearer to its middle than to any other's. Where
    there are more than `MOST_COLUMNS`, neighbours share a column, which has the highest of their scores.

    Returns:
        `edges` of the columns, in seconds; `lanes`, of each its label, its highest score and where that is;
        and `values`, the lanes one after the other, a byte for each column in base64: 0 where the score was
        not kept, else 1 to 255. None where no window has a label.
    """
    if not result.windows:
        return None
    kept = result.window_scores
    starts, ends, classes, scores = _of_windows(result) if kept is None else _of_scores(result, kept)
    if not classes:
        return None
    centres = (starts + ends) / 2
    edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [max(result.duration, ends[-1])]])
    best = np.nan_to_num(scores, nan=-np.inf).argmax(axis=1)
    peaks = scores[np.arange(len(classes)), best]
    lanes = np.argsort(-peaks, kind="stable")[:MOST_LANES]
    group = -(-len(starts) // MOST_COLUMNS)
    first = np.arange(0, len(starts), group)
    columns = np.fmax.reduceat(scores[lanes], first, axis=1)
    return {
        "edges": [round(float(edge), 3) for edge in (*edges[:-1][first], edges[-1])],
        "lanes": [
            [shown(classes[lane]), round(float(peaks[lane]), 4), round(float(edges[best[lane]]), 3)]
            for lane in lanes
        ],
        "values": base64.b64encode(_as_bytes(columns, result.scores).tobytes()).decode("ascii"),
    }


_Timed = tuple[NDArray[np.float64], NDArray[np.float64], list[str], NDArray[np.float32]]


def _of_windows(result: FileResult) -> _Timed:
    """Start and end [W], names [L] and scores [L, W] of the labels that were kept; NaN where one was not."""
    lanes: dict[str, int] = {}
    places: list[tuple[int, int, float]] = []
    starts, ends = [], []
    for number, window in enumerate(result.windows):
        starts.append(window.start)
        ends.append(window.end)
        places += [(lanes.setdefault(tag.label, len(lanes)), number, tag.score) for tag in window.tags]
    scores = np.full((len(lanes), len(starts)), np.nan, np.float32)
    for lane, number, score in places:
        scores[lane, number] = score
    return np.array(starts), np.array(ends), [*lanes], scores


def _of_scores(result: FileResult, kept: WindowScores) -> _Timed:
    """The same where all scores were kept, for the labels that were in some window's top."""
    names = {tag.index: tag.label for window in result.windows for tag in window.tags}
    return kept.start, kept.end, [*names.values()], kept.scores[:, [*names]].T


def _as_bytes(scores: NDArray[np.float32], kind: str) -> NDArray[np.uint8]:
    if kind == "logits":
        scores = np.float32(1) / (np.float32(1) + np.exp(-scores.clip(-80, 80)))
    known = 1 + np.round(254 * np.clip(np.nan_to_num(scores), 0, 1))
    return np.where(np.isnan(scores), UNKNOWN, known).astype(np.uint8)
