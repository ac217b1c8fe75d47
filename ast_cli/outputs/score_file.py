"""All scores of all windows of a run in an .npz beside its results, for thresholds and formats to come.

Arrays: `recording` [W], the place of the window's recording among the results; `start` and `end` [W], in
seconds; `scores` [W, C], float32; `labels` [C]. They are written and read piece by piece, since a run may be
larger than memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from ast_cli.errors import OutputError
from ast_cli.outputs.sink import replacing
from ast_cli.results import FileResult, Outcome, WindowScores

ARRAYS = ("recording", "start", "end", "scores")


def scores_path(results: Path) -> Path:
    """Where the scores of a run lie whose results are in `results`."""
    return results.with_suffix(".npz")


def write_score_file(path: Path, outcomes: Callable[[], Iterator[Outcome]], labels: Sequence[str]) -> None:
    """Write the scores of a run.

    Args:
        path: The file.
        outcomes: Gives the outcomes, once for each array.
        labels: The class names.

    Raises:
        OutputError: It cannot be written.
    """
    import numpy as np
    from numpy.lib import format as npy

    def kept() -> Iterator[WindowScores]:
        for outcome in outcomes():
            if isinstance(outcome, FileResult):
                assert outcome.window_scores is not None
                yield outcome.window_scores

    count = sum(len(one.start) for one in kept())

    def pieces(name: str) -> Iterator[Any]:
        for number, one in enumerate(kept()):
            yield np.full(len(one.start), number, np.int64) if name == "recording" else getattr(one, name)

    types = {"recording": np.int64, "start": np.float64, "end": np.float64, "scores": np.float32}
    with replacing(path) as part, zipfile.ZipFile(part, "w", allowZip64=True) as archive:
        for name in ARRAYS:
            shape = (count, len(labels)) if name == "scores" else (count,)
            header = {"descr": np.dtype(types[name]).str, "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array_header_1_0(member, header)
                for piece in pieces(name):
                    member.write(np.ascontiguousarray(piece, types[name]).tobytes())
        with archive.open("labels.npy", "w") as member:
            npy.write_array(member, np.array(labels, dtype=str), allow_pickle=False)


def read_score_file(path: Path) -> tuple[tuple[str, ...], Iterator[WindowScores]]:
    """The class names of a run, and the scores of its recordings in order.

    Raises:
        OutputError: It cannot be read.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            labels = tuple(map(str, stored["labels"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(f"cannot read the scores in {path}: {error}") from error
    return labels, _recordings(path, len(labels))


def _recordings(path: Path, classes: int) -> Iterator[WindowScores]:
    import numpy as np
    from numpy.lib import format as npy

    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        members: dict[str, tuple[IO[bytes], Any]] = {}
        count = 0
        for name in ARRAYS:
            member = stack.enter_context(archive.open(f"{name}.npy"))
            npy.read_magic(member)
            (count, *_), _, dtype = npy.read_array_header_1_0(member)
            members[name] = member, dtype

        def read(name: str, rows: int) -> Any:
            member, dtype = members[name]
            width = classes if name == "scores" else 1
            array = np.frombuffer(member.read(rows * width * dtype.itemsize), dtype)
            return array.reshape(rows, width) if name == "scores" else array

        # The recordings' numbers are few: how many windows each has follows from them.
        numbers = read("recording", count)
        for rows in np.diff(np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))).tolist():
            yield WindowScores(read("start", rows), read("end", rows), read("scores", rows))
