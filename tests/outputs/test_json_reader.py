"""Stored results read back: what was written is what comes, and what is no result says so in one line."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_cli.errors import ResultsError
from ast_cli.outputs import make_writer
from ast_cli.outputs.journal import Header, Journal
from ast_cli.outputs.json_reader import StoredRun, read_results
from ast_cli.outputs.score_file import write_score_file
from ast_cli.results import (
    Event,
    FileFailure,
    FileResult,
    ModelInfo,
    Outcome,
    RunInfo,
    Stamp,
    Tag,
    Windows,
    WindowScores,
    display_name,
    path_shown_as,
)

CLASSES = [("/m/a", "Ant"), ("", 'Bee, "queen"'), ("/m/c", "Cat\x1b\n\u202e\ud800"), ("/m/d", "Dog")]
RUN = RunInfo(
    (ModelInfo("someone/tagger", "0123abc", "ab" * 32, "sigmoid", 4),),
    {"top_k": 2, "aggregate": "max", "rollup": False},
)


def tags(*scores: tuple[int, float]) -> tuple[Tag, ...]:
    return tuple(Tag(rank, index, *CLASSES[index], one) for rank, (index, one) in enumerate(scores, start=1))


def windows(*each: tuple[float, float, Sequence[tuple[int, float]]]) -> Windows:
    found = Windows(CLASSES)
    for start, end, scores in each:
        found.append(start, end, [index for index, _ in scores], [score for _, score in scores])
    return found


# Numbers that six decimals hold, so that what comes back is equal.
OUTCOMES: tuple[Outcome, ...] = (
    FileResult(
        "a b.wav",
        2.5,
        2.495,
        44_100,
        2,
        tags((3, 0.75), (1, 0.5)),
        windows=windows((0.0, 2.0, [(3, 0.75), (0, 0.25)]), (0.5, 2.5, [(1, 0.5)])),
        scores="sigmoid",
        warnings=("cut off: it ends early",),
        events=(Event(0.0, 2.0, 3, *CLASSES[3], 0.75, 0.5),),
    ),
    FileFailure("broken.wav", "unreadable", "its header is damaged. Export it again"),
    FileResult(os.fsdecode(b"\xff\xfe\xc3.wav"), 1.0, 0.995, 8_000, 1, (), scores="sigmoid"),
    FileResult("new\nline\u202e é.wav", 1.0, 0.995, 8_000, 1, tags((2, -1.25)), scores="sigmoid"),
)


def write(path: Path, outcomes: Sequence[Outcome], run: RunInfo = RUN) -> Path:
    with (
        path.open("w", encoding="utf-8", newline="\n") as stream,
        make_writer(path.suffix[1:], stream, lambda: run) as writer,
    ):
        for outcome in outcomes:
            writer.write(outcome)
    return path


def journal(path: Path, outcomes: Sequence[Outcome]) -> Path:
    held = Journal(path, "r.jsonl")
    held.begin(Header(RUN, CLASSES), resume=False)
    for outcome in outcomes:
        held.add(outcome)
    held.close()
    return path


def scored(name: str, seconds: float, *rows: Sequence[float]) -> FileResult:
    """A recording with windows of a second, whose scores are those rows; it has the mean of them."""
    scores = np.array(rows, np.float32)
    starts = np.arange(len(rows), dtype=np.float64)
    ends = np.minimum(starts + 1, seconds)
    mean = scores.mean(axis=0)
    order = np.argsort(-mean)[:2]
    return FileResult(
        name,
        seconds,
        seconds,
        8_000,
        1,
        tags(*((int(index), float(mean[index])) for index in order)),
        window_scores=WindowScores(starts, ends, scores),
    )


SCORED = (
    scored("a.wav", 1.2345678, [0.125, 0.25, 0.5, 0.75], [0.75, 0.5, 0.25, 0.125]),
    FileFailure("broken.wav", "unreadable", "damaged"),
    scored("b.wav", 0.5, [0.5, 0.25, 0.0, 1.0]),
)


def with_scores(path: Path, outcomes: Sequence[Outcome] = SCORED) -> Path:
    write(path, outcomes)
    write_score_file(path.with_suffix(".npz"), lambda: iter(outcomes), Header(RUN, CLASSES))
    return path


def refusal(path: Path | str) -> str:
    """Why a file is refused: one line with a remedy, when it is opened or at the latest when it is read."""
    with pytest.raises(ResultsError) as caught:
        [*read_results(str(path)).outcomes()]
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.remedy
    return str(caught.value)


# What was written comes back


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_outcomes_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    stored = read_results(str(write(tmp_path / name, OUTCOMES)))
    in_order = sorted(OUTCOMES, key=lambda one: name == "r.json" and isinstance(one, FileFailure))
    for _ in range(2):
        assert [*stored.outcomes()] == in_order
    assert [*stored.files()] == [outcome.file for outcome in in_order]
    assert [*stored.classes] == CLASSES
    assert (stored.has_scores, stored.warnings) == (False, [])


def test_a_document_tells_what_it_was_made_with(tmp_path: Path) -> None:
    assert read_results(str(write(tmp_path / "r.json", OUTCOMES))).run == RUN


def test_an_ensemble_comes_back_with_its_members(tmp_path: Path) -> None:
    run = replace(RUN, models=(*RUN.models, ModelInfo("local/model", "", "cd" * 32, "sigmoid", 4)))
    assert read_results(str(write(tmp_path / "r.json", OUTCOMES, run))).run == run


def test_lines_alone_do_not_tell_it_and_a_document_made_of_them_does_not_either(tmp_path: Path) -> None:
    assert read_results(str(write(tmp_path / "r.jsonl", OUTCOMES))).run is None
    again = write(tmp_path / "r.json", OUTCOMES, RunInfo(()))
    assert json.loads(again.read_text())["model"] is None
    assert read_results(str(again)).run is None


def test_a_journal_gives_everything_exactly(tmp_path: Path) -> None:
    outcomes = [replace(OUTCOMES[0], duration=1 / 3, stamp=Stamp(1, 2)), *OUTCOMES[1:]]
    stored = read_results(str(journal(tmp_path / "r.jsonl.journal", outcomes)))
    assert [*stored.outcomes()] == outcomes
    assert next(iter(stored.outcomes())).stamp == Stamp(1, 2)
    assert (stored.run, stored.classes) == (RUN, CLASSES)


def test_a_journal_torn_at_its_end_gives_what_is_whole(tmp_path: Path) -> None:
    path = journal(tmp_path / "r.journal", OUTCOMES)
    path.write_bytes(path.read_bytes()[:-5])
    assert [*read_results(str(path)).outcomes()] == [*OUTCOMES[:-1]]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_scores_beside_give_all_scores_and_exact_times(name: str, tmp_path: Path) -> None:
    stored = read_results(str(with_scores(tmp_path / name)))
    assert stored.has_scores
    assert (stored.run, stored.classes) == (RUN, CLASSES)
    found = [one for one in stored.outcomes() if isinstance(one, FileResult)]
    for one, its in zip(found, SCORED[::2], strict=True):
        assert one.duration == its.duration
        for array in ("start", "end", "scores"):
            np.testing.assert_array_equal(
                getattr(one.window_scores, array), getattr(its.window_scores, array)
            )


def test_a_run_in_which_everything_failed_has_its_failures(tmp_path: Path) -> None:
    stored = read_results(str(with_scores(tmp_path / "r.jsonl", [OUTCOMES[1]])))
    assert ([*stored.outcomes()], stored.classes) == ([OUTCOMES[1]], CLASSES)


def test_standard_input_is_read_as_often_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write(tmp_path / "r.jsonl", OUTCOMES).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    stored = read_results("-")
    assert [*stored.outcomes()] == [*stored.outcomes()] == [*OUTCOMES]
    assert len([*(tmp_path / "copies").iterdir()]) == 1
    del stored
    gc.collect()
    assert not [*(tmp_path / "copies").iterdir()]


def test_a_journal_may_come_through_standard_input_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = journal(tmp_path / "r.jsonl.journal", OUTCOMES).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    stored = read_results("-")
    assert [*stored.outcomes()] == [*stored.outcomes()] == [*OUTCOMES]


@pytest.mark.parametrize("copies", [1, 1000])
def test_a_pipe_is_read_as_often_as_needed(copies: int, tmp_path: Path) -> None:
    raw = write(tmp_path / "r.jsonl", OUTCOMES).read_bytes() * copies
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(raw,), daemon=True).start()
    stored = read_results(str(pipe))
    assert [*stored.outcomes()] == [*stored.outcomes()] == [*OUTCOMES] * copies


def test_what_is_in_a_file_counts_and_not_its_name(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", OUTCOMES).rename(tmp_path / "r.json")
    assert [*read_results(str(tmp_path / "r.json")).outcomes()] == [*OUTCOMES]


def test_lines_that_others_wrote_anew_are_the_same(tmp_path: Path) -> None:
    lines = write(tmp_path / "r.jsonl", OUTCOMES).read_text().splitlines()
    compact = [json.dumps(dict(reversed(json.loads(line).items())), separators=(",", ":")) for line in lines]
    (tmp_path / "r.jsonl").write_text("\n\n".join(compact))
    stored = read_results(str(tmp_path / "r.jsonl"))
    assert [*stored.outcomes()] == [*OUTCOMES]
    assert not stored.warnings


names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(names.filter(lambda name: "\\x" not in name))
def test_names_come_back_from_how_they_are_shown(name: str) -> None:
    assert path_shown_as(display_name(name)) == name


def test_a_file_that_is_called_like_an_escape_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_shown_as(r"\xff.wav") == os.fsdecode(b"\xff.wav")
    Path(r"\xff.wav").touch()
    assert path_shown_as(r"\xff.wav") == r"\xff.wav"
    # A valid sequence of UTF-8 would not have been shown so.
    assert path_shown_as(r"\xc3\xa9.wav") == r"\xc3\xa9.wav"


# A last line that was torn


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_last_line_is_left_out_with_a_warning(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OUTCOMES)
    path.write_bytes(path.read_bytes()[: -1 - cut])
    stored = read_results(str(path))
    assert [*stored.outcomes()] == [*OUTCOMES[:-1]]
    [warning] = stored.warnings
    assert "in the middle of line 4" in warning


def test_a_last_line_without_its_end_is_whole_if_it_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OUTCOMES)
    path.write_bytes(path.read_bytes()[:-1])
    stored = read_results(str(path))
    assert [*stored.outcomes()] == [*OUTCOMES]
    assert not stored.warnings


# What is no result


def lines_with(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The file with the first line changed."""

    def spoil(path: Path) -> None:
        first, *others = path.read_text().splitlines()
        document = json.loads(first)
        change(document)
        path.write_text("\n".join((json.dumps(document), *others)) + "\n")

    return spoil


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no JSON": lambda path: path.write_text(path.read_text().replace('"duration"', '"duration', 1)) and None,
    "no duration": lines_with(lambda line: line.pop("duration")),
    "no tags": lines_with(lambda line: line.pop("tags")),
    "a number for a name": lines_with(lambda line: line.update(file=7)),
    "half a surrogate pair": lines_with(lambda line: line.update(file="\ud800")),
    "no number": lines_with(lambda line: line.update(duration="long")),
    "not a number": lines_with(lambda line: line["tags"][0].update(score=float("nan"))),
    "no end": lambda path: (
        path.write_text(path.read_text().replace('"duration": 2.5', '"duration": 1e999')) and None
    ),
    "a number in words": lines_with(lambda line: line.update(duration="nan")),
    "a number that is yes": lines_with(lambda line: line.update(seconds_heard=True)),
    "less than nothing": lines_with(lambda line: line.update(duration=-1)),
    "more than scores can be": lines_with(lambda line: line["tags"][0].update(score=1e300)),
    "no index": lines_with(lambda line: line["tags"][0].update(index=1.5)),
    "an index from nowhere": lines_with(lambda line: line["tags"][0].update(index=10**12)),
    "a list for a label": lines_with(lambda line: line["tags"][0].update(label=["Dog"])),
    "windows in disorder": lines_with(lambda line: line["windows"].reverse()),
    "an event backwards": lines_with(lambda line: line["events"][0].update(end=-1)),
    "an event of no length": lines_with(lambda line: line["events"][0].update(end=0)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_line_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OUTCOMES)
    damage(path)
    assert "r.jsonl, line 1: " in refusal(path)


def test_a_line_in_the_middle_is_not_taken_for_the_end_of_a_run(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OUTCOMES)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join((*lines[:2], lines[2][:20] + "\n", *lines[3:])))
    assert "line 3" in refusal(path)


def test_results_of_two_models_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OUTCOMES)
    with path.open("a") as stream:
        stream.write(path.read_text().splitlines()[0].replace("Dog", "Donkey") + "\n")
    assert re.search(r"line 5: class 3 is 'Donkey' here, and 'Dog' before", refusal(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("file,start,end,rank,index,mid,label,score\n", "is a table"),
        ("file\tstart\n", "is a table"),
        ("clip.wav\tSpeech\t0.880797\n", "holds no results"),
        ("{", "no JSON, or damaged at line 1"),
        ('{"schema": "ast-tag/2", "results": []}', "holds ast-tag/2 and not ast-tag/1. Another version"),
        ('{"schema": "ast-eval/1"}', "holds ast-eval/1"),
        ('{"data": []}', "holds no results of `ast-tag tag`"),
        ("[]", "holds no results"),
        ('{"schema": "ast-tag/1"}', "in its head"),
        ('{"schema": "ast-tag/1", "model": {"id": 1}, "results": [], "errors": []}', "in its head"),
        ('{"schema": "ast-tag/1", "model": null, "results": [], "errors": []}', "holds no results"),
        ('{"schema": "ast-tag/1", "model": null, "results": [7], "errors": []}', "result 1"),
        ('{"file": "a.wav", "dur', "line 1"),
        ('{"journal": "ast-journal/1"', "damaged journal"),
        ('{"journal": "ast-journal/9"}\n', "of another version"),
        ("PK\3\4", "holds scores alone. Name the JSON output beside it"),
        ("\xff\xfe", "holds no results"),
        ("[" * 100_000, "holds no results"),
    ],
)
def test_what_is_no_result_says_so(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.any"
    path.write_bytes(text.encode("latin-1"))
    assert said in refusal(path)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "r.jsonl")
    journal(tmp_path / "r.jsonl.journal", OUTCOMES)
    assert "name" in refusal(tmp_path / "r.jsonl")
    assert "r.jsonl.journal, or end it with `tag --resume`" in refusal(tmp_path / "r.jsonl")
    assert "Name a file" in refusal(tmp_path)
    assert "no file can be called" in refusal("a\0b")


def test_a_run_that_had_only_begun_has_no_results(tmp_path: Path) -> None:
    assert "had only begun" in refusal(journal(tmp_path / "r.journal", ()))


def test_a_journal_damaged_in_the_middle_says_how_far_it_can_be_read(tmp_path: Path) -> None:
    path = journal(tmp_path / "r.journal", OUTCOMES)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((*lines[:2], b"{}\n", *lines[3:])))
    assert "damaged after 1 of its recordings" in refusal(path)


def without(*names: str) -> Callable[[bytes], bytes]:
    """A journal's first outcome with these arrays of its windows empty."""

    def spoil(line: bytes) -> bytes:
        record = json.loads(line)
        record["windows"] |= dict.fromkeys(names, "")
        return json.dumps(record).encode() + b"\n"

    return spoil


JOURNAL_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no starts": without("starts"),
    "no scores": without("scores"),
    "no labels": without("indices", "scores"),
    "no windows, but labels": without("starts", "ends", "tags_until"),
    "nested without end": lambda line: line[:-2] + b', "more": ' + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("damage", JOURNAL_DAMAGES.values(), ids=JOURNAL_DAMAGES)
def test_a_damaged_line_of_a_journal_is_told_where_it_is_read(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = journal(tmp_path / "r.journal", OUTCOMES)
    header, first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((header, damage(first), *others)))
    assert "damaged after 0 of its recordings" in refusal(path)


@pytest.mark.parametrize("settings", ["[1]", "7", "null"])
def test_a_journal_with_a_damaged_head_is_refused(settings: str, tmp_path: Path) -> None:
    path = journal(tmp_path / "r.journal", OUTCOMES)
    header, *others = path.read_text().splitlines(keepends=True)
    told = json.dumps(json.loads(header) | {"settings": json.loads(settings)})
    path.write_text("".join((told + "\n", *others)))
    assert "damaged journal" in refusal(path)


# Scores that are not those of the results


def renamed(file: FileResult, tag: Tag) -> FileResult:
    return replace(file, tags=(tag, *file.tags[1:]))


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (SCORED[:2], "of more recordings than there are results"),
        ((*SCORED, SCORED[2]), "of fewer recordings than there are results"),
        ((replace(SCORED[0], duration=1.3), *SCORED[1:]), "for other windows than those of a.wav"),
        (
            (replace(SCORED[0], windows=windows((0, 1, [(0, 0.5)]))), *SCORED[1:]),
            "for other windows than those of a.wav",
        ),
        ((*SCORED[:2], renamed(SCORED[2], Tag(1, 3, "/m/d", "Dog", 0.9))), "do not give those of b.wav"),
        ((renamed(SCORED[0], Tag(1, 3, "/m/d", "Dig", 0.5)), *SCORED[1:]), "of other classes"),
    ],
)
def test_scores_of_another_run_are_refused(others: Sequence[Outcome], said: str, tmp_path: Path) -> None:
    path = with_scores(tmp_path / "r.jsonl")
    write(path, others)
    message = refusal(path)
    assert said in message
    assert "r.npz does not belong to" in message


def test_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    path = with_scores(tmp_path / "r.json")
    write(path, SCORED, replace(RUN, models=(replace(RUN.models[0], sha256="ef" * 32),)))
    assert "of another model" in refusal(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:200],
        lambda raw: raw[:-40],
        lambda raw: raw[40:],
        # What the directory of the archive says of each part: encrypted; compressed in a way nobody knows.
        lambda raw: re.sub(rb"(PK\x01\x02.{4})..", b"\\g<1>\x01\x00", raw, flags=re.DOTALL),
        lambda raw: re.sub(rb"(PK\x01\x02.{6})..", b"\\g<1>\x63\x00", raw, flags=re.DOTALL),
    ],
)
def test_damaged_scores_are_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = with_scores(tmp_path / "r.jsonl")
    scores = path.with_suffix(".npz")
    scores.write_bytes(damage(scores.read_bytes()))
    assert "cannot read the scores in" in refusal(path)


def test_a_changed_bit_in_the_scores_is_found(tmp_path: Path) -> None:
    path = with_scores(tmp_path / "r.jsonl")
    scores = path.with_suffix(".npz")
    raw = scores.read_bytes()
    value = np.float32([0.5, 0.25, 0.0, 1.0]).tobytes()
    assert raw.count(value) == 1
    scores.write_bytes(raw.replace(value, np.float32([0.5, 0.25, 0.0, 0.999]).tobytes()))
    assert "Bad CRC-32" in refusal(path)


def test_labels_alone_can_be_read_once_the_scores_are_away(tmp_path: Path) -> None:
    path = with_scores(tmp_path / "r.jsonl")
    moved = shutil.move(path, tmp_path / "alone.jsonl")
    stored: StoredRun = read_results(str(moved))
    assert not stored.has_scores
    assert [one.file for one in stored.outcomes()] == ["a.wav", "broken.wav", "b.wav"]
