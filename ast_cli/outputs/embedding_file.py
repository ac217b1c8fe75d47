"""Vectors of recordings in a file: .npz, .parquet, or .npy with more beside it; and back.

An .npz holds `embeddings` [R, D], float32; `files` [F], the recordings; `recording` [R], the place of a row's
recording among them; `starts` and `ends` [R], in seconds; `model` and `sha256`, texts; `normalized`, whether
the rows have length one; and `run`, a JSON text that tells what they were made with. Nothing in it is
compressed, and `embeddings` comes first, so that it can be read where it lies, without loading it. An array
of texts gives each the room of the longest: where that is too much, `files` are the bytes of a JSON list.

Beside NAME.npy, which is `embeddings`, lie NAME.csv with the columns file, start, end, and NAME.npy.json, the
text `run`.
"""

from __future__ import annotations

import csv
import json
import os
import struct
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ast_cli.errors import ResultsError, UsageError
from ast_cli.extras import require_extra
from ast_cli.files import STDOUT, open_replacing, output_errors, require_free, target_of
from ast_cli.outputs.csv_writer import UnixLines
from ast_cli.outputs.score_file import DAMAGED
from ast_cli.results import RunInfo, display_name
from ast_cli.text import first_line, inert_path, with_controls

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = "ast-embed/1"
COLUMNS = ("file", "start", "end")
ROWS_AT_ONCE = 2**14  # 50 MB of 768 numbers
MOST_TEXT = 2**24  # characters of an array of texts, of 4 bytes each
ZIP_HEADER = struct.Struct("<26xHH")  # of a member: the lengths of its name and of what else stands before it
REMEDY = "Make it again with `ast-tag embed`"


class EmbeddingFile:
    """Takes vectors, and writes them when all are there: until then they wait in a file without a name.

    Args:
        path: The file.
        spool: Where vectors wait.
        save: Writes them.
    """

    def __init__(self, path: Path, spool: IO[bytes], save: Callable[[EmbeddingFile], None]) -> None:
        self._path = path
        self._spool = spool
        self._save = save
        self._width = 0
        self.run = RunInfo(())
        self.files: list[str] = []
        self.recording, self.starts, self.ends = array("q"), array("d"), array("d")

    def begin(self, run: RunInfo, width: int) -> None:
        """Say what the vectors [D] are made with, and D."""
        self.run, self._width = run, width

    def add(self, file: str, starts: NDArray[Any], ends: NDArray[Any], vectors: NDArray[Any]) -> None:
        """Take the vectors [R, D] of the next recording, each from `starts` [R] to `ends` [R] in seconds."""
        self.recording.extend([len(self.files)] * len(vectors))
        self.files.append(display_name(file))
        self.starts.extend(starts.tolist())
        self.ends.extend(ends.tolist())
        with output_errors(self._path):
            self._spool.write(vectors.astype("<f4", copy=False).tobytes())

    def complete(self) -> None:
        """Write the file: nothing more comes."""
        with output_errors(self._path):
            self._spool.flush()
        self._save(self)

    @property
    def shape(self) -> tuple[int, int]:
        """R and D."""
        return len(self.recording), self._width

    def blocks(self) -> Iterator[bytes]:
        """The vectors, `ROWS_AT_ONCE` at a time."""
        self._spool.seek(0)
        while block := self._spool.read(ROWS_AT_ONCE * self._width * 4):
            yield block

    def run_text(self) -> str:
        """What they were made with, as JSON."""
        [model] = self.run.models
        told = {"id": model.id, "revision": model.revision, "sha256": model.sha256}
        return json.dumps({"schema": SCHEMA, "model": told, "settings": self.run.settings})


@contextmanager
def open_embedding_file(out: str, *, overwrite: bool) -> Iterator[EmbeddingFile]:
    """Open a file for vectors, which appears under its name when the block ends well.

    Raises:
        EngineError: pyarrow is not installed.
        OutputError: It exists and must not be replaced, or cannot be written.
        UsageError: Its suffix tells no format.
    """
    if out == STDOUT or Path(out).suffix.lower() not in WRITE:
        raise UsageError(f"--out {out} tells no format for vectors", f"Name a {', '.join(WRITE)} file")
    path = target_of(out)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        require_extra("parquet")
    paths = [path, *_beside(path)] if suffix == ".npy" else [path]
    for one in paths:
        require_free(one, overwrite=overwrite)
    with ExitStack() as stack:
        parts = [stack.enter_context(open_replacing(one)) for one in paths]
        # On the same disk as the file: where that fits, this does.
        with output_errors(path):
            spool = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        yield EmbeddingFile(path, spool, lambda rows: WRITE[suffix](rows, *parts))


def _write_vectors(rows: EmbeddingFile, stream: IO[bytes]) -> None:
    from numpy.lib import format as npy

    npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": rows.shape})
    for block in rows.blocks():
        stream.write(block)


def _write_npz(rows: EmbeddingFile, file: IO[bytes]) -> None:
    import numpy as np
    from numpy.lib import format as npy

    [model] = rows.run.models
    is_much = len(rows.files) * max(map(len, rows.files), default=0) > MOST_TEXT
    text = json.dumps(rows.files, ensure_ascii=False).encode("utf-8") if is_much else b""
    arrays = {
        "files": np.frombuffer(text, np.uint8) if is_much else np.array(rows.files, dtype=str),
        "recording": np.array(rows.recording),
        "starts": np.array(rows.starts),
        "ends": np.array(rows.ends),
        "model": np.array(model.id),
        "sha256": np.array(model.sha256),
        "normalized": np.array(bool(rows.run.settings["normalize"])),
        "run": np.array(rows.run_text()),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("embeddings.npy", "w", force_zip64=True) as member:
            _write_vectors(rows, member)
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, values, allow_pickle=False)


def _beside(path: Path) -> tuple[Path, Path]:
    """The table and the JSON of an .npy."""
    return path.with_suffix(".csv"), path.with_name(f"{path.name}.json")


def _write_npy(rows: EmbeddingFile, file: IO[bytes], table: IO[bytes], run: IO[bytes]) -> None:
    _write_vectors(rows, file)
    with TextIOWrapper(table, encoding="utf-8", newline="\n") as text:
        lines = csv.writer(UnixLines(text), lineterminator="\r\n")
        lines.writerow(COLUMNS)
        for place, start, end in zip(rows.recording, rows.starts, rows.ends, strict=True):
            lines.writerow((inert_path(rows.files[place]), f"{start:.3f}", f"{end:.3f}"))
    run.write(f"{rows.run_text()}\n".encode())


def _write_parquet(rows: EmbeddingFile, file: IO[bytes]) -> None:
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    count, width = rows.shape
    types = (pyarrow.string(), pyarrow.float64(), pyarrow.float64(), pyarrow.list_(pyarrow.float32(), width))
    schema = pyarrow.schema([*zip((*COLUMNS, "embedding"), types, strict=True)])
    with parquet.ParquetWriter(file, schema.with_metadata({SCHEMA: rows.run_text()})) as table:
        for first, block in zip(range(0, count, ROWS_AT_ONCE), rows.blocks(), strict=True):
            these = slice(first, first + ROWS_AT_ONCE)
            vectors = pyarrow.array(np.frombuffer(block, "<f4"))
            columns = [
                pyarrow.array([rows.files[place] for place in rows.recording[these]], types[0]),
                pyarrow.array(np.array(rows.starts[these])),
                pyarrow.array(np.array(rows.ends[these])),
                pyarrow.FixedSizeListArray.from_arrays(vectors, width),
            ]
            table.write_table(pyarrow.Table.from_arrays(columns, schema=table.schema))


WRITE: dict[str, Callable[..., None]] = {".npz": _write_npz, ".parquet": _write_parquet, ".npy": _write_npy}


@dataclass(frozen=True, slots=True, eq=False)
class StoredEmbeddings:
    """What `embed` wrote.

    Attributes:
        path: The file.
        vectors: [R, D], float32; of an .npz read where they lie.
        files: [F], as `display_name` shows them.
        recording: [R], the place of a row's recording in `files`.
        starts: [R], seconds from the start of the recording.
        ends: [R], seconds from the start of the recording.
        model: Id of the checkpoint.
        sha256: Of its weights file.
        settings: What they were made with.
    """

    path: Path
    vectors: NDArray[Any]
    files: list[str]
    recording: NDArray[Any]
    starts: NDArray[Any]
    ends: NDArray[Any]
    model: str
    sha256: str
    settings: dict[str, Any]

    @property
    def is_unit(self) -> bool:
        """Whether all vectors have length one."""
        return bool(self.settings.get("normalize"))

    def place(self, row: int) -> tuple[str, float, float]:
        """File, start and end of a row."""
        return self.files[self.recording[row]], float(self.starts[row]), float(self.ends[row])


def read_embeddings(name: str) -> StoredEmbeddings:
    """What `embed` wrote.

    Raises:
        EngineError: pyarrow is not installed.
        ResultsError: It cannot be read, is damaged, or holds something else.
    """
    path = Path(name)
    try:
        if not os.path.isfile(path):  # noqa: PTH113 — it may be no name at all
            raise ResultsError(f"no such file: {name}", "`ast-tag embed` writes one")
        stored = {".parquet": _read_parquet, ".npy": _read_npy}.get(path.suffix.lower(), _read_npz)(path)
        rows = len(stored.vectors)
        if (
            stored.vectors.ndim != 2
            or any(len(one) != rows for one in (stored.recording, stored.starts, stored.ends))
            or not ((stored.recording >= 0) & (stored.recording < max(len(stored.files), 1))).all()
        ):
            raise ValueError("arrays that do not fit each other")
    except (*DAMAGED, struct.error) as error:
        raise ResultsError(
            f"{name} holds no vectors that can be read: {first_line(error)}", REMEDY
        ) from error
    if not rows:
        raise ResultsError(f"{name} holds no vectors: no recording could be embedded", REMEDY)
    return stored


def _made_with(text: str | bytes) -> tuple[str, str, dict[str, Any]]:
    document = json.loads(text)
    return str(document["model"]["id"]), str(document["model"]["sha256"]), dict(document["settings"])


def _read_npz(path: Path) -> StoredEmbeddings:
    import numpy as np

    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        texts = stored["files"]
        files: Any = json.loads(texts.tobytes()) if texts.dtype == np.uint8 else texts.tolist()
        return StoredEmbeddings(
            path,
            _in_place(path),
            files,
            stored["recording"],
            stored["starts"],
            stored["ends"],
            *_made_with(str(stored["run"])),
        )


def _read_npy(path: Path) -> StoredEmbeddings:
    import numpy as np

    table, run = _beside(path)
    for one, what in ((table, "which recordings"), (run, "which model")):
        if not one.is_file():
            raise ResultsError(
                f"{path} does not say {what} its vectors are of: {one} is not there",
                f"Put it beside {path.name}, or make all anew with `ast-tag embed`",
            )
    try:
        with table.open(encoding="utf-8", newline="") as text:
            rows = [
                (with_controls(row["file"]), float(row["start"]), float(row["end"]))
                for row in csv.DictReader(text)
            ]
    except csv.Error as error:
        raise ValueError(f"{table}: {error}") from error
    places: dict[str, int] = {}
    recording = [places.setdefault(file, len(places)) for file, _, _ in rows]
    return StoredEmbeddings(
        path,
        np.load(path, mmap_mode="r" if rows else None).astype(np.float32, copy=False),
        [*places],
        np.array(recording, np.int64),
        np.array([start for _, start, _ in rows]),
        np.array([end for _, _, end in rows]),
        *_made_with(run.read_bytes()),
    )


def _in_place(path: Path) -> NDArray[Any]:
    """The vectors of an .npz, read where they lie in the file."""
    import numpy as np
    from numpy.lib import format as npy

    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("embeddings.npy")
    with path.open("rb") as file:
        file.seek(member.header_offset)
        file.seek(sum(ZIP_HEADER.unpack(file.read(ZIP_HEADER.size))), os.SEEK_CUR)
        npy.read_magic(file)
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
        if member.compress_type != zipfile.ZIP_STORED or fortran_order or dtype != np.float32:
            raise ValueError("vectors of another layout")
        if 0 in shape:
            return np.zeros(shape, np.float32)
        return np.memmap(path, dtype, "r", file.tell(), shape)


def _read_parquet(path: Path) -> StoredEmbeddings:
    require_extra("parquet")
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        run = (table.schema.metadata or {})[SCHEMA.encode()]
        names = table.column("file").combine_chunks().dictionary_encode()
        if isinstance(names, pyarrow.ChunkedArray):
            names = names.combine_chunks()
        width = table.schema.field("embedding").type.list_size
        flat = [chunk.flatten().to_numpy() for chunk in table.column("embedding").chunks]
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    vectors = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    starts, ends = (table.column(name).to_numpy() for name in ("start", "end"))
    return StoredEmbeddings(
        path,
        vectors.reshape(-1, width),
        names.dictionary.to_pylist(),
        names.indices.to_numpy(),
        starts,
        ends,
        *_made_with(run),
    )
