"""All scores of all windows of a run in an .npz beside its results, for thresholds and formats to come.

Arrays: `recording` [W], the place of the window's recording among the results; `start` and `end` [W], in
seconds and exact; `scores` [W, C], float32; `labels` [C]; and `run`, a JSON text that tells what the run was
made with. They are written and read piece by piece, since a run may be larger than memory.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ast_cli.errors import ResultsError
from ast_cli.files import open_replacing
from ast_cli.outputs.journal import UNREADABLE, Header
from ast_cli.results import FileResult, Outcome, WindowScores
from ast_cli.text import first_line

ARRAYS = ("recording", "start", "end", "scores")
# What a damaged file may raise.
DAMAGED = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, *UNREADABLE)


def scores_path(results: Path) -> Path:
    """Where the scores of a run lie whose results are in `results`."""
    return results.with_suffix(".npz")


def write_score_file(path: Path, outcomes: Callable[[], Iterator[Outcome]], header: Header) -> None:
    """Write the scores of a run; `outcomes` gives its outcomes, once for each array."""
    import numpy as np
    from numpy.lib import format as npy

    def kept() -> Iterator[WindowScores]:
        for outcome in outcomes():
            if isinstance(outcome, FileResult):
                assert outcome.window_scores is not None
                yield outcome.window_scores

    labels = [name for _, name in header.classes]
    count = sum(len(one.start) for one in kept())

    def pieces(name: str) -> Iterator[Any]:
        for number, one in enumerate(kept()):
            yield np.full(len(one.start), number, np.int64) if name == "recording" else getattr(one, name)

    types = {"recording": np.int64, "start": np.float64, "end": np.float64, "scores": np.float32}
    with open_replacing(path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name in ARRAYS:
            shape = (count, len(labels)) if name == "scores" else (count,)
            layout = {"descr": np.dtype(types[name]).str, "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array_header_1_0(member, layout)
                for piece in pieces(name):
                    member.write(np.ascontiguousarray(piece, types[name]).tobytes())
        for name, text in (("labels", labels), ("run", json.dumps(header.to_line()))):
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, np.array(text, dtype=str), allow_pickle=False)


def read_score_file(path: Path) -> tuple[Header, Iterator[WindowScores]]:
    """What a run was made with, and its recordings' scores in order; both raise ResultsError if damaged."""
    import numpy as np

    with _damage_told(path), path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        header = Header.from_line(json.loads(str(stored["run"])))
    return header, _recordings(path, len(header.classes))


def holds_scores(path: Path) -> bool:
    """Whether a file is one of these, and whole."""
    try:
        read_score_file(path)
    except ResultsError:
        return False
    return True


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise ResultsError(
            f"cannot read the scores in {path}: {first_line(error)}",
            "Move it away to use the labels alone, or tag again with --keep-scores",
        ) from error


def _recordings(path: Path, classes: int) -> Iterator[WindowScores]:
    import numpy as np
    from numpy.lib import format as npy

    with ExitStack() as stack:
        members: dict[str, tuple[IO[bytes], Any]] = {}

        def read(name: str, rows: int) -> Any:
            member, dtype = members[name]
            width = classes if name == "scores" else 1
            array = np.frombuffer(member.read(rows * width * dtype.itemsize), dtype)
            return array.reshape(rows, width) if name == "scores" else array.reshape(rows)

        with _damage_told(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            count = 0
            for name in ARRAYS:
                member = stack.enter_context(archive.open(f"{name}.npy"))
                npy.read_magic(member)
                (count, *_), _, dtype = npy.read_array_header_1_0(member)
                members[name] = member, dtype
            # The recordings' numbers are few: how many windows each has follows from them.
            numbers = read("recording", count)
        for rows in np.diff(np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))).tolist():
            with _damage_told(path):
                one = WindowScores(read("start", rows), read("end", rows), read("scores", rows))
            yield one
