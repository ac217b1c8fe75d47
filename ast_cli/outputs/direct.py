"""Where outcomes go that can be had again at any time, and so need no journal: stdout, file or folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ast_cli.errors import OutputError
from ast_cli.files import STDOUT, open_sink, output_errors, target_of
from ast_cli.outputs import FORMATS, make_writer
from ast_cli.outputs.destination import is_folder, place_in_folder, write_recording
from ast_cli.results import Outcome, RunInfo


@contextmanager
def open_output(
    out: str, format_: str, run_info: Callable[[], RunInfo], *, overwrite: bool = False, base: Path = Path()
) -> Iterator[Callable[[Outcome], None]]:
    """Open an output as `open_destination` does, but for a device; what is handed out writes an outcome.

    A file appears under its name when the block ends well; in a folder, each as soon as it is written. If an
    error ends the block, they are gone, so that the next try finds the folder as it was.

    Raises:
        OutputError: It exists and must not be replaced, or cannot be written.
    """
    if out == STDOUT or not is_folder(out):
        with open_sink(out, overwrite=overwrite) as stream, make_writer(format_, stream, run_info) as writer:
            yield writer.write
        return
    written: list[Path] = []
    with opened_folder(out, overwrite=overwrite) as folder:

        def write(outcome: Outcome) -> None:
            path = folder / place_in_folder(outcome.file, base, FORMATS[format_].suffix)
            write_recording(path, format_, run_info, outcome)
            written.append(path)

        try:
            yield write
        except Exception:  # an interruption keeps what was done
            for path in () if overwrite else written:
                with suppress(OSError):
                    path.unlink()
            raise


@contextmanager
def opened_folder(out: str, *, overwrite: bool) -> Iterator[Path]:
    """Make a folder for outputs, or take the one that is there.

    If the block does not end well, no folder is left that was made for nothing.

    Raises:
        OutputError: It holds something and must not be written into, or cannot be made.
    """
    folder = target_of(out)
    with output_errors(folder):
        is_empty = not folder.is_dir() or not any(folder.iterdir())
        if not overwrite and not is_empty:
            raise OutputError(f"{out} is not empty", "--overwrite writes into it; or name another")
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        within = os.walk(folder, topdown=False) if is_empty else ()
        for one in [*(Path(path) for path, _, _ in within if Path(path) != folder), *made]:
            with suppress(OSError):  # it holds something
                one.rmdir()
        raise
