"""A file of this machine, opened as one that can be sought in, and copies of files; no content is looked at.

Whatever is wrong with opening it becomes an `InputError` with one of its stable words.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from ast_cli.errors import InputError
from ast_cli.results import Stamp

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BYTES_AT_ONCE = 1 << 20  # in memory, where files are copied


def open_path(path: str) -> tuple[IO[bytes], Stamp | None]:
    """A file of this machine, unbuffered, and its stamp; of a pipe a seekable copy, which has no name.

    Raises:
        InputError: It does not exist or cannot be read.
    """
    try:
        # Looked at before it is opened: reading a device might never end.
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode):
            with open(path, "rb") as pipe:
                return spool(pipe), None
        if not stat.S_ISREG(mode):
            raise InputError("unreadable", "not a file but a folder or a device")
        # Unbuffered: libsndfile and PyAV share the descriptor's position with this object.
        file = open(path, "rb", buffering=0)  # noqa: SIM115
        try:
            file.read(1)  # some errors show only in reading
            file.seek(0)
            return file, Stamp.of(os.fstat(file.fileno()))
        except OSError:
            file.close()
            raise
    except OSError as error:
        raise _input_error(path, error) from error
    except ValueError as error:  # a NUL, or what no file system can spell
        raise InputError(
            "not-found", f"no file can have this name: {error}", "A list from `find -print0` needs -0"
        ) from error


def open_stdin(example: str) -> IO[bytes]:
    """Standard input by its descriptor: a read that waits in the buffered file holds its lock, at exit too.

    Args:
        example: A command that pipes audio into it, for the remedy.

    Raises:
        InputError: It is closed, or a keyboard.
    """
    if sys.stdin is None:
        raise InputError("unreadable", "standard input is closed")
    if sys.stdin.isatty():
        raise InputError("unreadable", "standard input is a keyboard", f"Pipe audio into it: `{example}`")
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, ValueError):  # something that stands in for it
        return sys.stdin.buffer


class SharedFile:
    """A file that many read at once, each at a place of its own; closed when nobody has it any more.

    Attributes:
        size: Bytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.size = os.fstat(file.fileno()).st_size
        weakref.finalize(self, file.close)

    def read_at(self, start: int, count: int) -> bytes:
        """So many bytes from there, fewer only at the end."""
        with self._lock:  # there is no `pread` on Windows
            self._file.seek(start)
            return self._file.read(count)


class View(io.RawIOBase):
    """A shared file as one of one's own, with a position."""

    def __init__(self, shared: SharedFile) -> None:
        self._shared = shared
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = (0, self._place, self._shared.size)[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "before the start of the file")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as there is something."""
        data = self._shared.read_at(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


@contextmanager
def making_copy() -> Iterator[None]:
    """Around reading what cannot be sought in and writing a copy of it.

    Raises:
        InputError: It cannot be read, or there is no room for the copy.
    """
    try:
        yield
    except OSError as error:
        raise no_room(error) or InputError("unreadable", f"cannot be read: {error.strerror}") from error


def no_room(error: BaseException) -> InputError | None:
    """What an error of the system says, if that is that a copy has no room."""
    if getattr(error, "errno", None) not in FULL:
        return None
    folder = tempfile.tempdir or "the folder for temporary files"
    return InputError(
        "unreadable",
        f"no room for a copy of it in {folder}",
        "Free some space, or set TMPDIR to where there is some",
    )


def new_copy() -> IO[bytes]:
    """An empty file for a copy; it has no name, and goes when it is closed."""
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError as error:  # where nothing can be written, Python finds no folder at all
        raise no_room(error) or InputError(
            "unreadable", f"no copy of it can be made: {error.strerror}", "Set TMPDIR to where one can"
        ) from error


def spool(pipe: IO[bytes]) -> IO[bytes]:
    """A seekable copy of what a pipe delivers; it has no name, and goes when it is closed."""
    return _copied(iter(lambda: pipe.read(BYTES_AT_ONCE), b""))


def copy_of(file: SharedFile, start: int, size: int) -> IO[bytes]:
    """A copy of a part of a file as a file of its own; it has no name, and goes when it is closed."""
    end = start + size
    places = range(start, end, BYTES_AT_ONCE)
    return _copied(file.read_at(place, min(BYTES_AT_ONCE, end - place)) for place in places)


def _copied(pieces: Iterable[bytes]) -> IO[bytes]:
    copy = new_copy()
    try:
        with making_copy():
            for piece in pieces:
                write_whole(copy, piece)
            copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def write_whole(file: IO[bytes], piece: bytes) -> None:
    """Write all of it: an unbuffered file may take less than it is given."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _input_error(path: str, error: OSError) -> InputError:
    if error.errno == errno.ENOENT:
        if os.path.islink(path):
            return InputError("not-found", "the link leads nowhere", "Mend or remove it")
        return InputError("not-found", "no such file", "Check the spelling")
    if error.errno == errno.ELOOP:
        return InputError("unreadable", "a link in a circle", "Mend or remove it")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError("unreadable", "permission denied", "Ask its owner, or `chmod +r` it")
    return InputError("unreadable", f"cannot be read: {error.strerror}")
