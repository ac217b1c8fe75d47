"""A pipe -> its bytes as they come, read on a thread, so that the program that writes into it need not wait.

Knows nothing of audio. What nobody has taken yet is held up to a bound; beyond it the pipe fills, and its
writer waits: nothing is dropped.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import IO, Any

from ast_cli.errors import InputError

# Ten minutes of 48 kHz stereo in 16 bits are 115 MB, of 16 kHz mono 19 MB.
MOST_BYTES_AHEAD = 1 << 27
MOST_BYTES_AT_ONCE = 1 << 18  # a second of 32 kHz stereo as float32: what waits is taken in such pieces
READ_BYTES = 1 << 16  # what a pipe of Linux holds
POLL_SECONDS = 0.05  # how soon reading goes on once there is room again


class PipeReader:
    """Reads a pipe to its end, or until it is stopped. Iterate it, once, for what there is.

    Args:
        pipe: Read on a thread from now on; closed by nobody here.
        most_ahead: Bytes that may wait to be taken.

    Attributes:
        started: When reading began, of `time.monotonic`.
        received: Bytes that the pipe has delivered so far.
        ended: Whether nothing more comes.
    """

    def __init__(self, pipe: IO[bytes], most_ahead: int = MOST_BYTES_AHEAD) -> None:
        self.started = time.monotonic()
        self.received = 0
        self.ended = False
        self._taken = 0
        self._most_ahead = most_ahead
        self._stopped = False
        # Unlike a condition, it may be put into by a signal handler that interrupts the thread that waits.
        self._pieces: SimpleQueue[bytes | OSError] = SimpleQueue()
        # Daemon: it may wait for a pipe nobody writes to, which must not keep the program from ending.
        threading.Thread(target=self._read, args=(pipe,), name="pipe", daemon=True).start()

    def stop(self) -> None:
        """Let it end here: what was read and not taken is forgotten. May be called by a signal handler."""
        self._stopped = True
        self._pieces.put(b"")

    def __iter__(self) -> Iterator[bytes]:
        """What has come since the last piece, as soon as there is a byte.

        Raises:
            InputError: The system could not read on.
        """
        while (piece := self._pieces.get()) and not self._stopped:
            if isinstance(piece, OSError):
                raise InputError("unreadable", f"reading broke off: {piece.strerror}") from piece
            together = [piece]
            size = len(piece)
            ended: bytes | OSError | None = None
            while size < MOST_BYTES_AT_ONCE and not self._pieces.empty():
                more = self._pieces.get()
                if not more or isinstance(more, OSError):
                    ended = more
                    break
                together.append(more)
                size += len(more)
            self._taken += size
            yield b"".join(together)
            if ended is not None:
                self._pieces.put(ended)

    def _read(self, pipe: IO[bytes]) -> None:
        # A buffered file would wait until it has all that it was asked for.
        read: Any = getattr(pipe, "read1", pipe.read)
        try:
            while not self._stopped:
                if self.received - self._taken >= self._most_ahead:
                    time.sleep(POLL_SECONDS)
                    continue
                piece = read(READ_BYTES)
                if piece is None:  # somebody made the pipe non-blocking, and it is empty
                    select.select([pipe], [], [])
                    continue
                if piece:
                    self.received += len(piece)
                self._pieces.put(piece)
                if not piece:
                    return
        except OSError as error:
            self._pieces.put(error)
        except ValueError:  # it was stopped, and the file closed
            self._pieces.put(b"")
        finally:
            self.ended = True
