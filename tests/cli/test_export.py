"""`ast-tag export`: what it makes of a stored run is what the run itself would have written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ast_cli.errors import EngineError, ExitCode, OutputError
from ast_cli.outputs import FORMATS, choose_format, direct
from ast_cli.outputs.destination import FOLDER_JOURNAL
from tests.cli.known import LOGITS, save_known_checkpoint
from tests.cli.runner import Done, ast_tag
from tests.cli.test_startup import command, heavy_modules

ROOT = Path(__file__).parents[2]
HEARD = ("--model", "tiny", "--window", "2", "--hop", "1.28", "--short", "crop")
SETTINGS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "few labels": ("--top-k", "3", "--threshold", "0.3", "--exclude", "Music"),
    "all windows": ("--timeline", "--rollup", "--top-k", "0"),
    "the maximum of a part": ("--aggregate", "max", "--include", "Music/**", "--include", "Siren"),
    "long events": ("--events", "--threshold", "0.3", "--hysteresis", "0.8", "--min-duration", "1.5"),
    "merged events": ("--events", "--rollup", "--max-gap", "2", "--timeline"),
    "a threshold for each class": ("--threshold", "thresholds.csv"),
}
# Every format with several settings; all settings with those formats that show most.
CASES = [
    (format_, settings)
    for number, format_ in enumerate(FORMATS)
    for place, settings in enumerate(SETTINGS)
    if format_ in ("json", "csv") or (place - number) % 3 == 0
]
law = pytest.mark.parametrize(("format_", "settings"), CASES)


def usable(format_: str) -> str:
    """The format, unless it needs an extra that is not here."""
    try:
        return choose_format(format_, "-")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder: recordings, one of which is none, and runs that stored different things."""
    folder = tmp_path_factory.mktemp("stored")
    samples, rate = soundfile.read(ROOT / "examples/clips/speech-then-music-then-siren.ogg")
    # 7.3 s and a bit, which three decimals do not hold: some music, then a siren.
    soundfile.write(
        folder / "long.wav", np.concatenate([samples[6 * rate : 11 * rate], samples[-101_431:]]), rate
    )
    (folder / "sub").mkdir()
    soundfile.write(folder / "sub/short, clip.wav", samples[: rate + 7], rate)
    (folder / "broken.wav").write_text("no audio")
    (folder / "thresholds.csv").write_text("label,threshold\nMusic,0.5\nSiren,0.25\nSpeech,\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("one", "many"):
            tag(name, "--out", f"{name}.jsonl", "--timeline", "--keep-scores")
            tag(name, "--out", f"{name}.all.jsonl", "--timeline", "--top-k", "0")
        tag("many", "--out", "few.jsonl", "--top-k", "2")
        tag("many", "--out", "windows.json", "--timeline", "--top-k", "2")
        tag("many", "--out", "events.json", "--events")
        yield folder


def inputs(name: str) -> list[str]:
    return ["long.wav"] if name == "one" else ["long.wav", "broken.wav", "sub"]


def tag(name: str, *options: str) -> Done:
    done = ast_tag("tag", *inputs(name), *HEARD, *options)
    assert done.code == (ExitCode.OK if name == "one" else ExitCode.SOME_FAILED), done.err
    return done


def export(*arguments: str | Path) -> Done:
    done = ast_tag("export", *arguments)
    assert done.code == ExitCode.OK, done.err
    return done


def which(format_: str) -> str:
    return "many" if FORMATS[format_].holds_many else "one"


@pytest.fixture(autouse=True)
def there(stored: Path, remembered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stored)


# The law: an export is what the run itself would have written


def written(out: Path) -> bytes:
    return out.read_bytes()


@law
def test_an_export_is_what_the_run_would_have_written(format_: str, settings: str, tmp_path: Path) -> None:
    name, options = which(format_), ("--format", usable(format_), *SETTINGS[settings])
    tag(name, *options, "--out", str(tmp_path / "run"))
    export(f"{name}.jsonl", *options, "--out", tmp_path / "again")
    assert written(tmp_path / "again") == written(tmp_path / "run")
    assert written(tmp_path / "run")


@law
def test_labels_alone_give_the_same_within_their_rounding(
    format_: str, settings: str, tmp_path: Path
) -> None:
    name, options = which(format_), ("--format", usable(format_), *SETTINGS[settings])
    if settings == "a threshold for each class":
        pytest.skip("its classes are known to the model alone")
    export(f"{name}.jsonl", *options, "--out", tmp_path / "exact")
    export(f"{name}.all.jsonl", *options, "--out", tmp_path / "rounded")
    if b"\0" in written(tmp_path / "exact"):
        pytest.skip("no text, in which numbers could be found")
    exact, rounded = (written(tmp_path / which_).decode() for which_ in ("exact", "rounded"))
    if format_ == "json":  # lines alone do not tell the model
        exact, rounded = (text[text.index('"results"') :] for text in (exact, rounded))
    number = re.compile(r"\d+\.\d+")
    assert number.sub("", rounded) == number.sub("", exact)
    for one, other in zip(*(map(float, number.findall(text)) for text in (exact, rounded)), strict=True):
        # What is above 1 are times, which results have with three decimals.
        assert one == pytest.approx(other, abs=2e-6 if one <= 1 else 1e-3, rel=0)


def test_with_all_scores_it_does_not_matter_which_labels_the_run_kept(tmp_path: Path) -> None:
    run = str(tmp_path / "r.json")
    tag(
        "many",
        "--out",
        run,
        "--keep-scores",
        "--rollup",
        "--aggregate",
        "max",
        "--include",
        "Animal/**",
        "-k",
        "1",
    )
    for options in (("--aggregate", "mean"), ("--aggregate", "mean", "--timeline", "--events")):
        export(run, *options, "--out", tmp_path / "again.csv", "--overwrite")
        tag("many", *options, "--out", str(tmp_path / "run.csv"), "--overwrite")
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "run.csv").read_bytes()


def test_windows_become_files_as_the_run_did_it_unless_told_otherwise(tmp_path: Path) -> None:
    tag("many", "--out", str(tmp_path / "r.jsonl"), "--keep-scores", "--aggregate", "max")
    done = tag("many", "--aggregate", "max", "-f", "csv")
    assert export(tmp_path / "r.jsonl", "-f", "csv").out == done.out
    assert done.out != tag("many", "-f", "csv").out


def test_standard_output_gets_what_a_file_would(tmp_path: Path) -> None:
    for format_ in ("table", "csv", "json"):
        assert export("many.jsonl", "-f", format_).out == tag("many", "-f", format_).out


def test_the_format_follows_the_suffix_and_a_run_from_standard_input(tmp_path: Path) -> None:
    export("many.jsonl", "--out", tmp_path / "out.csv")
    lines = Path("many.all.jsonl").read_bytes()
    assert (tmp_path / "out.csv").read_text() == ast_tag("export", "-", "-f", "csv", stdin=lines).out


def test_an_export_can_be_exported(tmp_path: Path) -> None:
    export("many.jsonl", "--timeline", "--top-k", "0", "--out", tmp_path / "a.json")
    export(tmp_path / "a.json", "--timeline", "--top-k", "0", "--out", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("format_", [one for one in FORMATS if one != "table"])
def test_a_folder_gets_the_same_files(format_: str, tmp_path: Path) -> None:
    tag("many", "-f", usable(format_), "--out", f"{tmp_path}/run/")
    export("many.jsonl", "-f", format_, "--out", f"{tmp_path}/again/")
    run, again = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != FOLDER_JOURNAL
        }
        for folder in (tmp_path / "run", tmp_path / "again")
    )
    assert run == again
    # What failed has a file only where that can say so.
    files = ["long.wav", "sub/short, clip.wav", *(["broken.wav"] if FORMATS[format_].tells_failures else [])]
    assert len(run) == len(files)


def test_the_journal_of_a_run_that_was_broken_off_can_be_exported(tmp_path: Path) -> None:
    ast_tag("tag", "long.wav", "broken.wav", "sub", *HEARD, "--fail-fast", "--out", str(tmp_path / "r.jsonl"))
    assert not (tmp_path / "r.jsonl").exists()
    found = export(tmp_path / "r.jsonl.journal", "-f", "jsonl").out.splitlines()
    assert found == export("many.jsonl", "-f", "jsonl").out.splitlines()[:2]


def test_no_network_is_loaded(stored: Path) -> None:
    out, heavy = heavy_modules(command("export", "many.jsonl", "-f", "csv", "--events"))
    assert out.startswith("file,start,end")
    assert heavy == {"numpy"}


# What was not kept


@pytest.mark.parametrize(
    "more", [("--top-k", "3"), ("--top-k", "0"), ("--threshold", "0.001"), ("--exclude", "Music")]
)
def test_more_than_was_kept_is_shown_as_far_as_it_goes_with_a_warning(more: tuple[str, ...]) -> None:
    done = export("few.jsonl", "-f", "csv", *more)
    assert done.one_line().startswith("ast-tag: warning: 2 recordings may lack labels")
    assert len(done.out.splitlines()) > len(["header"])


def test_what_was_kept_is_shown_without_a_warning_where_nothing_else_is_asked_for() -> None:
    assert export("few.jsonl", "-f", "csv").errors == []
    kept = export("few.jsonl", "-f", "csv")
    assert export("few.jsonl", "-f", "csv", "--top-k", "3").out == kept.out


@pytest.mark.parametrize("options", [("--top-k", "2"), ("--top-k", "1"), ("--threshold", "0.9")])
def test_no_more_than_was_kept_needs_no_warning(options: tuple[str, ...]) -> None:
    done = export("few.jsonl", "-f", "csv", *options)
    assert done.errors == []
    assert done.out == export("many.jsonl", "-f", "csv", "--top-k", "2", *options).out


def test_a_class_that_was_not_kept_is_said_to_be_unknown() -> None:
    done = ast_tag("export", "few.jsonl", "--include", "Sine wave")
    assert done.code == ExitCode.USAGE
    assert "among those that few.jsonl names" in done.one_line()
    assert "--keep-scores" in done.one_line()


def test_few_labels_of_windows_make_events_with_a_warning_where_they_end_too_high() -> None:
    exact = export("many.jsonl", "-f", "csv", "--events", "--threshold", "0.9").out
    done = export("windows.json", "-f", "csv", "--events", "--threshold", "0.9", "--hysteresis", "1")
    assert {row["label"] for row in csv.DictReader(io.StringIO(exact))} >= {
        row["label"] for row in csv.DictReader(io.StringIO(done.out))
    }
    low = export("windows.json", "-f", "csv", "--events", "--threshold", "0.01")
    assert "may lack labels or events" in low.one_line()


def test_an_option_of_events_is_refused_where_there_are_none() -> None:
    done = ast_tag("export", "many.jsonl", "-f", "csv", "--min-duration", "3")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.one_line().endswith("which are not asked for. Add --events, or a --format of events")


def test_events_that_were_kept_can_be_chosen_from_but_not_be_found_anew() -> None:
    own = export("events.json", "-f", "csv", "--events")
    assert own.errors == []
    assert own.out == tag("many", "-f", "csv", "--events").out
    chosen = export("events.json", "-f", "csv", "--events", "--include", "Music").out
    assert chosen == tag("many", "-f", "csv", "--events", "--include", "Music").out
    assert "may lack" in export("events.json", "-f", "csv", "--events", "--threshold", "0.2").one_line()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--timeline",), "few.jsonl does not hold windows. Tag with --timeline"),
        (("--events",), "holds neither windows nor events"),
        (("--aggregate", "max"), "does not hold the scores of all classes in all windows"),
        (("--threshold", "thresholds.csv"), "needs the names of all"),
    ],
)
def test_what_was_not_kept_at_all_is_refused(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = ast_tag("export", "few.jsonl", *options, "--out", str(tmp_path / "out.csv"))
    assert done.code in (ExitCode.USAGE, ExitCode.CANNOT_RUN)
    assert said in done.one_line()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", ["export", "clips", "report"])
def test_a_threshold_that_no_score_is_near_is_refused(command: str, tmp_path: Path) -> None:
    done = ast_tag(command, "many.jsonl", "--threshold", "30", "--out", f"{tmp_path}/out.csv")
    assert done.code == ExitCode.USAGE
    assert "they are from 0 to 1. Did you mean 0.3?" in done.one_line()
    assert not [*tmp_path.iterdir()]


def test_all_windows_kept_give_the_maximum_too() -> None:
    exact = export("many.jsonl", "-f", "csv", "--aggregate", "max").out
    rounded = export("many.all.jsonl", "-f", "csv", "--aggregate", "max").out
    for one, other in zip(*(csv.DictReader(io.StringIO(text)) for text in (exact, rounded)), strict=True):
        assert float(one.pop("score")) == pytest.approx(float(other.pop("score")), abs=2e-6)
        assert one == other


def test_audiosets_classes_are_known_though_few_were_kept(tmp_path: Path) -> None:
    model = save_known_checkpoint(tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    run = str(tmp_path / "r.jsonl")
    assert ast_tag("tag", str(tmp_path / "a.wav"), "--model", str(model), "--out", run).code == ExitCode.OK
    done = export(run, "--include", "Animal/**", "-f", "csv")
    assert [row["label"] for row in csv.DictReader(io.StringIO(done.out))] == ["Dog"]
    assert "may lack" in done.one_line()
    assert len(LOGITS) == len(export(run).out.splitlines())


# Outputs


def test_an_output_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    refused = ast_tag("export", "many.jsonl", "--out", str(out))
    assert (refused.code, out.read_text()) == (ExitCode.CANNOT_RUN, "mine")
    assert "there already" in refused.one_line()
    export("many.jsonl", "--out", out, "--overwrite")
    assert out.read_text().startswith("file,")


def test_scores_that_are_there_are_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_text("mine")
    options = ("tag", "long.wav", *HEARD, "--keep-scores", "--out", str(tmp_path / "r.jsonl"))
    refused = ast_tag(*options)
    assert (refused.code, (tmp_path / "r.npz").read_text()) == (ExitCode.CANNOT_RUN, "mine")
    assert "r.npz is there already. --overwrite" in refused.one_line()
    assert ast_tag(*options, "--overwrite").code == ExitCode.OK
    assert export(tmp_path / "r.jsonl", "-f", "csv").out == export("one.jsonl", "-f", "csv").out


def test_a_folder_with_something_in_it_is_written_into_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    refused = ast_tag("export", "many.jsonl", "-f", "csv", "--out", f"{tmp_path}/")
    assert refused.code == ExitCode.CANNOT_RUN
    assert "is not empty" in refused.one_line()
    export("many.jsonl", "-f", "csv", "--out", f"{tmp_path}/", "--overwrite")
    assert (tmp_path / "sub/short, clip.wav.csv").is_file()


@pytest.mark.parametrize("format_", [name for name, writer in FORMATS.items() if not writer.holds_many])
def test_a_format_for_one_recording_needs_a_folder_for_several(format_: str) -> None:
    done = ast_tag("export", "many.jsonl", "-f", format_)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "holds one recording a file. Name a folder" in done.one_line()


def test_a_damaged_run_leaves_no_output(tmp_path: Path) -> None:
    shutil.copy("many.all.jsonl", tmp_path / "r.jsonl")
    with (tmp_path / "r.jsonl").open("a") as stream:
        stream.write('{"file": "x.wav"}\n')
    done = ast_tag("export", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out.csv"))
    assert done.code == ExitCode.CANNOT_RUN
    assert "line 4" in done.one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_scores_that_turn_out_too_many_leave_no_output(tmp_path: Path) -> None:
    shutil.copy("many.npz", tmp_path / "r.npz")
    lines = Path("many.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "r.jsonl").write_text("".join(lines[:-1]))
    done = ast_tag("export", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out.csv"))
    assert done.code == ExitCode.CANNOT_RUN
    assert "does not belong to" in done.one_line()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "r.npz"]


def test_a_torn_run_is_exported_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(Path("many.all.jsonl").read_bytes()[:-100])
    done = export(path, "-f", "jsonl", "--top-k", "1")
    assert "warning" in done.one_line()
    assert len(done.out.splitlines()) == 2
    assert export(path, "--quiet").errors == []


def test_names_that_are_no_text_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"\xff\n\x1b.wav")
    soundfile.write(Path("a.wav"), np.zeros(16_000), 16_000)
    Path("a.wav").rename(name)
    options = ("--format", "csv", "--out")
    assert ast_tag("tag", name, *HEARD, "--keep-scores", "--out", "r.json").code == ExitCode.OK
    assert ast_tag("tag", name, *HEARD, *options, "run/").code == ExitCode.OK
    export("r.json", *options, "again/")
    assert [*Path("again").iterdir()] == [Path("again") / f"{name}.csv"]
    assert (Path("again") / f"{name}.csv").read_bytes() == (Path("run") / f"{name}.csv").read_bytes()


def test_a_name_that_no_file_can_have_has_its_place_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\0b.wav\n")
    listed = ("--files-from", str(tmp_path / "list"), *HEARD)
    assert ast_tag("tag", *listed, "-f", "jsonl", "-o", f"{tmp_path}/run/").code == ExitCode.SOME_FAILED
    assert ast_tag("tag", *listed, "-o", str(tmp_path / "r.jsonl")).code == ExitCode.SOME_FAILED
    export(tmp_path / "r.jsonl", "-f", "jsonl", "-o", f"{tmp_path}/again/")
    for folder in ("run", "again"):
        assert (tmp_path / folder / "a␀b.wav.jsonl").read_bytes() == (tmp_path / "r.jsonl").read_bytes()


def test_a_document_tells_the_settings_it_was_exported_with(tmp_path: Path) -> None:
    export("many.jsonl", "--top-k", "1", "--events", "--out", tmp_path / "r.json")
    settings = json.loads((tmp_path / "r.json").read_text())["settings"]
    assert (settings["top_k"], settings["window"], settings["keep_scores"]) == (1, 2.0, False)
    assert settings["events"]["hysteresis"] == 0.5
    ours = json.loads(Path("events.json").read_text())["settings"]
    assert [*settings] == [*ours]


def test_what_fails_leaves_a_folder_as_it_was_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("export", "many.jsonl", "-f", "csv", "--out", f"{tmp_path}/new/out/")
    assert ast_tag(*options).code == ExitCode.OK
    expected = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    shutil.rmtree(tmp_path / "new")
    write, count = direct.write_recording, 0

    def write_one(*args: Any) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise OutputError("the disk is full")
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(direct, "write_recording", write_one)
        assert ast_tag(*options).code == ExitCode.CANNOT_RUN
    assert count > 1
    assert not any(tmp_path.iterdir())
    assert ast_tag(*options).code == ExitCode.OK
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == expected


def test_a_closing_line_says_where_it_went(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = export("many.jsonl", "-f", "csv", "--out", out)
    count = sum("file" in json.loads(line) for line in Path("many.jsonl").read_text().splitlines())
    assert done.one_line() == f"{count} recordings: written to {out}"
    assert export("many.jsonl", "-f", "csv", "--out", out, "--overwrite", "-q").errors == []
    assert export("many.jsonl", "-f", "csv").errors == []
