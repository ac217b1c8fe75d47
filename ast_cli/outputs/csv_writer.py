"""CSV and TSV for other programs, and plain lines for pipes: one row a label."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import TextIO

from ast_cli.outputs.writer import Writer
from ast_cli.results import FileResult, RunInfo, Tag, display_name
from ast_cli.text import inert, inert_path, one_line

COLUMNS = ("file", "start", "end", "rank", "index", "mid", "label", "score")


class CsvWriter(Writer):
    """Comma-separated rows with a header, quoted where needed.

    Rows are the recording's, from 0 to its duration; or its windows' where it has any; or its events' where
    they were asked for, their rank then being their order in time.
    """

    suffix = ".csv"
    delimiter = ","

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        self._rows = csv.writer(UnixLines(stream), delimiter=self.delimiter, lineterminator="\r\n")

    def begin(self) -> None:
        """Write the header."""
        self._rows.writerow(COLUMNS)

    def result(self, result: FileResult) -> None:
        """Write a row for each label."""
        file = inert_path(display_name(result.file))
        for start, end, tag in timed_tags(result):
            mid, label, score = inert(tag.mid), inert(tag.label), f"{tag.score:.6f}"
            self._rows.writerow((file, f"{start:.3f}", f"{end:.3f}", tag.rank, tag.index, mid, label, score))


class UnixLines:
    r"""Ends rows in `\n`. The writer ends them in `\r\n`, since it quotes only what could end a row."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        """Write one row."""
        self._stream.write(row.removesuffix("\r\n") + "\n")


class TsvWriter(CsvWriter):
    """The same separated by tabs."""

    suffix = ".tsv"
    delimiter = "\t"


class PlainWriter(Writer):
    """`file<TAB>label<TAB>score` lines, with start and end after the file where windows or events have them.

    One line each, whatever the names hold: tabs, newlines and other control characters are escaped.
    """

    suffix = ".txt"

    def result(self, result: FileResult) -> None:
        """Write a line for each label."""
        file = one_line(display_name(result.file))
        for start, end, tag in timed_tags(result):
            is_timed = result.windows or result.events is not None
            times = f"{start:.3f}\t{end:.3f}\t" if is_timed else ""
            self.stream.write(f"{file}\t{times}{one_line(tag.label)}\t{tag.score:.6f}\n")


def timed_tags(result: FileResult) -> Iterator[tuple[float, float, Tag]]:
    """Start, end and label: of the events if asked for, else of the windows if there are any, else of all."""
    if result.events is not None:
        for rank, one in enumerate(result.events, start=1):
            yield one.start, one.end, Tag(rank, one.index, one.mid, one.label, one.score)
    elif result.windows:
        yield from ((window.start, window.end, tag) for window in result.windows for tag in window.tags)
    else:
        yield from ((0.0, result.duration, tag) for tag in result.tags)
