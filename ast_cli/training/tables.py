"""CSV files that people write, read row by row with errors that name the line.

Columns are separated by commas; by tabs or semicolons where the first line has those instead.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ast_cli.errors import UsageError
from ast_cli.text import did_you_mean

MOST_SHOWN = 60  # characters of somebody else's text in an error


class Table:
    """An open CSV file: its rows that hold anything, to be read once; errors in it are UsageErrors.

    `reader` is one of the `csv` module, which counts the lines of the file at `path`.
    """

    def __init__(self, path: Path, reader: Any) -> None:
        self.path = path
        self._reader = reader
        self._columns = sys.maxsize  # until the header is read

    def __iter__(self) -> Iterator[list[str]]:
        return (row for row in self._reader if any(row))

    @property
    def where(self) -> str:
        """The last row's place, for errors."""
        return f"{self.path}, line {self._reader.line_num}"

    def header(self) -> list[str]:
        """The names of the columns: the first row, or nothing of an empty file."""
        names = [cell.strip() for cell in next(iter(self), [])]
        if any("\0" in name for name in names):  # what is no text has such in its first bytes
            raise UsageError(f"{self.path} is no text", "Name a CSV file: comma-separated text in UTF-8")
        self._columns = len(names)
        return names

    def places(self, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
        """Where the columns `wanted` stand in `header`, which must have them all, in upper or lower case."""
        found = [place_of(name, header) for name in wanted]
        lacking = [name for name, place in zip(wanted, found, strict=True) if place is None]
        if lacking:
            hints = (did_you_mean(name, header) for name in lacking) if len(header) > 1 else ()
            hint = next(filter(None, hints), "")
            raise UsageError(
                f"{self.path} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}: "
                f"its first line is {short(self._reader.dialect.delimiter.join(header)) or 'empty'}",
                hint or f"The header should be {','.join(wanted)}",
            )
        return [place for place in found if place is not None]

    def cells(self, row: Sequence[str], places: Sequence[int]) -> list[str]:
        """The cells of a row at `places`, without blanks around them."""
        if any(cell.strip() for cell in row[self._columns :]):
            raise UsageError(
                f"{self.where}: {len(row)} cells are more than the columns",
                "Quote what holds a separator, such as several labels",
            )
        if len(row) <= max(places):
            raise UsageError(
                f"{self.where}: {len(row)} cells are fewer than the columns", "Quote what holds a comma"
            )
        return [row[place].strip() for place in places]

    def number(self, text: str, what: str) -> float:
        """A finite number; `what` is its name in errors."""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{self.where}: {what} is {short(text)!r}", "It should be a finite number")
        return number

    def times(self, start: str, end: str) -> tuple[float | None, float | None]:
        """Start and end of a part of a recording, in seconds and in order; None where the text is empty."""
        first = self.number(start, "start") if start else None
        last = self.number(end, "end") if end else None
        if (first or 0) < 0 or (last is not None and last <= (first or 0)):
            until = f"{end} s" if end else "the end"
            raise UsageError(
                f"{self.where}: a part from {start or 0} s to {until} cannot be",
                "The start is 0 or more, and the end after it",
            )
        return first, last


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open a CSV file; raises UsageError if it cannot be read, or is none."""
    try:
        # Names of files are bytes: what is not UTF-8 comes through as it is.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            first = stream.readline()
            separator = next((one for one in "\t;" if one in first and "," not in first), ",")
            yield Table(path, csv.reader(chain([first], stream), delimiter=separator, skipinitialspace=True))
    except OSError as error:
        if error.filename not in (None, str(path)):
            raise  # not about this file
        raise UsageError(f"cannot read {path}: {error.strerror}", "Name a CSV file") from error
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV: {error}", "Save it as comma-separated text in UTF-8") from error


def place_of(name: str, header: Sequence[str]) -> int | None:
    """Where a column stands in a header, in upper or lower case; None if it does not."""
    return next((place for place, cell in enumerate(header) if cell.casefold() == name), None)


def short(text: str) -> str:
    """Somebody else's text, short enough for an error."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
