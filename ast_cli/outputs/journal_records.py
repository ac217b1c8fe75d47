"""Outcomes <-> JSON objects, exact to the last bit and compact, as the journal holds them.

Labels are indices, whose names stand once in the journal; arrays are bytes in base64.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from ast_cli.results import (
    Classes,
    Event,
    FileFailure,
    FileResult,
    Outcome,
    Stamp,
    Tag,
    Windows,
    WindowScores,
)


def to_record(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a JSON object; `file` comes first."""
    if isinstance(outcome, FileFailure):
        return {"file": outcome.file, "error": outcome.error, "message": outcome.message}
    record: dict[str, Any] = {
        "file": outcome.file,
        "stamp": outcome.stamp and (outcome.stamp.size, outcome.stamp.mtime_ns),
        "facts": [outcome.duration, outcome.seconds_heard, outcome.sample_rate, outcome.channels],
        "scores": outcome.scores,
        "tags": [[tag.index, tag.score] for tag in outcome.tags],
        "warnings": outcome.warnings,
    }
    if isinstance(outcome.windows, Windows):
        record["windows"] = {name: _text(one.tobytes()) for name, one in outcome.windows.arrays().items()}
    if outcome.events is not None:
        record["events"] = [
            [one.start, one.end, one.index, one.score, one.mean_score] for one in outcome.events
        ]
    kept = outcome.window_scores
    if kept is not None:
        record["window_scores"] = [_text(one.tobytes()) for one in (kept.start, kept.end, kept.scores)]
    return record


def from_record(record: dict[str, Any], classes: Classes) -> Outcome:
    """The outcome that `to_record` made the object of, fresh or out of JSON; `classes` name the indices.

    Raises:
        KeyError: It is not such an object; or IndexError, TypeError, ValueError.
    """
    if "error" in record:
        return FileFailure(record["file"], record["error"], record["message"])
    duration, heard, sample_rate, channels = record["facts"]
    windows, events, kept = (record.get(name) for name in ("windows", "events", "window_scores"))
    return FileResult(
        record["file"],
        *(duration, heard, sample_rate, channels),
        tuple(Tag(rank, i, *classes[i], score) for rank, (i, score) in enumerate(record["tags"], start=1)),
        ()
        if windows is None
        else Windows.from_arrays(classes, {k: b64decode(v) for k, v in windows.items()}),
        record["scores"],
        tuple(record["warnings"]),
        None
        if events is None
        else tuple(Event(start, end, i, *classes[i], *scores) for start, end, i, *scores in events),
        None if kept is None else _window_scores(*map(b64decode, kept)),
        record["stamp"] and Stamp(*record["stamp"]),
    )


def _window_scores(starts: bytes, ends: bytes, scores: bytes) -> WindowScores:
    import numpy as np

    start, end = (np.frombuffer(one, np.float64) for one in (starts, ends))
    return WindowScores(start, end, np.frombuffer(scores, np.float32).reshape(len(start), -1))


def _text(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
