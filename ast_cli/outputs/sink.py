"""Where text goes: standard output, or a file that appears under its name only when it is complete."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from ast_cli.errors import OutputError

STDOUT = "-"


@contextmanager
def open_sink(out: str, *, overwrite: bool = False) -> Iterator[TextIO]:
    """Open `out` for writing UTF-8 with Unix line ends; `-` is standard output.

    A file is written as `NAME.part` beside its place and renamed when the block ends well. If it does not,
    what was written, if anything, stays there under that name. A device or a pipe is written as it is.

    Raises:
        OutputError: It exists and must not be replaced, cannot be written, or the disk is full.
    """
    if out == STDOUT:
        with open_stdout() as stream:
            yield stream
        return
    path = target_of(out)
    with _output_errors(path):
        if path.is_dir():
            raise OutputError(f"{out} is a folder", "Name a file in it")
        if path.is_file() and not overwrite:
            raise OutputError(f"{out} is there already", "--overwrite replaces it; or choose another name")
        if path.exists() and not path.is_file():  # as /dev/null and `>(gzip > tags.gz)` are
            with _open(path) as stream:
                yield stream
            return
        part = part_of(path)
        if not overwrite and part.is_file() and part.stat().st_size:
            raise OutputError(
                f"{part} holds the results of an unfinished run",
                "--overwrite starts anew; or move it away first",
            )
    try:
        with _output_errors(path):
            with _open(part) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                part.chmod(stat.S_IMODE(path.stat().st_mode))  # who may read what is replaced may read this
            part.replace(path)
    finally:
        with suppress(OSError):
            if part.stat().st_size == 0:
                part.unlink()


def _open(path: Path) -> TextIO:
    # A label out of JSON may hold half a surrogate pair, which UTF-8 cannot: it is no reason to stop.
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads it has read enough
    except OSError as error:
        if error.filename not in (None, str(part_of(path)), str(path)):
            raise  # not about our file
        missing = isinstance(error, FileNotFoundError)
        remedy = "Make its folder first" if missing else "Free some space"
        raise OutputError(
            f"cannot write {path}: {error.strerror}", f"{remedy}, or choose another place"
        ) from error


@contextmanager
def open_stdout() -> Iterator[TextIO]:
    """Standard output for writing UTF-8 with Unix line ends.

    Raises:
        OutputError: It is closed, or what it leads to is full.
        BrokenPipeError: Whoever reads it has gone.
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
    """Let the rest of standard output vanish: Python would write it at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def target_of(out: str) -> Path:
    """The file to be written: where `out` is a link, what it leads to, so that it stays one."""
    return Path(os.path.realpath(out) if os.path.islink(out) and os.path.isfile(out) else out)  # noqa: PTH113, PTH114


def part_of(path: Path) -> Path:
    """Where a file is while it is being written."""
    return Path(f"{path}.part")
