"""Formats for other programs: texts that were looked at, each read back by a program that is not ours."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_cli.outputs import FORMATS, choose_format, make_writer
from ast_cli.outputs.table_writer import TableWriter
from ast_cli.results import (
    Event,
    FileFailure,
    FileResult,
    ModelInfo,
    Outcome,
    RunInfo,
    Tag,
    display_name,
)
from ast_cli.text import FORMULA_STARTS, cell, cell_path, inert, one_line
from tests.extras import Extra
from tests.golden.compare import assert_golden

crowsetta = Extra("crowsetta")
pandas = Extra("pandas")
srt = Extra("srt")
webvtt = Extra("webvtt")
psds_eval = Extra("psds_eval")
pyannote_util = Extra("pyannote.database.util")

EVENT_FORMATS = [format_ for format_, writer in FORMATS.items() if writer.of_events]
BABY = "Baby cry, infant cry"
EVENTS = (
    Event(0.0, 2.56, 0, "/m/09x0r", "Speech", 0.8765432, 0.75),
    Event(1.28, 3.84, 23, "/t/dd00002", BABY, 0.5, 0.4375),
    Event(3599.9996, 3725.04, 345, "/m/08j51y", 'Dental drill, "dentist\'s" drill', 0.0000004, 0.0000004),
)
STRANGE = (
    Event(0.0, 0.25, 1, "", '"Quoted" --> <b>A&B</b>', 0.5, 0.5),
    Event(0.0, 0.25, 2, "", "a\tb\nc\r\n\n\x00\x1b[31m\u2028\u202e\ud800", 0.5, 0.5),
    Event(0.25, 0.5, 3, "", "=SUM(A1)", -12.25, -13.5),
    Event(0.25, 0.5, 4, "", "日本語\u3000é", 0.25, 0.25),
)
CLIP = FileResult("a/clip one.wav", 3725.0404, 3725.035, 44_100, 2, (), events=EVENTS)
OUTCOMES: tuple[Outcome, ...] = (
    CLIP,
    FileFailure("broken.wav", "unreadable", "its header is damaged. Export it again"),
    FileResult("silence.wav", 10.0004, 9.9954, 16_000, 1, (), events=()),
    FileResult(os.fsdecode(b'"=\t\xff.wav'), 0.5, 0.495, 11_025, 1, (), events=STRANGE),
)


def run_info() -> RunInfo:
    return RunInfo((ModelInfo("someone/tagger", "0123abc", "ab" * 32, "sigmoid", 527),))


def not_told() -> NoReturn:
    raise AssertionError("this format has no place for it")


def written(format_: str, *outcomes: Outcome) -> str:
    stream = io.StringIO(newline="")
    with make_writer(format_, stream, run_info if format_ == "json" else not_told) as writer:
        for outcome in outcomes:
            writer.write(outcome)
    return utf8(stream.getvalue())  # as the sink writes it


def utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def of_events(*events: Event, file: str = "clip.wav", duration: float = 100.0) -> FileResult:
    return FileResult(file, duration, duration, 16_000, 1, (), events=events)


# Texts


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        ("json", "events.json"),
        ("jsonl", "events.jsonl"),
        ("csv", "events.csv"),
        ("tsv", "events.tsv"),
        ("table", "events.txt"),
        ("raven", "events.selection.table.txt"),
        ("dcase", "events.dcase.tsv"),
        ("rttm", "events.rttm"),
    ],
)
def test_a_file_of_several_recordings_is_what_it_was(format_: str, name: str) -> None:
    assert_golden(f"outputs/{name}", written(format_, *OUTCOMES))


@pytest.mark.parametrize(
    ("format_", "name"),
    [("audacity", "events.audacity.txt"), ("vtt", "events.vtt"), ("srt", "events.srt")],
)
def test_a_file_of_one_recording_is_what_it_was(format_: str, name: str) -> None:
    assert not FORMATS[format_].holds_many
    events = sorted(EVENTS + STRANGE, key=lambda event: event.start)
    assert_golden(f"outputs/{name}", written(format_, of_events(*events)))


def test_the_table_of_events_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    with TableWriter(stream, not_told) as writer:
        for outcome in OUTCOMES:
            writer.write(outcome)
    assert_golden("outputs/events-table.txt", stream.getvalue())


@pytest.mark.parametrize("format_", EVENT_FORMATS)
def test_a_recording_without_events_adds_nothing(format_: str) -> None:
    nothing = {
        "raven": "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
        "Begin Path\tFile Offset (s)\tAnnotation\tScore\n",
        "dcase": "filename\tonset\toffset\tevent_label\n",
        "vtt": "WEBVTT\n\n",
    }.get(format_, "")
    assert written(format_) == written(format_, of_events(), OUTCOMES[1]) == nothing


@pytest.mark.parametrize("format_", EVENT_FORMATS)
def test_a_result_whose_events_were_not_looked_for_is_a_fault_of_the_caller(format_: str) -> None:
    tagged = FileResult("clip.wav", 1.0, 1.0, 8_000, 1, (Tag(1, 0, "", "Speech", 0.5),))
    with pytest.raises(AssertionError, match="needs events"):
        written(format_, tagged)


@pytest.mark.parametrize(
    ("out", "format_"),
    [
        ("a.selection.table.txt", "raven"),
        ("a.b/c.SELECTION.Table.txt", "raven"),
        ("a.table.txt", "table"),
        ("a.selection.table.txt/b.txt", "table"),
        ("a.txt", "table"),
        ("a.tsv", "tsv"),
        ("a.rttm", "rttm"),
        ("a.VTT", "vtt"),
        ("a.srt", "srt"),
    ],
)
def test_a_suffix_names_the_format(out: str, format_: str) -> None:
    assert choose_format(None, out) == format_


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_can_be_asked_for_and_its_suffix_names_one_that_has_it(format_: str) -> None:
    assert choose_format(format_, "-") == format_
    assert FORMATS[choose_format(None, f"a{FORMATS[format_].suffix}")].suffix == FORMATS[format_].suffix


# Read back by others, whatever the names and labels hold

# Times are milliseconds, as `events` finds them, and no event is empty.
spans = st.tuples(st.integers(0, 10**8), st.integers(1, 10**7)).map(
    lambda pair: (pair[0] / 1000, (pair[0] + pair[1]) / 1000)
)
# Letters come as they come; the others separate, quote or escape in one format or another.
SPECIAL = "\r\n\t\v\f\"',;= \\-><&#\x1b\x1c\x85\xa0\u2028\u202e\u200f\ufeff1:/.N"
labels = (
    st.text(st.characters(), max_size=20)
    | st.text(SPECIAL + "\0\ud800", max_size=8)
    | st.sampled_from(["-->", "00:00:01,000 --> 00:00:02,000", "<NA>", "NOTE", "WEBVTT", '"', "&lt;"])
)
names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode) | st.text(
    SPECIAL, min_size=1, max_size=8
)
LAST = Event(200_000.0, 200_001.5, 7, "", "Speech", 0.125, 0.125)  # whether what is behind is whole too


@st.composite
def lists_of_events(draw: st.DrawFn) -> tuple[Event, ...]:
    found = draw(st.lists(st.tuples(spans, labels, st.integers(0, 1000)), max_size=6))
    events = [
        Event(start, end, index, "", label, thousandths / 1000, 0.0)
        for index, ((start, end), label, thousandths) in enumerate(found)
    ]
    return (*sorted(events, key=lambda event: (event.start, event.end, event.index)), LAST)


strangers = settings(derandomize=True, deadline=None)
# Some readers say things in a way that pandas no longer likes.
of_older_pandas = pytest.mark.filterwarnings("ignore:The inplace keyword")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("annotations")


def file_of(folder: Path, format_: str, *outcomes: Outcome) -> Path:
    path = folder / f"file{FORMATS[format_].suffix}"
    path.write_text(written(format_, *outcomes), encoding="utf-8", newline="")
    return path


def times_of(events: Sequence[Event]) -> list[tuple[float, float]]:
    return [(event.start, event.end) for event in events]


@given(events=lists_of_events())
@strangers
def test_audacity_labels_are_read_by_crowsetta(folder: Path, events: tuple[Event, ...]) -> None:
    track = crowsetta.formats.seq.AudSeq.from_file(file_of(folder, "audacity", of_events(*events)))
    assert list(zip(track.start_times, track.end_times, strict=True)) == times_of(events)
    assert [*track.labels] == [f"{cell(event.label)} ({event.score:.3f})" for event in events]


def is_missing(label: str) -> bool:
    """Whether pandas, unless told otherwise, takes a label for none."""
    return pandas.read_csv(io.StringIO(f"a\tb\n{label}\t1\n"), sep="\t").isna()["a"].item()


@given(events=lists_of_events(), name=names)
@strangers
@of_older_pandas
def test_a_raven_table_is_read_by_crowsetta(folder: Path, events: tuple[Event, ...], name: str) -> None:
    events = tuple(event for event in events if not is_missing(cell(event.label)))
    table = crowsetta.formats.bbox.Raven.from_file(file_of(folder, "raven", of_events(*events, file=name)))
    boxes = table.to_bbox()
    assert [(box.onset, box.offset) for box in boxes] == times_of(events)
    assert {(box.low_freq, box.high_freq) for box in boxes} == {(0.0, 8000.0)}
    assert [box.label for box in boxes] == [cell(event.label) for event in events]
    assert [*table.df["Selection"]] == [*range(1, len(events) + 1)]


@given(events=lists_of_events(), name=names)
@strangers
def test_a_raven_table_has_eleven_fields_whatever_is_in_them(events: tuple[Event, ...], name: str) -> None:
    text = written("raven", of_events(*events, file=name))
    lines = [line.split("\t") for line in text.splitlines()]
    rows = [*csv.reader(io.StringIO(text, newline=""), delimiter="\t")]
    assert lines == rows
    assert {len(row) for row in rows} == {11}
    assert [row[7:10] for row in rows[1:]] == [
        [cell_path(display_name(name)), f"{event.start:.6f}", cell(event.label)] for event in events
    ]


def test_a_raven_table_of_a_thousand_recordings_counts_from_the_first() -> None:
    durations = [0.1 + 0.37 * (number % 7) for number in range(1000)]
    before = [0.0, *accumulate(durations)]
    event = Event(0.01, 0.06, 0, "", "Speech", 0.5, 0.5)
    outcomes = [
        # Every third has no events, and yet takes its time.
        of_events(*[event] * (number % 3), file=f"{number}.wav", duration=duration)
        for number, duration in enumerate(durations)
    ]
    table = pandas.read_csv(io.StringIO(written("raven", *outcomes)), sep="\t")
    assert len(table) == sum(number % 3 for number in range(1000))
    places = table["Begin Path"].str.removesuffix(".wav").astype(int)
    expected = [before[place] for place in places]
    assert [*table["Begin Time (s)"]] == pytest.approx([one + 0.01 for one in expected], abs=1e-6)
    assert [*table["End Time (s)"]] == pytest.approx([one + 0.06 for one in expected], abs=1e-6)
    assert {*table["File Offset (s)"]} == {0.01}
    assert [*table["Selection"]] == [*range(1, len(table) + 1)]


@pytest.mark.parametrize(("sample_rate", "highest"), [(8_000, 4000.0), (11_025, 5512.5), (192_000, 8000.0)])
def test_no_selection_is_higher_than_what_was_heard(sample_rate: int, highest: float) -> None:
    one = FileResult("clip.wav", 2.0, 2.0, sample_rate, 1, (), events=EVENTS[:1])
    table = pandas.read_csv(io.StringIO(written("raven", one)), sep="\t")
    assert [*table["High Freq (Hz)"]] == [highest]


@given(events=lists_of_events(), name=names)
@strangers
def test_a_dcase_table_is_read_as_its_scoring_does(events: tuple[Event, ...], name: str) -> None:
    text = written("dcase", of_events(*events, file=name))
    rows = pandas.read_csv(io.StringIO(text), sep="\t", keep_default_na=False, dtype={"filename": str})
    assert [*rows.columns] == psds_eval.PSDSEval.detection_cols
    assert [*zip(rows.onset, rows.offset, strict=True)] == times_of(events)
    assert [*rows.event_label] == [cell(event.label) for event in events]
    assert {*rows.filename} == {cell_path(display_name(name))}
    assert {len(line.split("\t")) for line in text.splitlines()} == {4}


@of_older_pandas
def test_a_dcase_table_is_scored() -> None:
    found = of_events(*EVENTS[:2], Event(10.0, 12.0, 0, "", "Speech", 0.5, 0.5))
    detections = pandas.read_csv(io.StringIO(written("dcase", found)), sep="\t")
    truth = detections.iloc[:2]  # so that of the speech one half is heard where there is none
    lengths = pandas.DataFrame({"filename": ["clip.wav"], "duration": [100.0]})
    evaluation = psds_eval.PSDSEval(ground_truth=truth, metadata=lengths)
    mean, by_class = evaluation.compute_macro_f_score(detections)
    assert {label: by_class[label] for label in ("Speech", BABY)} == pytest.approx({"Speech": 2 / 3, BABY: 1})
    assert mean == pytest.approx(5 / 6)


@given(events=lists_of_events(), name=names)
@strangers
def test_rttm_is_read_by_pyannote(folder: Path, events: tuple[Event, ...], name: str) -> None:
    path = file_of(folder, "rttm", of_events(*events, file=f"a/{name}"))
    [(uri, annotation)] = pyannote_util.load_rttm(path).items()
    turns = sorted(annotation.itertracks(yield_label=True), key=lambda turn: turn[1])
    assert [(round(turn.start, 3), round(turn.end, 3)) for turn, _, _ in turns] == times_of(events)
    assert uri == unblanked(f"a/{display_name(name)}")
    assert ["" if is_missing(str(label)) else label for *_, label in turns] == [
        "" if is_missing(unblanked(event.label)) else unblanked(event.label) for event in events
    ]


def unblanked(text: str) -> str:
    shown = one_line("".join("_" if char.isspace() else char for char in text))
    return ("\\" if shown.startswith('"') else "") + shown


@given(events=lists_of_events(), name=names)
@strangers
def test_rttm_has_ten_fields_whatever_is_in_them(events: tuple[Event, ...], name: str) -> None:
    text = written("rttm", of_events(*events, file=name))
    assert [len(line.split()) for line in text.splitlines()] == [10] * len(events)


def test_recordings_stay_apart_in_rttm_whose_names_differ_in_blanks_alone() -> None:
    files = ("a b.wav", "a_b.wav", "a b.wav", "a\tb.wav", "a_b.wav~2")
    lines = written("rttm", *(of_events(EVENTS[0], file=file) for file in files)).splitlines()
    assert [line.split()[1] for line in lines] == [
        *("a_b.wav", "a_b.wav~2", "a_b.wav", "a_b.wav~3", "a_b.wav~2~2"),
    ]


def test_rttm_durations_end_where_events_end() -> None:
    [line] = written("rttm", of_events(Event(0.0007, 0.0032, 0, "", "Speech", 0.5, 0.5))).splitlines()
    assert line.split()[3:5] == ["0.001", "0.002"]  # to 0.003; its 0.0025 would be 0.003, to 0.004


@given(events=lists_of_events())
@strangers
def test_webvtt_is_read_by_webvtt_py(events: tuple[Event, ...]) -> None:
    cues = webvtt.from_string(written("vtt", of_events(*events)), strict=True)
    assert [(seconds(cue.start), seconds(cue.end)) for cue in cues] == times_of(events)
    assert [html.unescape(cue.text) for cue in cues] == [captioned(event) for event in events]


@given(events=lists_of_events())
@strangers
def test_subrip_is_read_by_srt_and_webvtt_py(events: tuple[Event, ...]) -> None:
    text = written("srt", of_events(*events))
    expected = [captioned(event).replace("-->", r"--\>") for event in events]
    cues = [*srt.parse(text)]
    assert [(cue.start, cue.end) for cue in cues] == [
        (timedelta(seconds=event.start), timedelta(seconds=event.end)) for event in events
    ]
    assert [cue.index for cue in cues] == [*range(1, len(events) + 1)]
    assert [cue.content for cue in cues] == expected
    others = webvtt.from_buffer(io.StringIO(text), format="srt")
    assert [(seconds(cue.start), seconds(cue.end)) for cue in others] == times_of(events)
    assert [cue.raw_text for cue in others] == expected


def captioned(event: Event) -> str:
    return f"{one_line(event.label)} ({event.score:.3f})"


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return (int(hours) * 3_600_000 + int(minutes) * 60_000 + round(float(rest) * 1000)) / 1000


@pytest.mark.parametrize("format_", ["csv", "tsv"])
@given(events=lists_of_events(), name=names)
@strangers
def test_rows_of_events_are_read_by_pandas(format_: str, events: tuple[Event, ...], name: str) -> None:
    text = written(format_, of_events(*events, file=name)).replace("\0", "␀")  # which pandas cuts a cell at
    rows = pandas.read_csv(
        io.StringIO(text, newline=""), sep={"csv": ",", "tsv": "\t"}[format_], na_filter=False
    )
    assert [*zip(rows.start, rows.end, strict=True)] == times_of(events)
    assert [*rows.label] == [utf8(inert(event.label)).replace("\0", "␀") for event in events]
    assert [*rows["rank"]] == [*range(1, len(events) + 1)]


@given(events=lists_of_events(), name=names)
@strangers
def test_json_gives_every_event_back(events: tuple[Event, ...], name: str) -> None:
    [line] = written("jsonl", of_events(*events, file=name)).splitlines()
    assert tuple(Event(**event) for event in json.loads(line)["events"]) == events


@given(labels)
def test_no_cell_is_a_formula_or_holds_the_next_one(text: str) -> None:
    for shown in (cell(text), cell_path(text)):
        assert shown == "-" or not shown.startswith((*FORMULA_STARTS, '"'))
        assert shown.endswith(one_line(text))


def test_the_path_of_a_cell_names_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('"=a".wav', "=a.wav", "a b.wav"):
        Path(name).write_text(name)
        assert Path(cell_path(name)).read_text() == name
