"""Results -> text, one small writer a format; `FORMATS` is the table of them.

A writer is told of every outcome as it comes and keeps next to nothing of it in memory. It knows its stream
and nothing of where the stream leads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePath
from typing import TextIO

from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.files import STDOUT
from ast_cli.outputs.csv_writer import CsvWriter, PlainWriter, TsvWriter
from ast_cli.outputs.event_formats import (
    AudacityWriter,
    DcaseWriter,
    RavenWriter,
    RttmWriter,
    SrtWriter,
    VttWriter,
)
from ast_cli.outputs.json_writer import JsonlWriter, JsonWriter
from ast_cli.outputs.parquet_writer import ParquetWriter
from ast_cli.outputs.table_writer import TableWriter
from ast_cli.outputs.writer import Writer
from ast_cli.results import RunInfo
from ast_cli.settings import require_choice

# Where two have a suffix in common, it names the first.
FORMATS: dict[str, type[Writer]] = {
    "table": TableWriter,
    "json": JsonWriter,
    "jsonl": JsonlWriter,
    "csv": CsvWriter,
    "tsv": TsvWriter,
    "parquet": ParquetWriter,
    "audacity": AudacityWriter,
    "raven": RavenWriter,
    "dcase": DcaseWriter,
    "rttm": RttmWriter,
    "vtt": VttWriter,
    "srt": SrtWriter,
}


def choose_format(asked: str | None, out: str) -> str:
    """The format asked for, or else the one that the suffix of the output file names.

    Raises:
        EngineError: It needs an extra that is not installed.
        UsageError: There is no such format, or the suffix names none.
    """
    format_ = _format_of(out) if asked is None else asked
    require_choice("format", format_, tuple(FORMATS))
    if format_ == "parquet":
        require_extra("parquet")  # now, rather than once a model has been fetched
    return format_


def _format_of(out: str) -> str:
    """The format with the longest suffix that the file's name has behind something else."""
    if out == STDOUT or os.path.normcase(out) == os.path.normcase(os.devnull):
        return "table"
    name = PurePath(out).name.lower()
    suffixes = {format_: writer.suffix for format_, writer in FORMATS.items()}
    named = [format_ for format_, suffix in suffixes.items() if name.endswith(suffix) and name != suffix]
    if not named:
        raise UsageError(f"the suffix of {out} names no format", f"Say --format, one of {', '.join(FORMATS)}")
    return max(named, key=lambda format_: len(suffixes[format_]))


def make_writer(format_: str, stream: TextIO, run_info: Callable[[], RunInfo]) -> Writer:
    """A writer for a key of `FORMATS`; a table that no person sees is plain lines instead.

    `run_info` says what the results are made with, and is called only if the format tells it.
    """
    if format_ == "table" and not stream.isatty():
        return PlainWriter(stream, run_info)
    return FORMATS[format_](stream, run_info)
