"""Runs that break off anywhere and go on: what they leave in the end is what one that ran through leaves."""

from __future__ import annotations

import json
import ntpath
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ast_cli.errors import OutputError, UsageError
from ast_cli.outputs.destination import (
    Destination,
    _common,
    common_folder,
    is_complete,
    is_folder,
    journal_of,
    open_destination,
    place_in_folder,
    windows_name,
)
from ast_cli.outputs.journal import Header, Journal, read_journal
from ast_cli.outputs.journal_records import from_record, to_record
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
)

CLASSES = [("/m/09x0r", "Speech"), ("", "Baby cry, infant cry"), ("/x", '"=é\u202e')]
MODEL = ModelInfo("someone/tagger", "0123abc", "ab" * 32, "sigmoid", 3)
RUN = RunInfo((MODEL,), {"device": "cpu", "batch_size": 8, "top_k": 3, "threshold": None, "include": ()})


def tags_of(scores: Sequence[float]) -> tuple[Tag, ...]:
    return tuple(Tag(rank, rank - 1, *CLASSES[rank - 1], score) for rank, score in enumerate(scores, start=1))


def tagged(file: str) -> Outcome:
    """What tagging a file of a test gives: a result that depends on what is in it, or a failure."""
    path = Path(file)
    if not path.is_file():
        return FileFailure(file, "not-found", "no such file")
    content = path.read_bytes()
    if content.startswith(b"bad"):
        return FileFailure(file, "unreadable", "it is bad")
    score = float(np.float32(sum(content) / 7919 % 1))
    windows = Windows(CLASSES)
    windows.append(0.0, 1.0, [0, 2], [score, score / 3])
    return FileResult(
        file,
        *(len(content) / 3, 1 / 3, 16_000, 1),
        tags=tags_of([score, score / 2, score / 3]),
        windows=windows,
        scores="sigmoid",
        stamp=Stamp.of(path.stat()),
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> list[str]:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes((b"bad " if "bad" in name else b"") + os.fsencode(name))
    return list(names)


class Killed(BaseException):
    """The end of a run, as far as it knows."""


def run(
    files: Iterable[str],
    out: str = "out.jsonl",
    format_: str = "jsonl",
    *,
    killed_after: int | None = None,
    made_with: RunInfo = RUN,
    **options: bool,
) -> list[str]:
    """Tag files into `out`; returns those that were really tagged."""
    really: list[str] = []
    with open_destination(out, format_, base=common_folder([]), **options) as destination:
        destination.begin(lambda: made_with, CLASSES)
        for count, file in enumerate(files):
            if count == killed_after:
                raise Killed
            write(destination, file, really)
        destination.complete()
    return really


def write(destination: Destination, file: str, really: list[str]) -> None:
    outcome = destination.known(file)
    if outcome is None:
        really.append(file)
    destination.write(outcome or tagged(file))


def killed(files: Iterable[str], after: int, **options: object) -> None:
    with pytest.raises(Killed):
        run(files, killed_after=after, **options)


# Records

floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec=None), max_size=20)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    file = draw(texts | st.binary(max_size=10).map(os.fsdecode))
    if draw(st.booleans()):
        return FileFailure(file, draw(texts), draw(texts))
    pairs = st.lists(st.tuples(st.integers(0, 2), floats), max_size=3)
    windows: Windows | tuple[()] = ()
    kept = None
    if draw(st.booleans()):
        windows = Windows(CLASSES)
        for _ in range(draw(st.integers(1, 3))):
            labels = draw(pairs)
            windows.append(draw(floats), draw(floats), [i for i, _ in labels], [s for _, s in labels])
        rows = len(windows)
        kept = WindowScores(np.arange(rows) / 3, np.arange(rows) / 7, np.full((rows, 3), 0.1, np.float32))
    events = None
    if draw(st.booleans()):
        events = tuple(Event(*draw(st.tuples(floats, floats)), 1, *CLASSES[1], 0.5, 0.25) for _ in range(2))
    return FileResult(
        file,
        *(draw(floats), draw(floats), 16_000, 2),
        tags=tuple(Tag(rank, i, *CLASSES[i], s) for rank, (i, s) in enumerate(draw(pairs), start=1)),
        windows=windows,
        scores="sigmoid",
        warnings=tuple(draw(st.lists(texts, max_size=2))),
        events=events,
        window_scores=kept,
        stamp=draw(st.none() | st.builds(Stamp, st.integers(0, 2**63), st.integers(-(2**63), 2**63))),
    )


@given(outcomes())
def test_what_comes_out_of_a_record_is_what_went_in(outcome: Outcome) -> None:
    text = json.dumps(to_record(outcome))
    assert text.isascii()
    back = from_record(json.loads(text), CLASSES)
    assert back == outcome
    if isinstance(outcome, FileResult):
        assert isinstance(back, FileResult)
        assert back.stamp == outcome.stamp
        if outcome.window_scores is not None:
            assert back.window_scores is not None
            for name in ("start", "end", "scores"):
                one, its = (getattr(scores, name) for scores in (back.window_scores, outcome.window_scores))
                assert np.array_equal(one, its)


# Going on

FILES = ("a/x.wav", "b/x.wav", "bad.wav", "gone.wav", "a/x.wav", "é\udcff.wav", "last.wav")


def make_files() -> list[str]:
    make(*(name for name in FILES if name != "gone.wav"))
    return list(FILES)


def test_a_run_that_was_broken_off_goes_on(here: Path) -> None:
    files = make_files()
    run(files, "whole.jsonl")
    killed(files, 5)
    assert sorted(here.glob("out*")) == [here / "out.jsonl.journal"]
    # What failed is tried again: a share may be mounted by now.
    assert run(files, resume=True) == ["bad.wav", "gone.wav", "é\udcff.wav", "last.wav"]
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert sorted(here.glob("out*")) == [here / "out.jsonl"]


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl", "table"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(at=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_wherever_the_journal_ends_the_results_are_those_of_a_whole_run(
    format_: str, at: list[float], here: Path
) -> None:
    """A journal only grows, so that what a kill leaves of it is a part of it from its start."""
    shutil.rmtree(here)
    here.mkdir()
    os.chdir(here)
    files = make_files()
    run(files, "whole", format_)
    for part in at:
        with pytest.raises(Killed):
            run(files, "out", format_, killed_after=len(files) - 1, resume=True)
        journal = Path("out.journal").read_bytes()
        Path("out.journal").write_bytes(journal[: round(part * len(journal))])
    run(files, "out", format_, resume=True)
    assert Path("out").read_bytes() == Path("whole").read_bytes()


def test_other_inputs_and_another_order_are_those_of_the_last_run(here: Path) -> None:
    files = make("a.wav", "b.wav", "c.wav", "d.wav")
    killed(files, 3)
    assert run(["c.wav", "new.wav", *make("e.wav"), "a.wav"], resume=True) == ["new.wav", "e.wav"]
    lines = [json.loads(line)["file"] for line in Path("out.jsonl").read_text().splitlines()]
    assert lines == ["c.wav", "new.wav", "e.wav", "a.wav"]


def test_a_recording_that_is_named_twice_is_known_twice_however_far_reading_is_ahead(here: Path) -> None:
    [file] = make("a.wav")
    killed([file, file], 1)
    with open_destination("out.jsonl", "jsonl", resume=True) as destination:
        destination.begin(lambda: RUN, CLASSES)
        known = [destination.known(file) for _ in range(2)]
        assert [destination.write(outcome) for outcome in known if outcome is not None] == [False, False]
        destination.complete()
    one, other = Path("out.jsonl").read_text().splitlines()
    assert one == other


def test_a_pipe_is_tagged_again_and_has_not_changed(here: Path) -> None:
    os.mkfifo("pipe")
    with open_destination("out.jsonl", "jsonl") as destination:
        destination.begin(lambda: RUN, CLASSES)
        destination.write(FileResult("pipe", 1.0, 1.0, 16_000, 1, ()))
    with open_destination("out.jsonl", "jsonl", resume=True) as destination:
        destination.begin(lambda: RUN, CLASSES)
        assert destination.known("pipe") is None
        assert list(destination.changed) == []


def test_a_recording_that_changed_is_tagged_again_and_named(here: Path) -> None:
    files = make("a.wav", "b.wav", "c.wav", "d.wav")
    killed(files, 3)
    Path("a.wav").write_text("other")
    os.utime("b.wav", ns=(0, 2**62))  # the clock of another machine is no matter
    with open_destination("out.jsonl", "jsonl", resume=True) as destination:
        destination.begin(lambda: RUN, CLASSES)
        really: list[str] = []
        for file in files:
            write(destination, file, really)
        destination.complete()
        assert really == ["a.wav", "b.wav", "d.wav"]
        assert destination.changed == ["a.wav", "b.wav"]
    assert json.loads(Path("out.jsonl").read_text().splitlines()[0])["duration"] == round(5 / 3, 3)


def test_without_a_broken_run_resume_begins_one(here: Path) -> None:
    assert run(make("a.wav"), resume=True) == ["a.wav"]
    assert is_complete("out.jsonl")


def test_a_run_broken_off_again_and_again_comes_to_its_end(here: Path) -> None:
    files = make(*(f"{n:02}.wav" for n in range(20)))
    run(files, "whole.jsonl")
    for after in range(20):
        with pytest.raises(Killed):
            run(files, killed_after=after, resume=True)
    assert len(run(files, resume=True)) == 1
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_a_journal_that_was_killed_while_it_began_holds_nothing(here: Path) -> None:
    Path("out.jsonl.journal").write_text('{"journal": "ast-jou')
    assert run(make("a.wav"), resume=True) == ["a.wav"]


def test_killed_after_the_results_are_there_nothing_is_left_to_do(here: Path) -> None:
    files = make("a.wav", "b.wav")
    killed([*files, "c.wav"], 2)
    shutil.copy("out.jsonl.journal", "copy")
    run(files, resume=True)
    whole = Path("out.jsonl").read_bytes()
    shutil.copy("copy", "out.jsonl.journal")
    assert not is_complete("out.jsonl")
    assert run(files, resume=True) == []
    assert Path("out.jsonl").read_bytes() == whole


# What is refused


def test_other_settings_are_refused_and_named(here: Path) -> None:
    files = make("a.wav", "b.wav")
    killed(files, 1)
    before = Path("out.jsonl.journal").read_bytes()
    other = replace(RUN, settings={**RUN.settings, "top_k": 10, "batch_size": 1, "device": "cuda"})
    with pytest.raises(UsageError, match=r"other settings: top_k was 3, is 10\.") as error:
        run(files, resume=True, made_with=other)
    assert "--overwrite" in str(error.value)
    assert Path("out.jsonl.journal").read_bytes() == before
    model = replace(MODEL, sha256="cd" * 32)
    with pytest.raises(UsageError, match=r'model was "someone/tagger \(abababab\)", is'):
        run(files, resume=True, made_with=replace(RUN, models=(model,)))


def test_settings_that_only_round_differently_may_differ(here: Path) -> None:
    files = make("a.wav", "b.wav")
    killed(files, 1)
    other = replace(RUN, settings={**RUN.settings, "batch_size": 1, "device": "cuda"})
    assert run(files, resume=True, made_with=other) == ["b.wav"]


def test_an_unfinished_run_is_not_begun_anew_unasked(here: Path) -> None:
    files = make("a.wav", "b.wav")
    killed(files, 1)
    with pytest.raises(OutputError, match=r"unfinished run\. --resume goes on with it, --overwrite starts"):
        run(files)
    assert run(files, overwrite=True) == files


def test_a_finished_output_is_not_replaced_unasked(here: Path) -> None:
    files = make("a.wav")
    run(files)
    with pytest.raises(OutputError, match="there already"):
        run(files)
    with pytest.raises(OutputError, match="there already"):
        run(files, resume=True)
    Path("out.jsonl").write_text("old")
    killed(files, 0, overwrite=True)
    assert Path("out.jsonl").read_text() == "old"
    run(files, overwrite=True)
    assert Path("out.jsonl").read_text() != "old"


def test_results_do_not_get_the_scores_of_another_run_beside_them(here: Path) -> None:
    [file] = make("a.wav")
    run([file])
    write_score_file(Path("out.npz"), lambda: iter(()), Header(RUN, CLASSES))
    before = Path("out.jsonl").read_bytes(), Path("out.npz").read_bytes()
    for out, format_ in (("out.jsonl", "jsonl"), ("out.json", "json")):
        with pytest.raises(OutputError, match=r"out\.npz holds the scores of another run.*--keep-scores"):
            run([file], out, format_, overwrite=True)
    assert (Path("out.jsonl").read_bytes(), Path("out.npz").read_bytes()) == before
    run([file], "out.csv", "csv")
    Path("out.npz").write_bytes(b"something else")
    run([file], overwrite=True)


def test_two_runs_do_not_write_the_same_output_at_once(here: Path) -> None:
    with open_destination("out.csv", "csv"):
        for options in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(OutputError, match=r"another run is writing out\.csv"):
                run([], "out.csv", "csv", **options)
    run([], "out.csv", "csv")


@pytest.mark.parametrize("out", ["out.jsonl", "labels/"])
def test_a_run_that_ends_while_another_one_begins_keeps_its_results(
    out: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [file] = make("a.wav")

    def late(path: Path, what: str) -> Journal:
        monkeypatch.undo()
        os.chdir(here)
        run([file], out)
        return Journal(path, what)

    monkeypatch.setattr("ast_cli.outputs.destination.Journal", late)
    with pytest.raises(OutputError, match=r"is there already|is not empty"):
        run([file], out)
    assert is_complete(out)
    assert not journal_of(out).exists()


def test_where_there_can_be_no_journal_no_lock_is_left(here: Path) -> None:
    Path("out.csv.journal").mkdir()
    with pytest.raises(OutputError, match=r"cannot write out\.csv: Is a directory"):
        run([], "out.csv", "csv")
    assert [path.name for path in here.iterdir()] == ["out.csv.journal"]
    with pytest.raises(
        OutputError, match=r"cannot write gone/out\.csv: No such file .*Make its folder first"
    ):
        run([], "gone/out.csv", "csv")
    assert not Path("gone").exists()


@pytest.mark.parametrize("text", ["dear diary\n", "dear diary"])
def test_what_is_no_journal_is_not_touched(text: str, here: Path) -> None:
    Path("out.jsonl.journal").write_text(text)
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError):
            run([], **options)
    assert Path("out.jsonl.journal").read_text() == text


def test_a_stream_has_nothing_to_go_on_with(here: Path) -> None:
    with pytest.raises(UsageError, match="--resume goes on with a file"):
        run([], "-", resume=True)


# Folders


def test_in_a_folder_each_recording_has_its_own_file_at_once(here: Path) -> None:
    files = make("a/x.wav", "b/x.wav", "bad.wav", "c.wav")
    killed(files, 3, out="labels/", format_="csv")
    there = sorted(str(path) for path in Path("labels").rglob("*.csv"))
    assert there == ["labels/a/x.wav.csv", "labels/b/x.wav.csv"]  # and none for what failed
    Path("labels/b/x.wav.csv").unlink()  # and it is made again
    assert run(files, "labels/", "csv", resume=True) == ["b/x.wav", "bad.wav", "c.wav"]
    assert is_complete("labels/")
    run(files, "again/", "csv")
    os.chdir("again")
    run([], ".", "jsonl", overwrite=True)
    os.chdir("..")
    for path in Path("again").rglob("*.csv"):
        assert path.read_bytes() == (Path("labels") / path.relative_to("again")).read_bytes()
    assert len(list(Path("labels").rglob("*"))) == 5  # with two folders, and no journal


def test_in_a_folder_json_says_what_failed_and_no_file_says_more_than_is_true(here: Path) -> None:
    run(make("bad.wav"), "told/", "json")
    assert json.loads(Path("told/bad.wav.json").read_text())["errors"][0]["error"] == "unreadable"
    make("good.wav")
    run(["good.wav"], "labels/", "csv")
    Path("good.wav").write_text("bad by now")
    run(["good.wav"], "labels/", "csv", overwrite=True)
    assert not list(Path("labels").iterdir())


def test_what_cannot_be_tagged_has_its_file_too_be_it_the_folder_itself(here: Path) -> None:
    Path("none").mkdir()
    with open_destination("labels/", "jsonl", base=common_folder(["none"])) as destination:
        destination.begin(lambda: RUN, CLASSES)
        for file in ("none", "n" * 300 + "/x.wav"):
            destination.write(FileFailure(file, "no-audio", "it holds none"))
    assert len(list(Path("labels").rglob("*.jsonl"))) == 2


def test_a_folder_with_something_in_it_is_not_written_into_unasked(here: Path) -> None:
    make("labels/dear.txt", "a.wav")
    with pytest.raises(OutputError, match="not empty"):
        run(["a.wav"], "labels/", "csv")
    run(["a.wav"], "labels/", "csv", overwrite=True)
    assert Path("labels/dear.txt").exists()


@pytest.mark.parametrize(
    ("paths", "base"),
    [
        ([], ""),
        (["field"], "field"),
        (["field/"], "field"),
        (["field", "a.wav"], ""),
        (["field/a.wav"], "field"),
        (["field/a.wav", "field/deep/b.wav"], "field"),
        (["../x"], ".."),
    ],
)
def test_the_tree_begins_where_all_recordings_are(paths: list[str], base: str, here: Path) -> None:
    make("field/a.wav", "field/deep/b.wav", "a.wav")
    assert common_folder(paths) == Path(os.path.normpath(here / base))


def test_every_recording_has_a_place_of_its_own(here: Path) -> None:
    files = ["a/x.wav", "b/x.wav", "a/x.flac", "a/x", "/data/x.wav", "../x.wav", "-", "a/../x.wav"]
    files += ["x" * 250 + "1", "x" * 250 + "2", "y" * 300 + "/x.wav", "y" * 301 + "/x.wav"]
    files += ["_/data/x.wav", "__/data/x.wav", "/__/data/x.wav", "_", "__", ".", "/"]
    places = [place_in_folder(file, here, ".txt") for file in files]
    assert len(set(places)) == len(files)
    for place in places:
        assert not place.is_absolute()
        assert ".." not in place.parts
        assert max(len(os.fsencode(part)) for part in place.parts) <= 250


@given(
    st.text(st.characters(codec="utf-8"), min_size=1)
    | st.sampled_from(["NUL.wav", "con", "%con", "a.", "s3:"])
)
def test_windows_takes_every_name_for_one_and_for_no_others(name: str) -> None:
    found = windows_name(name)
    assert not set(found) & set('<>:"/\\|?*\0\n')
    assert found[-1] not in ". "
    assert found.partition(".")[0].strip().casefold() not in ("con", "prn", "aux", "nul", "com1", "lpt¹")
    before = found.removeprefix("%") if re.match("%(?![0-9A-F]{2})", found) else found
    assert re.sub("%([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), before) == name


def test_what_lies_on_two_drives_of_windows_has_a_place_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as windows:
        windows.setattr(os, "path", ntpath)
        on_one = _common("C:\\x\\y", "C:\\x\\z")
        on_two = _common("C:\\x", "D:\\x")
    assert (on_one, on_two) == ("C:\\x", "\\")


def test_both_separators_of_windows_end_a_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_folder("out\\")
    monkeypatch.setattr("ast_cli.outputs.destination.SEPARATORS", ("\\", "/"))
    assert is_folder("out\\")
    assert is_folder("out/")


def test_what_a_journal_holds_can_be_read_by_others(here: Path) -> None:
    files = make("a.wav", "b.wav", "c.wav")
    killed(files, 2)
    with pytest.raises(Killed):
        run(files, killed_after=2, resume=True)
    header, found = read_journal(journal_of("out.jsonl"))
    assert header == Header(replace(RUN, settings={**RUN.settings, "include": []}), CLASSES)
    assert [outcome.file for outcome in found] == ["a.wav", "b.wav"]
