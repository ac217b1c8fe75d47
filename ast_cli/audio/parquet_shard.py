"""A Parquet with an audio column, as the Hub's datasets store it: a struct of `bytes` and `path` in each row.

Rows are read group by group, a few at a time, and only as far as needed: a group may hold gigabytes. What is
in memory is a page, of which Parquet can read no part.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import IO, Any

from ast_cli.audio.local import SharedFile, View, copy_of, making_copy, new_copy, write_whole
from ast_cli.errors import InputError
from ast_cli.extras import require_extra

COLUMN = "audio"
ROWS_AT_ONCE = 4  # whose audio is in memory
PATHS_AT_ONCE = 1024
BUFFER_BYTES = 1 << 20
GROUPS_KEPT = 2  # neighbours: threads read some rows ahead of each other


class ParquetShard:
    """An open Parquet; a recording is called `<row>/<name of its path>`, or `<row>` if it has none.

    A row without bytes names a file elsewhere, which is never opened: whoever made the shard would choose
    what is read, on this machine or from it.

    Args:
        file: Stays open as long as this is used.

    Raises:
        EngineError: pyarrow is not installed.
        InputError: It is no Parquet, or has no audio column.
    """

    def __init__(self, file: SharedFile) -> None:
        require_extra("parquet")
        import pyarrow
        from pyarrow import parquet

        self._lock = threading.Lock()
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        self._open_file: Callable[[], Any] = lambda: parquet.ParquetFile(
            View(file), buffer_size=BUFFER_BYTES, pre_buffer=False
        )
        with _telling_damage():
            self._file = self._open_file()
            self._column = _audio_column(pyarrow.types, self._file.schema_arrow)
            counts = [self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)]
        self._first = [0, *accumulate(counts)]  # row of each group

    def members(self) -> Iterator[str]:
        """See `shards.Shard`."""
        batches = self._batches(self._open_file(), [*range(len(self._first) - 1)], ["path"], PATHS_AT_ONCE)
        row = 0
        while True:
            with _telling_damage():
                audio = next(batches, None)
                rows = [] if audio is None else audio.column(0).to_pylist()
            if audio is None:
                return
            for one in rows:
                base = os.path.basename((one or {}).get("path") or "")
                yield f"{row}/{base}" if base not in ("", ".", "..") else str(row)
                row += 1

    def open(self, member: str) -> IO[bytes]:
        """See `shards.Shard`."""
        number = member.partition("/")[0]
        row = int(number) if number.isascii() and number.isdigit() else -1
        if not 0 <= row < self._first[-1]:
            raise InputError("not-found", f"the shard has {self._first[-1]:,} rows", "They count from 0")
        with self._lock, _telling_damage():
            group = bisect_right(self._first, row) - 1
            held = self._groups.get(group)
            if held is None:
                batches = self._batches(self._file, [group], ["bytes"], ROWS_AT_ONCE)
                held = self._groups[group] = _Group(batches, self._first[group + 1] - self._first[group])
            self._groups.move_to_end(group)
            while len(self._groups) > GROUPS_KEPT:
                self._groups.popitem(last=False)
            return held.open(row - self._first[group])

    def _batches(self, file: Any, groups: list[int], fields: list[str], rows: int) -> Iterator[Any]:
        columns = [f"{self._column}.{field}" for field in fields]
        return iter(file.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False))


class _Group:
    """The recordings of a row group on the disk, as far as they were needed."""

    def __init__(self, batches: Iterator[Any], rows: int) -> None:
        self._batches = batches
        self._rows = rows
        self._places: list[tuple[int, int] | None] = []
        self._copy = new_copy()
        self._shared = SharedFile(self._copy)  # closes it
        self._end = 0

    def open(self, number: int) -> IO[bytes]:
        while number >= len(self._places):
            self._read()
        place = self._places[number]
        if place is None:
            raise InputError(
                "not-found",
                "the row holds no audio, at most the name of a file elsewhere, which is not opened",
                "Put the audio into the shard, or name the files themselves, as with --files-from",
            )
        return copy_of(self._shared, *place)

    def _read(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            raise InputError(
                "unreadable", "the shard holds fewer rows than it says", "Fetch or make it again"
            )
        for audio in batch.column(0):
            data = (audio.as_py() or {}).get("bytes")
            if data is None:
                self._places.append(None)
                continue
            with making_copy():
                self._copy.seek(self._end)
                write_whole(self._copy, data)
            self._places.append((self._end, len(data)))
            self._end += len(data)
        if len(self._places) >= self._rows:
            self._batches = iter(())  # it may hold a page, which may be all of the group


def _audio_column(types: Any, schema: Any) -> str:
    """The column called `audio`, or the only one of such a shape."""
    found = [field.name for field in schema if _is_audio(types, field.type)]
    if COLUMN in found:
        return COLUMN
    if len(found) == 1:
        return str(found[0])
    what = f"several audio columns, none called {COLUMN}: {', '.join(found)}" if found else "no audio column"
    raise InputError(
        "no-audio", f"it has {what}", "One is a struct of bytes and path, as in the Hub's datasets"
    )


def _is_audio(types: Any, kind: Any) -> bool:
    if not types.is_struct(kind):
        return False
    fields = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
    return {*fields} >= {"bytes", "path"} and (
        types.is_binary(fields["bytes"]) or types.is_large_binary(fields["bytes"])
    )


@contextmanager
def _telling_damage() -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            "unreadable", f"no Parquet, or damaged ({error})", "Fetch or make the shard again"
        ) from error
