"""Where text goes: standard output, or a file that appears under its name only when it is complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ast_cli.errors import OutputError

STDOUT = "-"


@contextmanager
def open_sink(out: str, *, overwrite: bool = False) -> Iterator[TextIO]:
    """Open `out` for writing UTF-8 with Unix line ends; `-` is standard output.

    A file is written as `NAME.part` beside its place and renamed when the block ends well. If it does not,
    what was written, if anything, stays there under that name.

    Raises:
        OutputError: It exists and must not be replaced, cannot be written, or the disk is full.
    """
    if out == STDOUT:
        # Names in results are valid Unicode (`results.display_name`), so no locale may stand in their way.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(out)
    if path.is_dir():
        raise OutputError(f"{out} is a folder", "Name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{out} is there already", "--overwrite replaces it; or choose another name")
    part = part_of(path)
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        if error.filename not in (None, str(part), str(path)):
            raise  # not about our file
        raise OutputError(
            f"cannot write {out}: {error.strerror}", "Free some space, or choose another place"
        ) from error
    finally:
        if part.exists() and part.stat().st_size == 0:
            part.unlink()


def part_of(path: Path) -> Path:
    """Where a file is while it is being written."""
    return path.with_name(path.name + ".part")
