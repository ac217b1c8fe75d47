"""What goes between two processes: messages through a pipe, windows through memory that both have mapped.

A window of 0.6 MB in a message would be copied twice, and cost a dozen system calls; from there, it is copied
once. A pipe that nobody is at the other end of raises OSError or EOFError, as `multiprocessing`'s do.
"""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeVar

import numpy as np
import torch

from ast_cli.features.window_stream import Window

MEMORY_BYTES = 1 << 23  # twelve windows of 10.24 s, as waveforms
CLOSED = (EOFError, OSError)
READY, FORK = b"ready", b"fork"  # to and from the fork server, as are pids, in digits
CONTROL_BYTES = 64

OtherT = TypeVar("OtherT")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A window whose content lies in the memory."""

    start: int
    length: int
    new: int
    offset: int
    shape: tuple[int, ...]


class Channel:
    """One end of it.

    Args:
        connection: Closed with it.
        memory: Mapped here and at the other end.
    """

    def __init__(self, connection: Connection, memory: mmap.mmap) -> None:
        self.close = connection.close
        self._connection = connection
        self._memory = memory
        self._used = 0

    def send(self, message: object) -> None:
        """Send anything that can be pickled."""
        # Not `Connection.send`: with torch, that sends tensors by file descriptors, from another thread.
        self._connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> object:
        """Wait for the next message."""
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 — of our own processes

    def forget(self) -> None:
        """The memory may be written over: the other end has taken all that was stored."""
        self._used = 0

    def store(self, item: Window | OtherT) -> _Stored | Window | OtherT | None:
        """What to send for an item: where the content of a window lies from now on, all else itself.

        Returns None where no more fits, until it may be forgotten.
        """
        if not isinstance(item, Window):
            return item
        content = item.content.numpy()
        begin, end = self._used, self._used + content.nbytes
        if end > len(self._memory):
            return None if begin else item  # what would never fit goes with the message
        np.frombuffer(self._memory, content.dtype, content.size, begin).reshape(content.shape)[:] = content
        self._used = end
        return _Stored(item.start, item.length, item.new, begin, content.shape)

    def take(self, sent: Sequence[_Stored | OtherT]) -> list[Window | OtherT]:
        """The items again; copies, so that the other end may write over what it stored."""
        return [self._window(one) if isinstance(one, _Stored) else one for one in sent]

    def _window(self, stored: _Stored) -> Window:
        size = int(np.prod(stored.shape))
        content = np.frombuffer(self._memory, np.float32, size, stored.offset).reshape(stored.shape)
        return Window(stored.start, stored.length, stored.new, torch.from_numpy(content.copy()))
