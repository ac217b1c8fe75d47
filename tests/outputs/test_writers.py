"""The writers against texts that were looked at, names from strangers through all of them, and the sink."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_cli.errors import OutputError, UsageError
from ast_cli.files import open_sink
from ast_cli.outputs import choose_format, make_writer
from ast_cli.outputs.csv_writer import PlainWriter
from ast_cli.outputs.table_writer import BAR_WIDTH, TableWriter, bar, sparkline
from ast_cli.results import (
    FileFailure,
    FileResult,
    ModelInfo,
    RunInfo,
    Tag,
    WindowResult,
    Windows,
    display_name,
)
from ast_cli.text import FORMULA_STARTS, clock, inert, inert_path, one_line, with_controls, without_controls
from tests.extras import Extra
from tests.golden.compare import assert_golden

pandas = Extra("pandas")

TAGS = (
    Tag(1, 0, "/m/09x0r", "Speech", 0.8765432),
    Tag(2, 23, "/t/dd00002", "Baby cry, infant cry", 0.5),
    Tag(3, 345, "/m/08j51y", 'Dental drill, "dentist\'s" drill', 0.0000004),
)
OUTCOMES = (
    FileResult("clip.wav", 10.0004, 9.9954, 16_000, 1, TAGS),
    FileFailure("broken.wav", "unreadable", "its header is damaged. Export it again"),
    FileResult(
        "a/[red]\x1b[31m\n\u202e.wav",
        3725.04,
        3725.035,
        44_100,
        2,
        TAGS[:2],
        windows=(WindowResult(0.0, 10.24, TAGS[:2]), WindowResult(3714.8, 3725.04, ())),
        warnings=("cut off: it ends early",),
    ),
    FileResult("=1+1.wav", 1.0, 0.995, 8_000, 1, ()),
    FileResult(os.fsdecode(b"\xff.wav"), 0.5, 0.495, 8_000, 1, (Tag(1, 1, "", "=SUM(A1)", -12.25),)),
)
MODEL = ModelInfo("someone/tagger", "0123abc", "ab" * 32, "sigmoid", 527)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_info() -> RunInfo:
    return RunInfo((MODEL,), {"device": "cpu", "top_k": 3, "threshold": None})


def not_told() -> NoReturn:
    raise AssertionError("this format has no place for it")


def written(format_: str, *outcomes: FileResult | FileFailure) -> str:
    stream = io.StringIO(newline="")
    with make_writer(format_, stream, run_info if format_ == "json" else not_told) as writer:
        for outcome in outcomes:
            writer.write(outcome)
    return stream.getvalue()


def result(file: str, label: str = "Speech", score: float = 0.5) -> FileResult:
    return FileResult(file, 1.0, 1.0, 8_000, 1, (Tag(1, 0, "", label, score),))


# Formats


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        ("csv", "tags.csv"),
        ("tsv", "tags.tsv"),
        ("json", "tags.json"),
        ("jsonl", "tags.jsonl"),
        ("table", "tags.txt"),
    ],
)
def test_a_format_is_what_it_was(format_: str, name: str) -> None:
    assert_golden(f"outputs/{name}", written(format_, *OUTCOMES))


@pytest.mark.parametrize(("width", "name"), [(80, "table.txt"), (40, "table-narrow.txt")])
def test_the_table_is_what_it_was(width: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    with TableWriter(stream, not_told) as writer:
        for outcome in OUTCOMES:
            writer.write(outcome)
    assert max(len(line) for line in stream.getvalue().splitlines() if line.startswith(" ")) <= width
    assert_golden(f"outputs/{name}", stream.getvalue())


def test_nothing_written_is_whole_in_every_format() -> None:
    assert written("csv") == "file,start,end,rank,index,mid,label,score\n"
    assert written("tsv") == written("csv").replace(",", "\t")
    assert written("jsonl") == written("table") == ""
    document = json.loads(written("json"))
    assert list(document) == ["schema", "model", "settings", "results", "errors"]
    assert document["results"] == document["errors"] == []


def test_json_lines_are_the_entries_of_the_document() -> None:
    document = json.loads(written("json", *OUTCOMES))
    lines = [json.loads(line) for line in written("jsonl", *OUTCOMES).splitlines()]
    assert [line for line in lines if "error" not in line] == document["results"]
    assert [line for line in lines if "error" in line] == document["errors"]


def test_a_document_broken_off_is_whole() -> None:
    stream = io.StringIO()

    def run() -> None:
        with make_writer("json", stream, run_info) as writer:
            writer.write(OUTCOMES[1])
            writer.write(OUTCOMES[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    document = json.loads(stream.getvalue())
    assert [len(document[key]) for key in ("results", "errors")] == [1, 1]


class Counting(io.TextIOBase):
    """Takes text and keeps none."""

    written = 0

    def write(self, text: str) -> int:
        self.written += len(text)
        return len(text)


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv"])
def test_a_day_of_windows_is_written_without_ever_being_text_as_a_whole(format_: str) -> None:
    windows = Windows([("/m/09x0r", "Speech")])
    for number in range(5000):
        windows.append(number, number + 1, [0] * 5, [0.5] * 5)
    stream = Counting()
    tracemalloc.start()
    try:
        with make_writer(format_, stream, run_info) as writer:
            writer.write(FileResult("x.wav", 5000.0, 5000.0, 16_000, 1, TAGS, windows=windows))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.written > 1e6
    assert peak < stream.written / 4


def test_failures_wait_for_the_end_of_a_document_without_taking_memory() -> None:
    stream = Counting()
    tracemalloc.start()
    try:
        with make_writer("json", stream, run_info) as writer:
            for number in range(5000):
                writer.write(FileFailure(f"{number}.wav", "unreadable", "y" * 2000))
            before = stream.written
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.written > before + 10e6
    assert peak < 4e6


def test_an_ensemble_is_named_with_its_members() -> None:
    other = ModelInfo("local/model", "", "cd" * 32, "sigmoid", 527)
    stream = io.StringIO()
    with make_writer("json", stream, lambda: RunInfo((MODEL, other))):
        pass
    model = json.loads(stream.getvalue())["model"]
    assert model["id"] == "someone/tagger + local/model"
    assert (model["scores"], model["labels"]) == ("sigmoid", 527)
    assert [member["sha256"] for member in model["members"]] == ["ab" * 32, "cd" * 32]


def test_a_table_is_drawn_for_a_person_only() -> None:
    assert isinstance(make_writer("table", Terminal(), not_told), TableWriter)
    assert isinstance(make_writer("table", io.StringIO(), not_told), PlainWriter)


@pytest.mark.parametrize(
    ("asked", "out", "format_"),
    [
        (None, "-", "table"),
        (None, "a.csv", "csv"),
        (None, "a.b/c.TSV", "tsv"),
        (None, "a.json", "json"),
        (None, "a.csv.jsonl", "jsonl"),
        (None, "a.txt", "table"),
        ("json", "a.csv", "json"),
        ("csv", "-", "csv"),
        ("csv", "no-suffix", "csv"),
        (None, os.devnull, "table"),  # to nowhere
    ],
)
def test_the_format_is_the_one_asked_for_or_the_suffix(asked: str | None, out: str, format_: str) -> None:
    assert choose_format(asked, out) == format_


@pytest.mark.parametrize(
    ("asked", "out"),
    [("xml", "-"), ("CSV", "-"), ("", "a.csv"), (None, "a.xml"), (None, "csv"), (None, ".csv")],
)
def test_a_format_that_is_not_there_is_refused_with_the_choice(asked: str | None, out: str) -> None:
    with pytest.raises(UsageError, match="table, json, jsonl, csv, tsv"):
        choose_format(asked, out)


# Numbers a person reads


@pytest.mark.parametrize(
    ("score", "drawn"),
    [
        (0.0, ""),
        (1 / 160, "▏"),
        (0.025, "▌"),
        (0.05, "█"),
        (0.5, "█" * 10),
        (0.999, "█" * 20),
        (1.0, "█" * 20),
        (-3.0, ""),
        (7.0, "█" * 20),
    ],
)
def test_a_bar_is_as_long_as_its_score(score: float, drawn: str) -> None:
    assert bar(score) == drawn.ljust(BAR_WIDTH)


@given(st.floats(-1e30, 1e30))
def test_a_bar_always_takes_the_same_room(score: float) -> None:
    assert len(bar(score)) == BAR_WIDTH


@pytest.mark.parametrize(
    ("scores", "drawn"),
    [
        ([0.0, 0.125, 0.5, 1.0], " ▁▄█"),
        ([-3.0, 7.0], " █"),  # logits
        ([0.0] * 39 + [1.0], " " * 19 + "█"),  # two to a column
        ([1.0, *[0.0] * 59], "█" + " " * 19),
    ],
)
def test_a_course_over_time_is_a_line(scores: list[float], drawn: str) -> None:
    assert sparkline(scores) == drawn


@given(st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_no_course_is_wider_than_a_bar_and_none_hides_its_peak(scores: list[float]) -> None:
    line = sparkline(scores)
    assert len(line) == min(len(scores), BAR_WIDTH)
    assert max(line) == sparkline([max(scores)])


def test_who_wants_no_color_gets_nothing_bold_or_dim_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    tags = (Tag(1, 0, "", "Speech", 0.375),)

    def drawn() -> str:
        stream = Terminal()
        with TableWriter(stream, not_told) as writer:
            writer.write(FileResult("a.wav", 4.0, 4.0, 8_000, 1, tags))
        return stream.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in drawn()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in drawn()


def test_the_labels_of_a_timeline_are_drawn_with_their_course() -> None:
    windows = tuple(
        WindowResult(float(second), second + 1.0, (Tag(1, 0, "", "Speech", score),) if score else ())
        for second, score in enumerate((0.0, 1.0, 0.5, 0.0))
    )
    tags = (Tag(1, 0, "", "Speech", 0.375),)
    stream = Terminal()
    with TableWriter(stream, not_told) as writer:
        writer.write(FileResult("a.wav", 4.0, 4.0, 8_000, 1, tags, windows))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert plain[:3] == ["a.wav  4.0 s", f"   0.375  {' █▄ ':<20}  Speech", "  0.0 s – 1.0 s"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (9.25, "9.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00.0"),
        (125, "2:05.0"),
        (3599.96, "1:00:00.0"),
        (3725.04, "1:02:05.0"),
        (360_000, "100:00:00.0"),
    ],
)
def test_a_clock_shows_tenths(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


# Names and labels from strangers

names = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name).map(os.fsdecode)
labels = st.text(max_size=30).filter(lambda label: "\0" not in label)
OBEYED = {*map(chr, (*range(0x20), *range(0x7F, 0xA0)))} - {*"\t\r\n"}
tricky = st.text("\r\n\t\",'= \\\x0b\x1b\x85\u2028\ufeff", min_size=1, max_size=6)


@pytest.mark.parametrize(("format_", "separator"), [("csv", ","), ("tsv", "\t")])
@given(names | tricky, labels | tricky)
@settings(derandomize=True, deadline=None)
def test_rows_can_be_read_whatever_is_in_them(format_: str, separator: str, name: str, label: str) -> None:
    text = written(format_, result(name, label), result("after.wav"))
    expected = [inert_path(display_name(name)), inert(label)]
    _, row, after = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    assert [row[0], row[6]] == expected
    assert after[0] == "after.wav"
    rows = pandas.read_csv(io.StringIO(text, newline=""), sep=separator, na_filter=False, dtype=str)
    assert rows[["file", "label"]].to_numpy().tolist() == [expected, ["after.wav", "Speech"]]


@pytest.mark.parametrize(("format_", "separator"), [("csv", ","), ("tsv", "\t")])
def test_a_machine_id_from_a_stranger_is_no_formula_either(format_: str, separator: str) -> None:
    found = result("a.wav")
    text = written(format_, replace(found, tags=(replace(found.tags[0], mid="=1+1"),)))
    assert [*csv.reader(io.StringIO(text), delimiter=separator)][1][5] == "'=1+1"


@given(names | tricky, labels | tricky)
def test_plain_lines_have_three_fields_whatever_is_in_them(name: str, label: str) -> None:
    text = written("table", result(name, label))
    assert text.endswith("\n")
    assert [len(line.split("\t")) for line in text.splitlines()] == [3]


@given(names | tricky, st.text(st.characters(), max_size=30))
def test_json_lines_are_one_line_and_give_everything_back(name: str, label: str) -> None:
    text = written("jsonl", result(name, label))
    [line] = text.splitlines()
    assert line.isprintable()
    line.encode("utf-8")
    document = json.loads(line)
    assert (document["file"], document["tags"][0]["label"]) == (display_name(name), label)


def test_json_shows_text_as_text() -> None:
    assert '"日本語 é.wav"' in written("jsonl", result("日本語 é.wav"))


@given(st.text(st.characters()))
def test_one_line_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not any(char in shown for char in "\x1b\x9b\x07\r\n\t\u202e\u2066\u200f")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("日本語 é", "日本語 é"),
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("\u202egnp", r"\u202egnp"),
        ("[red]", "[red]"),
        ("\u3000\xa0", "\u3000\xa0"),
        ("\udcff", r"\udcff"),
        ("👩‍🚀", "👩\\u200d🚀"),
    ],
)
def test_what_is_not_printable_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text(min_size=1))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    for cell in (inert(text), inert_path(text)):
        assert cell == "-" or not cell.startswith(FORMULA_STARTS)
        assert cell.endswith(without_controls(text))


def test_a_cell_shows_what_a_terminal_would_obey_as_its_bytes() -> None:
    assert inert_path("\x1b]0;x\x07\x9b31m.wav") == r"\x1b]0;x\x07\xc2\x9b31m.wav"
    assert inert("two\nlines\tand\rmore 日本語 \u202e") == "two\nlines\tand\rmore 日本語 \u202e"


@given((names | labels | tricky).filter(lambda text: "\\x" not in text))
def test_a_cell_without_controls_gives_them_back(text: str) -> None:
    assert not set(without_controls(text)) & OBEYED
    assert with_controls(without_controls(text)) == text


def test_an_inert_path_names_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=1+1.wav").write_text("x")
    assert Path(inert_path("=1+1.wav")).read_text() == "x"
    assert inert_path("-") == "-"
    assert inert_path("a/=b.wav") == "a/=b.wav"


# The sink


def write_to(out: Path, text: str = "first\n", error: BaseException | None = None, **options: bool) -> None:
    with open_sink(str(out), **options) as stream:
        stream.write(text)
        if error is not None:
            raise error


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with open_sink(str(out)) as stream:
        stream.write("first é\n")
        stream.flush()
        [part] = tmp_path.iterdir()
        assert (part.name[:8], part.suffix) == ("out.csv.", ".part")
        assert part.read_bytes() == "first é\n".encode()
        assert not out.exists()
        stream.write("second\n")
    assert out.read_bytes() == "first é\nsecond\n".encode()
    assert not part.exists()


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), OutputError("no")])
def test_a_write_that_breaks_off_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        write_to(tmp_path / "out.csv", error=error)
    assert not list(tmp_path.iterdir())


def test_an_empty_result_is_a_result(tmp_path: Path) -> None:
    write_to(tmp_path / "out.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_file_that_is_there_stays_until_its_successor_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(OutputError, match="there already"):
        write_to(out)
    with pytest.raises(ValueError, match="a bug"):
        write_to(out, error=ValueError("a bug"), overwrite=True)
    assert out.read_text() == "old"
    with open_sink(str(out), overwrite=True) as stream:
        stream.write("new")
        stream.flush()
        assert out.read_text() == "old"
    assert out.read_text() == "new"


@pytest.mark.parametrize("name", ["nowhere/out.csv", "file/out.csv", ".", "x" * 300, "x" * 256])
def test_where_no_file_can_be_is_an_error_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(OutputError, match=re.escape(name[:20])):
        write_to(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_looked_into_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # root may look anywhere
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(OutputError, match=r"out\.csv: Permission denied\. Choose another place"):
        write_to(Path("private/out.csv"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast_cli.files.part_of", lambda path: Path(f"{path}.part"))
    (tmp_path / "out.csv.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"No space left on device\. Free some space"):
        write_to(tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_a_name_may_be_as_long_as_names_can_be(name: str, tmp_path: Path) -> None:
    write_to(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_to(tmp_path / "out.csv", error=FileNotFoundError(2, "No such file", "model.safetensors"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_written_and_not_replaced(overwrite: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(pipe.read_text)
        write_to(pipe, overwrite=overwrite)
        assert reader.result() == "first\n"
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_half_a_surrogate_pair_does_not_stop_a_run(tmp_path: Path) -> None:
    write_to(tmp_path / "out.csv", "Dog \ud800\n")
    assert (tmp_path / "out.csv").read_bytes() == b"Dog \\ud800\n"


def test_stdout_stays_open_for_the_next(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for _ in range(2):
        with open_sink("-") as stream:
            stream.write("é\n")
    assert capsysbinary.readouterr().out == "é\né\n".encode()
