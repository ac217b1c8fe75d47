"""Parquet: the rows of CSV with types, for tables too large to be text. Needs the extra `parquet`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.outputs.csv_writer import COLUMNS, timed_tags
from ast_cli.outputs.writer import Writer
from ast_cli.results import FileResult, RunInfo, display_name

ROWS_IN_GROUP = 2**16  # as many are held in memory: some 20 MB
TYPES = ("string", "float64", "float64", "int32", "int32", "string", "string", "float64")


class ParquetWriter(Writer):
    """The rows and columns of CSV. Numbers are not rounded, and names are as they are: no cell is a formula.

    Rows are written a group at a time. The file can be read once its end is written, and not before.

    Raises:
        EngineError: The extra `parquet` is not installed.
        UsageError: The stream is a terminal, or takes no bytes.
    """

    suffix = ".parquet"

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        require_extra("parquet")
        if stream.isatty():
            raise UsageError("Parquet is nothing a terminal can show", "Name a file with --out")
        if not hasattr(stream, "buffer"):
            raise UsageError("Parquet cannot be written to a stream of text alone", "Open a file for it")
        self._rows: list[tuple[Any, ...]] = []

    def begin(self) -> None:
        """Open the table."""
        import pyarrow
        from pyarrow import parquet

        fields = [(name, getattr(pyarrow, type_)()) for name, type_ in zip(COLUMNS, TYPES, strict=True)]
        self._schema = pyarrow.schema(fields)
        self._table = parquet.ParquetWriter(self.stream.buffer, self._schema)

    def result(self, result: FileResult) -> None:
        """Add a row for each label."""
        file = display_name(result.file)
        for start, end, tag in timed_tags(result):
            mid, label = _utf8(tag.mid), _utf8(tag.label)
            self._rows.append((file, start, end, tag.rank, tag.index, mid, label, tag.score))
            if len(self._rows) == ROWS_IN_GROUP:
                self._write_group()

    def end(self) -> None:
        """Write the rest, and what makes it a table."""
        if self._rows:
            self._write_group()
        self._table.close()

    def _write_group(self) -> None:
        import pyarrow

        columns = zip(self._schema.types, zip(*self._rows, strict=True), strict=True)
        arrays = [pyarrow.array(column, type_) for type_, column in columns]
        self._table.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def _utf8(name: str) -> str:
    """A label or mid without the half surrogate pairs that one out of JSON may hold, as `files` writes it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
