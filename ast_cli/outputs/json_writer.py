"""JSON, one document a run, and JSON lines, one a recording."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ast_cli.outputs.writer import Writer
from ast_cli.results import Event, FileFailure, FileResult, ModelInfo, Tag, WindowResult, display_name

SCHEMA = "ast-tag/1"
ERRORS_IN_MEMORY = 2**20  # bytes


class JsonWriter(Writer):
    """One document: what the run was made with, its results, its errors. Written as results come."""

    suffix = ".json"
    tells_failures = True

    def begin(self) -> None:
        """Write what the run is made with, and open the list of results."""
        run = self.run_info()
        # They come last, and there may be millions: one a line, in a file where they are many.
        self._errors = tempfile.SpooledTemporaryFile(  # noqa: SIM115 — open until the end
            ERRORS_IN_MEMORY, "w+", encoding="utf-8", newline="\n"
        )
        head = {"schema": SCHEMA, "model": model_document(run.models), "settings": run.settings}
        text = dump(head, indent=2)
        self.stream.write(text.removesuffix("\n}") + ",\n")
        self._begin_list("results")

    def result(self, result: FileResult) -> None:
        """Write one entry of the list."""
        self._entry(_result_texts(result))

    def failure(self, failure: FileFailure) -> None:
        """Keep it for the list at the end."""
        self._errors.write(dump(failure_document(failure)) + "\n")

    def end(self) -> None:
        """Close the results and write the errors."""
        with self._errors as errors:
            self._end_list()
            self.stream.write(",\n")
            self._begin_list("errors")
            errors.seek(0)
            for error in errors:
                self._entry([error.removesuffix("\n")])
            self._end_list()
            self.stream.write("\n}\n")

    def _begin_list(self, name: str) -> None:
        self.stream.write(f'  "{name}": [')
        self._separator = "\n"

    def _entry(self, texts: Iterable[str]) -> None:
        self.stream.write(f"{self._separator}    ")
        self.stream.writelines(texts)
        self._separator = ",\n"

    def _end_list(self) -> None:
        self.stream.write("]" if self._separator == "\n" else "\n  ]")


class JsonlWriter(Writer):
    """One line a recording: its result, or its error."""

    suffix = ".jsonl"
    tells_failures = True

    def result(self, result: FileResult) -> None:
        """Write one line."""
        self.stream.writelines(_result_texts(result))
        self.stream.write("\n")

    def failure(self, failure: FileFailure) -> None:
        """Write one line."""
        self.stream.write(dump(failure_document(failure)) + "\n")


def _result_texts(result: FileResult) -> Iterator[str]:
    """A result as JSON holds it: seconds with 3 decimals, scores with 6, as in CSV.

    It comes in pieces: a day has so many windows and events that their text is never held as a whole.
    """
    document: dict[str, Any] = {
        "file": display_name(result.file),
        "duration": round(result.duration, 3),
        "seconds_heard": round(result.seconds_heard, 3),
        "sample_rate": result.sample_rate,
        "channels": result.channels,
        "tags": _tags(result.tags),
    }
    if result.windows:
        document["windows"] = map(_window, result.windows)
    if result.events is not None:
        document["events"] = map(event_document, result.events)
    if result.scores:
        document["scores"] = result.scores
    if result.warnings:
        document["warnings"] = list(result.warnings)
    before = "{"
    for key, value in document.items():
        yield f'{before}"{key}": '
        before = ", "
        if isinstance(value, map):
            yield "["
            for number, one in enumerate(value):
                yield (", " if number else "") + dump(one)
            yield "]"
        else:
            yield dump(value)
    yield "}"


def failure_document(failure: FileFailure) -> dict[str, Any]:
    """A failure as JSON holds it."""
    return {"file": display_name(failure.file), "error": failure.error, "message": failure.message}


def _tags(tags: Sequence[Tag]) -> list[dict[str, Any]]:
    # Spelled out, in a tenth of the time of `asdict`: there are more of them than of anything else.
    return [
        {
            "rank": tag.rank,
            "index": tag.index,
            "mid": tag.mid,
            "label": tag.label,
            "score": round(tag.score, 6),
        }
        for tag in tags
    ]


def _window(window: WindowResult) -> dict[str, Any]:
    return {"start": round(window.start, 3), "end": round(window.end, 3), "tags": _tags(window.tags)}


def event_document(event: Event) -> dict[str, Any]:
    """An event as JSON holds it."""
    numbers = {name: getattr(event, name) for name in ("start", "end", "score", "mean_score")}
    digits = {"start": 3, "end": 3}
    return asdict(event) | {name: round(value, digits.get(name, 6)) for name, value in numbers.items()}


def model_document(models: Sequence[ModelInfo]) -> dict[str, Any] | None:
    """One model as it is; several as the ensemble they form, with its members; None if it is not known."""
    if not models:
        return None
    if len(models) == 1:
        return asdict(models[0])
    ensemble = {"id": " + ".join(model.id for model in models), "revision": "", "sha256": ""}
    return asdict(models[0]) | ensemble | {"members": [asdict(model) for model in models]}


# Made once: `json.dumps` would make another for every document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def dump(document: object, indent: int | None = None) -> str:
    """A document as one line of JSON, or as indented lines."""
    # Text stays text, so that a name can be searched for; one line each, so that `grep` and `tail` work.
    if indent is None:
        return _inert(_ENCODER.encode(document))
    return _inert(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent))


def _inert(text: str) -> str:
    r"""The same JSON with what is not printable as `\uNNNN`, so that no terminal obeys it."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
