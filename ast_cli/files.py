"""Where text goes: standard output, or a file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from ast_cli.errors import OutputError
from ast_cli.text import first_line

STDOUT = "-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def open_sink(out: str, *, overwrite: bool = False) -> Iterator[TextIO]:
    """Open `out` for writing UTF-8 with Unix line ends; `-` is standard output.

    A file appears under its name only when the block ends well. A device or a pipe is written as it is.

    Raises:
        OutputError: It exists and must not be replaced, cannot be written, or the disk is full.
    """
    if out == STDOUT:
        with open_stdout() as stream:
            yield stream
        return
    path = target_of(out)
    with output_errors(path):
        if path.is_dir():
            raise OutputError(f"{out} is a folder", "Name a file in it")
        if path.is_file() and not overwrite:
            raise OutputError(f"{out} is there already", "--overwrite replaces it; or choose another name")
        if path.exists() and not path.is_file():  # as /dev/null and `>(gzip > tags.gz)` are
            with _open(path) as stream:
                yield stream
            return
    with replacing(path) as part, _open(part) as stream:
        yield stream


@contextmanager
def replacing(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """Hands out a name beside `path` to write to; the file becomes `path` when the block ends well.

    If it does not, nothing is left, and what was there before stays.

    Args:
        path: The file to be.
        *failures: What else than OSError says that a library could not write.

    Raises:
        OutputError: It cannot be written, or the disk is full.
    """
    part = part_of(path)
    try:
        with output_errors(path):
            part.touch()  # with the permissions that new files have here; not every library asks for these
            # Who may read what is replaced may read this.
            mode = stat.S_IMODE((path if path.exists() else part).stat().st_mode)
            yield part
            part.chmod(mode)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    except failures as error:
        raise OutputError(
            f"cannot write {path}: {first_line(error)}",
            "What was there before is whole; free some space and try again",
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _open(path: Path) -> TextIO:
    # A label out of JSON may hold half a surrogate pair, which UTF-8 cannot: it is no reason to stop.
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Around writing `path`: what the system says becomes an OutputError."""
    try:
        yield
    except BrokenPipeError:
        raise  # the program that reads it has read enough
    except OSError as error:
        ours = (None, *map(str, (path, part_of(path), *path.parents)))
        if error.filename not in ours and not str(error.filename).startswith(str(path)):
            raise  # not about our file
        remedy = "Choose another place"
        if isinstance(error, FileNotFoundError):
            remedy = "Make its folder first, or choose another place"
        elif error.errno in FULL:
            remedy = "Free some space, or choose another place"
        raise OutputError(f"cannot write {path}: {error.strerror}", remedy) from error


@contextmanager
def open_stdout() -> Iterator[TextIO]:
    """Standard output for writing UTF-8 with Unix line ends.

    Raises:
        OutputError: It is closed, or what it leads to is full.
        BrokenPipeError: The program that reads it has gone.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed", "Name a file with --out")
    # Names in results are valid Unicode (`results.display_name`), so no locale may stand in their way.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        raise
    except OSError as error:
        if error.filename is not None:
            raise  # not about standard output
        abandon_stdout()
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def abandon_stdout() -> None:
    """Discard the rest of standard output: Python would write it at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def target_of(out: str) -> Path:
    """The file to be written: where `out` is a link, what it leads to, so that it stays one."""
    return Path(os.path.realpath(out) if os.path.islink(out) and os.path.isfile(out) else out)  # noqa: PTH113, PTH114


def part_of(path: Path) -> Path:
    """Where a file is while it is being written."""
    return Path(f"{path}.part")
