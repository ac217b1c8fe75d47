"""Where the time of a run is said to go."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli import Tagger
from ast_cli.pipeline import pipeline
from ast_cli.pipeline.counters import STAGES, Counters, Spent, StageClock
from ast_cli.pipeline.process_pool import Decoders
from tests.made_up import made_up

FILES = 6


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2))
    for number in range(FILES):
        soundfile.write(tmp_path / f"{number}.wav", noise, 44_100)
    return [str(path) for path in sorted(tmp_path.glob("*.wav"))]


def test_each_stage_has_the_core_seconds_that_it_took() -> None:
    clock = StageClock()
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    clock.lap("mix")
    time.sleep(0.05)  # takes no core
    clock.lap("resample")
    spent = dict(zip(STAGES, clock.take().seconds, strict=True))
    assert 0.05 <= spent["mix"] < 0.2
    assert spent["resample"] < 0.04
    assert clock.take().seconds == (0.0,) * len(STAGES)


def test_the_counters_of_a_run_on_threads(checkpoint: Path, recordings: list[str]) -> None:
    tagger = Tagger.from_pretrained(checkpoint, device="cpu")
    assert len([*tagger.tag_many(recordings, workers=2)]) == FILES
    counters = tagger.counters
    assert (counters.recordings, counters.in_processes, counters.decoded_by) == (FILES, 0, "2 threads")
    assert all(counters.stages[stage] > 0 for stage in STAGES)
    assert counters.process_core >= sum(counters.stages.values())
    waits = (counters.waited_for_recordings, counters.starting, counters.waited_for_scores)
    assert 0 < sum(waits) <= counters.wall
    assert counters.to_dict()["core_ms_per_recording"].keys() == {*STAGES}
    assert f"{FILES} recordings decoded by 2 threads" in counters.in_words()


@pytest.mark.skipif(sys.platform != "linux", reason="on threads only, on this system")
def test_the_counters_of_a_run_in_processes(
    checkpoint: Path, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = Tagger.from_pretrained(checkpoint, device="cpu")
    monkeypatch.setattr(tagger.engines[0], "takes_waveforms", True)
    monkeypatch.setattr(tagger, "_start", lambda windows: lambda: np.zeros((len(windows), 527), np.float32))
    monkeypatch.setattr(pipeline, "PROCESSES_AFTER", 0)
    monkeypatch.setattr(pipeline, "LEAST_PROCESSES", 1)
    assert len([*tagger.tag_many(recordings, workers=1)]) == FILES
    counters = tagger.counters
    assert (counters.recordings, counters.in_processes, counters.decoded_by) == (FILES, FILES, "1 process")
    assert counters.stages["read"] > 0


def test_who_decoded_is_told_in_words() -> None:
    counters = Counters(workers=1)
    assert counters.decoded_by == "1 thread"
    assert counters.milliseconds() == {}
    counters.begin()
    for process in (1, 2):
        counters.add(Spent(process, (0.001,) * len(STAGES)))
    assert counters.decoded_by == "2 processes"
    assert counters.milliseconds() == dict.fromkeys(STAGES, pytest.approx(1.0))


def test_where_no_process_can_be_started_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    told: list[str] = []
    with closing(Decoders(made_up, after=0, on_notice=told.append)) as decoders:
        for name in ("1", "2"):
            assert [*decoders.items(name)]
    assert told == [
        "no more decoding processes can be started (No such file or directory): threads decode, which may be "
        "slower"
    ]
