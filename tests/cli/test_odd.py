"""Files and folders that nobody expects: each is tagged, or told in a line, and costs the others nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

from ast_cli.engines.torch_engine import TorchEngine
from ast_cli.errors import ExitCode
from tests.audio.test_decode import without_privileges
from tests.cli.known import plain
from tests.cli.runner import ast_tag

LONG = 30  # seconds: more than is decoded before the first window is scored


def rows_of(path: Path) -> list[str]:
    """The recordings of a CSV, each once."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(dict.fromkeys(row["file"] for row in csv.DictReader(lines)))


@pytest.fixture
def at_first_window(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen when the first window is scored, while the recording is still being read."""

    def happen(what: Callable[[], object]) -> None:
        scored = TorchEngine.logits
        waiting = [what]

        def logits(self: TorchEngine, *batch: Tensor | None) -> Tensor:
            if waiting:
                waiting.pop()()
            return scored(self, *batch)

        monkeypatch.setattr(TorchEngine, "logits", logits)

    return happen


@pytest.fixture
def long_first(here: Path) -> str:
    """A recording that comes before the others, and is not read at once."""
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(LONG * 16_000), 16_000)
    return "a.wav"


# The same name twice; places for the output


@pytest.mark.parametrize("format_", ["csv", "json", "audacity"])
def test_recordings_of_the_same_name_have_each_their_own_output(here: Path, known: str, format_: str) -> None:
    for folder in ("a", "b", "b/a"):
        Path(folder).mkdir()
        shutil.copy("clip.wav" if folder == "a" else "long.wav", f"{folder}/x.wav")
    done = ast_tag("a", "b", "-m", known, "-o", "labels/", "-f", format_)
    assert done.code == ExitCode.OK
    suffix = {"csv": ".csv", "json": ".json", "audacity": ".txt"}[format_]
    found = sorted(str(path.relative_to("labels")) for path in Path("labels").rglob("*") if path.is_file())
    assert found == [f"a/x.wav{suffix}", f"b/a/x.wav{suffix}", f"b/x.wav{suffix}"]
    assert Path(f"labels/a/x.wav{suffix}").read_text() != Path(f"labels/b/x.wav{suffix}").read_text()


@pytest.mark.parametrize("out", ["out.csv", "labels/"])
def test_a_folder_that_may_not_be_written_is_told_before_anything_runs(out: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "x.wav", np.zeros(1600), 16_000)
        folder.chmod(0o555)
        ast_tag("no-such-file.wav")  # imports what may not be readable without privileges
        with without_privileges():
            done = ast_tag(folder / "x.wav", "-m", "no-such-model", "-o", f"{folder}/{out}", "-f", "csv")
        folder.chmod(0o755)
        assert done.code == ExitCode.CANNOT_RUN
        assert "Permission denied" in done.one_line()
        assert [path.name for path in folder.iterdir()] == ["x.wav"]


def test_an_output_among_the_recordings_with_a_suffix_of_theirs_is_never_one(here: Path, known: str) -> None:
    Path("notes.wav").unlink()
    for more in ((), ("--overwrite",)):
        done = ast_tag(".", "-m", known, "-o", "./out.wav", "-f", "csv", *more)
        assert done.code == ExitCode.OK, done.err
        assert rows_of(Path("out.wav")) == ["./clip.wav", "./long.wav"]


# Times


@pytest.mark.parametrize("time", [0, -1, 2**31, 2**33])
def test_a_recording_of_any_time_is_known_again(here: Path, known: str, time: int) -> None:
    try:
        os.utime("clip.wav", (time, time))
    except OSError as error:
        pytest.skip(f"this file system knows no such time: {error}")
    arguments = ("clip.wav", "late.wav", "-m", known, "-o", "out.csv")
    assert ast_tag(*arguments, "--fail-fast").code == ExitCode.SOME_FAILED
    shutil.copy("long.wav", "late.wav")
    done = ast_tag(*arguments, "--resume")
    assert (done.code, "1 tagged, 0 failed, 1 skipped" in done.err) == (ExitCode.OK, True)
    assert rows_of(Path("out.csv")) == ["clip.wav", "late.wav"]


# What changes meanwhile


def test_a_recording_that_grows_while_it_is_read_is_tagged_again_next_time(
    known: str, long_first: str, at_first_window: Callable[[Callable[[], object]], None]
) -> None:
    def grow() -> None:
        with Path(long_first).open("ab") as file:
            file.write(bytes(2 * 16_000))

    at_first_window(grow)
    arguments = (long_first, "late.wav", "-m", known, "-b1", "-o", "out.csv")
    done = ast_tag(*arguments, "--fail-fast", "--workers", "1")
    assert f"warning: {long_first}: changed while it was read" in done.err
    shutil.copy("clip.wav", "late.wav")
    done = ast_tag(*arguments, "--resume")
    assert done.code == ExitCode.OK
    assert f"1 had changed since, and were tagged again: {long_first}" in done.err
    assert "2 tagged, 0 failed, 0 skipped" in done.err
    assert "changed while" not in done.err


def test_a_recording_that_vanishes_before_its_turn_is_told_and_costs_nothing_else(
    known: str, long_first: str, at_first_window: Callable[[Callable[[], object]], None]
) -> None:
    at_first_window(Path("long.wav").unlink)
    Path("notes.wav").unlink()
    done = ast_tag(".", "-m", known, "-b1", "--workers", "1", "-o", "out.jsonl")
    assert done.code == ExitCode.SOME_FAILED
    entries = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [(entry["file"], entry.get("error")) for entry in entries] == [
        ("./a.wav", None),
        ("./clip.wav", None),
        ("./long.wav", "not-found"),
    ]


# Names and numbers


def test_a_name_that_is_not_utf8_goes_through_a_folder_a_journal_and_an_output_of_its_own(
    here: Path, known: str
) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        shutil.copy("clip.wav", name)
    except OSError as error:
        pytest.skip(f"this file system refuses the name: {error}")
    Path("notes.wav").unlink()
    arguments = (".", "late.wav", "-m", known, "-f", "csv", "-o", "../labels/")
    assert ast_tag(*arguments, "--fail-fast").code == ExitCode.SOME_FAILED
    shutil.copy("clip.wav", "late.wav")
    done = ast_tag(*arguments, "--resume", "--workers", "1")
    assert done.code == ExitCode.OK, done.err
    assert "3 skipped" in done.err
    written = {os.fsencode(path.name) for path in Path("../labels").iterdir()}
    assert b"caf\xe9.wav.csv" in written
    assert ast_tag(".", "-m", known, "-k1").out.startswith("./caf\\xe9.wav\tSpeech")


def test_a_thousand_recordings_come_out_in_their_order(here: Path, known: str) -> None:
    soundfile.write("short", np.zeros(800), 16_000, format="WAV")
    Path("many").mkdir()
    names = [f"many/{number}.wav" for number in range(1000)]
    for name in names:
        os.link("short", name)
    done = ast_tag("many", "-m", known, "-k1", "-b64")
    assert done.code == ExitCode.OK
    assert done.out == plain(*sorted(names), top_k=1)
    assert "1000 inputs: 1000 tagged, 0 failed, 0 skipped" in done.err
