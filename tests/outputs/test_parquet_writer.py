"""Parquet against CSV, which has the same rows, and read back by pyarrow."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given

from ast_cli.errors import EngineError, OutputError, UsageError
from ast_cli.files import open_sink
from ast_cli.outputs import choose_format, make_writer
from ast_cli.outputs import parquet_writer as our_parquet
from ast_cli.results import Event, FileResult, Outcome, Tag, WindowResult, display_name
from tests.extras import Extra
from tests.outputs.test_event_formats import (
    BABY,
    CLIP,
    OUTCOMES,
    lists_of_events,
    names,
    not_told,
    of_events,
    strangers,
    utf8,
    written,
)

pyarrow = Extra("pyarrow")
parquet = Extra("pyarrow.parquet")
pytestmark = pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")


def table_of(*outcomes: Outcome) -> pyarrow.Table:
    raw = io.BytesIO()
    with make_writer("parquet", io.TextIOWrapper(raw, "utf-8"), not_told) as writer:
        for outcome in outcomes:
            writer.write(outcome)
    return parquet.read_table(io.BytesIO(raw.getvalue()))


TAGS = (Tag(1, 0, "/m/09x0r", "Speech", 0.8765432), Tag(2, 23, "/t/dd00002", BABY, 0.5))
TAGGED = FileResult("clip.wav", 10.0004, 9.9954, 16_000, 1, TAGS)
LONG = FileResult(
    "long.wav", 20.0, 20.0, 8_000, 1, TAGS, windows=(WindowResult(0, 10, TAGS), WindowResult(10, 20, ()))
)
SCHEMA = """\
file: string
start: double
end: double
rank: int32
index: int32
mid: string
label: string
score: double"""


@pytest.mark.parametrize(
    "outcomes",
    [
        (),
        (TAGGED, OUTCOMES[1], TAGGED),
        (LONG,),
        (CLIP, of_events()),
    ],
)
def test_parquet_has_the_rows_of_csv(outcomes: tuple[Outcome, ...]) -> None:
    table = table_of(*outcomes)
    assert table.schema.to_string() == SCHEMA
    rows = [
        [file, f"{start:.3f}", f"{end:.3f}", str(rank), str(index), mid, label, f"{score:.6f}"]
        for file, start, end, rank, index, mid, label, score in map(dict.values, table.to_pylist())
    ]
    assert [table.column_names, *rows] == [*csv.reader(io.StringIO(written("csv", *outcomes)))]


@given(events=lists_of_events(), name=names)
@strangers
def test_parquet_gives_every_event_back(events: tuple[Event, ...], name: str) -> None:
    rows = table_of(of_events(*events, file=name)).to_pylist()
    assert [(row["start"], row["end"], row["index"], row["score"]) for row in rows] == [
        (event.start, event.end, event.index, event.score) for event in events
    ]
    assert [row["label"] for row in rows] == [utf8(event.label) for event in events]
    assert {row["file"] for row in rows} == {display_name(name)}


def test_half_a_surrogate_pair_in_a_machine_id_does_not_stop_parquet() -> None:
    [row] = table_of(of_events(Event(0.0, 1.0, 0, "\ud800", "Dog", 0.5, 0.5))).to_pylist()
    assert row["mid"] == utf8("\ud800")


def test_parquet_writes_a_group_as_soon_as_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_parquet, "ROWS_IN_GROUP", 4)
    raw = io.BytesIO()
    sizes = []
    with make_writer("parquet", io.TextIOWrapper(raw, "utf-8"), not_told) as writer:
        for _ in range(5):
            writer.write(TAGGED)
            sizes.append(raw.tell())
    assert [one < other for one, other in pairwise(sizes)] == [True, False, True, False]
    with parquet.ParquetFile(io.BytesIO(raw.getvalue())) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    assert groups == [4, 4, 2]


def test_a_parquet_stream_broken_off_is_whole() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "utf-8")

    def run() -> None:
        with make_writer("parquet", stream, not_told) as writer:
            writer.write(TAGGED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert parquet.read_table(io.BytesIO(raw.getvalue())).num_rows == 2


def test_parquet_goes_through_the_sink(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for out in (str(tmp_path / "tags.parquet"), "-"):
        with open_sink(out) as stream, make_writer("parquet", stream, not_told) as writer:
            writer.write(TAGGED)
            assert not stream.closed
    assert (tmp_path / "tags.parquet").read_bytes() == capfdbinary.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_parquet_on_a_full_disk_is_an_error_of_ours() -> None:
    with (
        pytest.raises(OutputError, match="No space left on device"),
        open_sink("/dev/full") as stream,
        make_writer("parquet", stream, not_told) as writer,
    ):
        writer.write(TAGGED)


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_parquet_is_refused_where_it_cannot_go() -> None:
    with pytest.raises(UsageError, match=r"a terminal.*--out"):
        make_writer("parquet", Terminal(io.BytesIO()), not_told)
    with pytest.raises(UsageError, match="text alone"):
        make_writer("parquet", io.StringIO(), not_told)


def test_parquet_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"pip install 'ast-cli\[parquet\]'"):
        make_writer("parquet", io.TextIOWrapper(io.BytesIO()), not_told)
    with pytest.raises(EngineError, match="pyarrow is not installed"):
        choose_format(None, "tags.parquet")
