"""Where text goes: standard output, or a file that appears under its name only when it is complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
    path = Path(out)
    if path.is_dir():
        raise OutputError(f"{out} is a folder", "Name a file in it")
    if path.exists() and not path.is_file():  # as /dev/null and `>(gzip > tags.gz)` are
        with _output_errors(path), path.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    if path.exists() and not overwrite:
        raise OutputError(f"{out} is there already", "--overwrite replaces it; or choose another name")
    part = part_of(path)
    try:
        with _output_errors(path):
            with part.open("w", encoding="utf-8", newline="\n") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
    finally:
        if part.exists() and part.stat().st_size == 0:
            part.unlink()


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
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
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


def part_of(path: Path) -> Path:
    """Where a file is while it is being written."""
    return path.with_name(path.name + ".part")
