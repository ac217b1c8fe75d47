"""Live events as JSON lines: one when a sound starts, one when it has ended, written at once."""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from io import UnsupportedOperation
from typing import TextIO

from ast_cli.files import ReaderGoneError
from ast_cli.outputs.json_writer import dump, event_document
from ast_cli.results import Event


class LiveLines:
    """Writes to a stream, and notices when nobody reads it any more.

    Args:
        stream: Flushed after every line, since its reader acts on it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def started(self, event: Event) -> None:
        """A sound has started; its score is that so far."""
        found = event_document(event)
        self._write("start", {"time": found["start"]} | {name: found[name] for name in STARTED})

    def ended(self, event: Event) -> None:
        """It has ended."""
        self._write("end", event_document(event))

    def require_reader(self) -> None:
        """Raise ReaderGoneError if the reader has gone: the next line may be hours away."""
        if sys.platform != "win32":  # where the next line tells
            poll = select.poll()
            with suppress(UnsupportedOperation):  # of what stands in for a file
                poll.register(self._stream, 0)  # errors are told without being asked for
            if any(what & select.POLLERR for _, what in poll.poll(0)):
                raise ReaderGoneError

    def _write(self, what: str, document: dict[str, object]) -> None:
        self._stream.write(dump({"event": what} | document) + "\n")
        self._stream.flush()


STARTED = ("index", "mid", "label", "score")
