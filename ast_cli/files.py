"""Where text goes: standard output, or a file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from ast_cli.errors import OutputError
from ast_cli.text import first_line

STDOUT = "-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST_START = 200  # bytes of a name, behind which more comes


class ReaderGoneError(BrokenPipeError):
    """The program that reads our output has read enough, as `head` does."""


class _Output(io.FileIO):
    """A file of ours, or standard output: what the system says when it is written becomes an OutputError.

    Here and nowhere else, so that no other OSError of a block that writes is taken for one about the output.
    """

    def __init__(self, file: Path | int, path: Path | None) -> None:
        self._path = path
        super().__init__(file, "wb", closefd=path is not None)

    def write(self, data: Any) -> int:
        with output_errors(self._path):
            return super().write(data)

    def close(self) -> None:
        with output_errors(self._path):
            super().close()


@contextmanager
def open_sink(out: str, *, overwrite: bool = False) -> Iterator[TextIO]:
    """Open `out` for writing UTF-8 with Unix line ends; `-` is standard output.

    A file appears under its name only when the block ends well. A device or a pipe is written as it is.

    Raises:
        OutputError: It exists and must not be replaced, cannot be written, or the disk is full.
        ReaderGoneError: It is standard output or a pipe, whose reader has gone.
    """
    if out == STDOUT:
        with open_stdout() as stream:
            yield stream
        return
    path = target_of(out)
    require_free(path, overwrite=overwrite, shown=out)
    with output_errors(path):
        is_device = path.exists() and not path.is_file()  # as /dev/null and `>(gzip > tags.gz)` are
    with _opened(path, path) if is_device else open_replacing(path) as file, _as_text(file) as stream:
        yield stream


def require_free(path: Path, *, overwrite: bool, shown: str = "") -> None:
    """Raise OutputError if there is a folder, or a file that must not be replaced."""
    with output_errors(path):
        if path.is_dir():
            raise OutputError(f"{shown or path} is a folder", "Name a file in it")
        if path.is_file() and not overwrite:
            raise OutputError(
                f"{shown or path} is there already", "--overwrite replaces it; or choose another name"
            )


@contextmanager
def open_replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes that becomes `path` when the block ends well; see `replacing`."""
    with replacing(path) as part, _opened(part, path) as file:
        yield file


@contextmanager
def replacing(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """Hands out a name beside `path` to write to; the file becomes `path` when the block ends well.

    If it does not, nothing is left, and what was there before stays. Nobody else has the same name.

    Args:
        path: The file to be.
        *failures: What says, within the block, that it could not be written.

    Raises:
        OutputError: It cannot be written, or the disk is full.
    """
    part = part_of(path)
    try:
        with output_errors(path):
            part.touch()  # with the permissions that new files have here; not every library asks for these
            # Who may read what is replaced may read this.
            mode = stat.S_IMODE((path if path.exists() else part).stat().st_mode)
        try:
            yield part
        except failures as error:
            raise OutputError(
                f"cannot write {path}: {first_line(error)}",
                "What was there before is whole; free some space and try again",
            ) from error
        with output_errors(path):
            part.chmod(mode)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A name that nobody else has for where a file is while it is being written."""
    start = os.fsencode(path.name)[:LONGEST_START].decode("utf-8", "ignore")
    return path.parent / f"{start}.{secrets.token_hex(4)}.part"


@contextmanager
def _opened(file: Path | int, path: Path | None) -> Iterator[IO[bytes]]:
    with output_errors(path):
        raw = _Output(file, path)
    with io.BufferedWriter(raw) as stream:
        yield stream


def _as_text(file: IO[bytes]) -> TextIO:
    # A label out of JSON may hold half a surrogate pair, which UTF-8 cannot: it is no reason to stop.
    return io.TextIOWrapper(
        file, encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=file.isatty()
    )


@contextmanager
def output_errors(path: Path | None) -> Iterator[None]:
    """Around steps that only write `path`, or standard output if None: their errors become an OutputError."""
    try:
        yield
    except OSError as error:
        if path is None:
            abandon_stdout()
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError(*error.args) from error
        if path is None:
            raise OutputError(f"cannot write to standard output: {error.strerror}") from error
        remedy = "Choose another place"
        if isinstance(error, FileNotFoundError):
            remedy = "Make its folder first, or choose another place"
        elif isinstance(error, PermissionError) and os.name == "nt":
            remedy = "Close it where it is open, or choose another place"
        elif error.errno in FULL:
            remedy = "Free some space, or choose another place"
        raise OutputError(f"cannot write {path}: {error.strerror}", remedy) from error


@contextmanager
def open_stdout() -> Iterator[TextIO]:
    """Standard output for writing UTF-8 with Unix line ends.

    Raises:
        OutputError: It is closed, or what it leads to is full.
        ReaderGoneError: The program that reads it has gone.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed", "Name a file with --out")
    # Names in results are valid Unicode (`results.display_name`), so no locale may stand in their way.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    with output_errors(None):
        sys.stdout.flush()
    number = None
    # The console of Windows takes no bytes; and what stands in for standard output may have no number.
    if not (os.name == "nt" and sys.stdout.isatty()):
        with suppress(io.UnsupportedOperation):
            number = sys.stdout.fileno()
    if number is None:
        yield sys.stdout
        with output_errors(None):
            sys.stdout.flush()
    else:
        with _opened(number, None) as file, _as_text(file) as stream:
            yield stream


def abandon_stdout() -> None:
    """Discard the rest of standard output: Python would write it at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def target_of(out: str) -> Path:
    """The file to be written: where `out` is a link, what it leads to, so that it stays one."""
    return Path(os.path.realpath(out) if os.path.islink(out) and os.path.isfile(out) else out)  # noqa: PTH113, PTH114
