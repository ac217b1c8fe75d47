"""Damaged recordings of every container: none may end, stall or fill the process, nor lack its outcome."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.fuzz import run
from tools.fuzz.damage import fuzzed
from tools.fuzz.recordings import good_recordings

pytest.importorskip("av", reason="PyAV is not installed")

STALLED = 60.0  # seconds; the machine that runs the tests may have much else to do


def test_every_container_is_among_the_recordings() -> None:
    names = {recording.name.split("-")[0] for recording in good_recordings()}
    wanted = "WAV WAVEX W64 RF64 FLAC OGG MP3 AIFF AU CAF ipod mp4 mov webm matroska asf adts mpegts avi"
    assert names >= set(wanted.split())


def test_a_seed_and_a_number_tell_a_file() -> None:
    recordings = list(good_recordings())
    files = [fuzzed(recordings, 0, number) for number in range(200)]
    assert files == [fuzzed(recordings, 0, number) for number in range(200)]
    assert len({file.data for file in files}) > 150
    assert 5 < sum(file.good for file in files) < 50


OUTCOME = """
import json, sys, time
files = open(sys.argv[1]).read().splitlines()
print(json.dumps({"ready": True}), flush=True)
for number, file in enumerate(files):
    told = {"file": file, "word": "empty", "message": "", "seconds": 0.0, "peak": 300.0}
    if file.endswith("7"):
        %s
    print(json.dumps(told), flush=True)
"""


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("sys.exit('Segmentation fault')", "the process ended with 1: Segmentation fault"),
        ("time.sleep(60)", "no outcome for 0.5 s"),
        ("told['peak'] = 2000.0", "2000 MB"),
        ("told['word'] = 'internal-error'", "internal-error"),
        ("told['file'] = files[0]", "the outcome in its place is that of"),
        ("print('Error A')", "wrote to stdout: b'Error A'"),
        ("continue", "the outcome in its place is that of"),
    ],
)
def test_who_breaks_a_promise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, how: str
) -> None:
    monkeypatch.setattr(run, "TAG_ALL", [sys.executable, "-c", OUTCOME % fault])
    report = run.Report()
    files = [run.Fuzzed(str(number), b"", good=False) for number in range(10)]
    run.tag(files, tmp_path, {}, report, seconds=0.5)
    [(file, found)] = report.broken[:1]
    assert file.name == "7"
    assert how in found
    assert report.words.total() == 10


def test_a_good_file_that_is_tagged_otherwise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TAG_ALL", [sys.executable, "-c", OUTCOME % "told['word'] = 'too-short'"])
    report = run.Report()
    files = [run.Fuzzed(str(number), b"", good=True) for number in range(10)]
    run.tag(files, tmp_path, {b"": "empty"}, report, seconds=0.5)
    assert [(file.name, how) for file, how in report.broken] == [("7", "not as it is alone: too-short")]


@pytest.mark.parametrize(("count", "seed"), [(150, 0), pytest.param(2500, 1, marks=pytest.mark.slow)])
@pytest.mark.timeout(1800)
def test_damaged_recordings_keep_no_promise_from_being_kept(count: int, seed: int) -> None:
    report = run.run(count, seed, STALLED)
    assert [(file.name, how) for file, how in report.broken] == []
    assert report.words.total() == count
    assert len(report.words) > 4, "hardly anything was damaged"
