"""What a search found, as a table, JSON or CSV: one row a recording, window or pair."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ast_cli.outputs.csv_writer import UnixLines
from ast_cli.outputs.json_writer import dump
from ast_cli.text import color_system, inert_path, one_line

SearchFormat = Literal["table", "json", "csv"]
SCHEMA = "ast-search/1"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A recording or window, and the cosine between its vector and that which was asked for."""

    rank: int
    file: str
    start: float
    end: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recordings or windows, and the cosine between their vectors."""

    rank: int
    file: str
    start: float
    end: float
    other_file: str
    other_start: float
    other_end: float
    cosine: float


def write_search_results(
    stream: TextIO,
    format_: SearchFormat,
    kind: type[SearchResult | Pair],
    results: Sequence[SearchResult | Pair],
    about: dict[str, Any],
) -> None:
    """Write what was found, nearest first: all of one kind, of which there may be none.

    A table is drawn if the stream is a terminal; else its cells are separated by tabs. `about` is what JSON
    tells beside them: what was searched, for what.
    """
    names = [field.name for field in fields(kind)]
    if format_ == "json":
        found = [{name: _number(getattr(result, name)) for name in names} for result in results]
        stream.write(dump({"schema": SCHEMA, **about, "results": found}, indent=2) + "\n")
    elif format_ == "csv":
        rows = csv.writer(UnixLines(stream), lineterminator="\r\n")
        rows.writerow(names)
        rows.writerows([_cell(name, getattr(result, name)) for name in names] for result in results)
    elif stream.isatty():
        _draw(stream, names, results)
    else:
        for result in results:
            stream.write("\t".join(one_line(_text(name, getattr(result, name))) for name in names[1:]) + "\n")


def _number(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


def _text(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}" if name == "cosine" else f"{value:.3f}"
    return str(value)


def _cell(name: str, value: object) -> str:
    text = _text(name, value)
    return inert_path(text) if isinstance(value, str) else text


def _draw(stream: TextIO, names: Sequence[str], results: Sequence[SearchResult | Pair]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name.endswith("file") else "right")
    for result in results:
        table.add_row(*(Text(one_line(_text(name, getattr(result, name)))) for name in names))
    Console(file=stream, color_system=color_system(), highlight=False).print(table)
