"""What goes between two processes: messages through a socket, windows through memory that both have mapped.

A window of 0.6 MB in a message would be copied twice, and cost a dozen system calls; from there, it is copied
once.
"""

from __future__ import annotations

import mmap
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ast_cli.features.window_stream import Window

MEMORY_BYTES = 1 << 23  # twelve windows of 10.24 s, as waveforms
LENGTH = struct.Struct("<Q")
PIECE_BYTES = 1 << 16  # as most messages are shorter, they are read at once

OtherT = TypeVar("OtherT")


class ClosedError(Exception):
    """Nobody is at the other end any more."""


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

    def __init__(self, connection: socket.socket, memory: mmap.mmap) -> None:
        self._connection = connection
        self._memory = memory
        self._used = 0

    def close(self) -> None:
        """The other end learns of it."""
        self._connection.close()

    def send(self, message: object) -> None:
        """Send anything that can be pickled; raises ClosedError."""
        send(self._connection, message)

    def receive(self) -> object:
        """Wait for the next message; raises ClosedError."""
        return receive(self._connection)

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


def send(connection: socket.socket, message: object) -> None:
    """Send anything that can be pickled; raises ClosedError."""
    pickled = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    try:
        connection.sendall(LENGTH.pack(len(pickled)) + pickled)
    except OSError as error:
        raise ClosedError from error


def receive(connection: socket.socket) -> object:
    """Wait for the next message; raises ClosedError."""
    data = _some(connection)
    while len(data) < LENGTH.size:
        data += _some(connection)
    (length,) = LENGTH.unpack_from(data)
    pieces, missing = [data[LENGTH.size :]], length + LENGTH.size - len(data)
    while missing > 0:
        pieces.append(_some(connection))
        missing -= len(pieces[-1])
    return pickle.loads(pieces[0] if len(pieces) == 1 else b"".join(pieces))  # noqa: S301 — of our own processes


def _some(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(PIECE_BYTES)
    except OSError as error:
        raise ClosedError from error
    if not data:
        raise ClosedError
    return data
