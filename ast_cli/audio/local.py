"""A file of this machine, opened as one that can be sought in, and copies of files; no content is looked at.

Whatever is wrong with opening it becomes an `InputError` with one of its stable words.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from typing import IO

from ast_cli.errors import InputError
from ast_cli.results import Stamp

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
            os.pread(file.fileno(), 1, 0)  # some errors show only in reading
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


def spool(pipe: IO[bytes]) -> IO[bytes]:
    """A seekable copy of what a pipe delivers; it has no name, and goes when it is closed."""
    copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 — the caller closes it
    while piece := pipe.read(BYTES_AT_ONCE):
        write_whole(copy, piece)
    copy.seek(0)
    return copy


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
