"""JSON objects -> outcomes and what they were made with: the reverse of `json_writer`.

Whatever is wrong with an object raises one of `journal.UNREADABLE`; the caller, who knows the line, explains.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ast_cli.results import (
    Event,
    FileFailure,
    FileResult,
    ModelInfo,
    Outcome,
    RunInfo,
    Tag,
    Windows,
    path_shown_as,
)

LARGEST = 3e38  # number in a result: float32 holds it
MOST_CLASSES = 1 << 20  # an index beyond is damage, and must not cost the memory of so many names


class OtherClassesError(ValueError):
    """A label is none of the classes, or has another name among them."""


def outcome_of(entry: Mapping[str, Any], classes: Sequence[tuple[str, str]]) -> Outcome:
    """The outcome of an object of a list of results or errors, or of a line; `classes` are mid and name."""
    file = file_of(entry)
    if "error" in entry:
        return FileFailure(file, str(entry["error"]), str(entry["message"]))
    windows: Windows | tuple[()] = ()
    if "windows" in entry:
        windows = Windows(classes)
        before = 0.0
        for one in entry["windows"]:
            start, end, tags = _number(one["start"]), _number(one["end"]), _tags(one["tags"], classes)
            if not before <= start <= end:
                raise ValueError("windows out of order")
            before = start
            windows.append(start, end, (tag.index for tag in tags), (tag.score for tag in tags))
    return FileResult(
        file=file,
        duration=_number(entry["duration"], 0.0),
        seconds_heard=_number(entry["seconds_heard"], 0.0),
        sample_rate=int(entry["sample_rate"]),
        channels=int(entry["channels"]),
        tags=_tags(entry["tags"], classes),
        windows=windows,
        scores=str(entry.get("scores", "")),
        warnings=tuple(map(str, entry.get("warnings", ()))),
        events=tuple(_event(one, classes) for one in entry["events"]) if "events" in entry else None,
    )


def file_of(entry: Mapping[str, Any]) -> str:
    """The recording's path."""
    shown = entry["file"]
    if not isinstance(shown, str):
        raise TypeError(f"no path: {shown}")
    path = path_shown_as(shown)
    os.fsencode(path)  # raises if it is none
    return path


def classes_of(entry: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Index, mid and name of each label, wherever it stands."""
    if "error" not in entry:
        yield from map(_class_of, entry["tags"])
        for window in entry.get("windows", ()):
            yield from map(_class_of, window["tags"])
        yield from map(_class_of, entry.get("events", ()))


def run_info_of(document: Mapping[str, Any]) -> RunInfo | None:
    """What a document says that it was made with; None if that was not known then, either."""
    model = document["model"]
    if model is None:
        return None
    models = tuple(ModelInfo(**one) for one in model.get("members", [model]))
    if not _index(models[0].labels):
        raise ValueError("a model without classes")
    return RunInfo(models, dict(document["settings"]))


def _tags(entries: Sequence[Mapping[str, Any]], classes: Sequence[tuple[str, str]]) -> tuple[Tag, ...]:
    return tuple(
        Tag(rank, *_known(one, classes), _number(one["score"])) for rank, one in enumerate(entries, start=1)
    )


def _event(one: Mapping[str, Any], classes: Sequence[tuple[str, str]]) -> Event:
    start, end, score, mean = (_number(one[name]) for name in ("start", "end", "score", "mean_score"))
    if not 0 <= start < end:
        raise ValueError("an event ends before it starts")
    return Event(start, end, *_known(one, classes), score, mean)


def _known(one: Mapping[str, Any], classes: Sequence[tuple[str, str]]) -> tuple[int, str, str]:
    index, *name = _class_of(one)
    if not index < len(classes) or classes[index] != tuple(name):
        raise OtherClassesError(f"class {index} is not {name}")
    return index, *classes[index]


def _class_of(one: Mapping[str, Any]) -> tuple[int, str, str]:
    mid, label = one["mid"], one["label"]
    if not isinstance(mid, str) or not isinstance(label, str):
        raise TypeError(f"no name: {label}")
    return _index(one["index"]), mid, label


def _number(value: Any, least: float = -LARGEST) -> float:
    if type(value) not in (int, float) or not least <= value <= LARGEST:
        raise ValueError(f"no number: {value}")
    return float(value)


def _index(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MOST_CLASSES:
        raise ValueError(f"no index: {value}")
    return value
