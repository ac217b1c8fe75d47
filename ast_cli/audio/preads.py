"""Parts of files: read without moving the position that others share, and written whole."""

from __future__ import annotations

import io
import os
import tempfile
from typing import IO

BYTES_AT_ONCE = 1 << 20


def write_whole(file: IO[bytes], piece: bytes) -> None:
    """Write all of it: an unbuffered file may take less than it is given."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def copy_of(descriptor: int, start: int, size: int) -> IO[bytes]:
    """A copy of a part of a file as a file of its own; it has no name, and goes when it is closed."""
    copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 — the caller closes it
    try:
        end = start + size
        while start < end and (piece := os.pread(descriptor, min(BYTES_AT_ONCE, end - start), start)):
            write_whole(copy, piece)
            start += len(piece)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


class Reader(io.RawIOBase):
    """A file to be read, with a position of its own.

    Args:
        descriptor: Stays open as long as it is used, and is not closed here.
        most: Bytes that may be asked for at once: damage can ask for any number.
    """

    def __init__(self, descriptor: int, most: int) -> None:
        self._descriptor = descriptor
        self._most = most
        self._size = os.fstat(descriptor).st_size
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or what is left; at most what may be asked for at once."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > self._most:
            raise OSError(f"{wanted:,} bytes in one piece")
        piece = os.pread(self._descriptor, wanted, self._position)
        self._position += len(piece)
        return piece
