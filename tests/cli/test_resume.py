"""Runs that are really ended, and go on: the command in a process of its own, killed at any moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import ExitCode
from tests.cli.runner import in_a_process, start

COUNT = 40


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings of 0.3 to 6 s, with a bad one among them."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        samples = 0.1 * rng.standard_normal(int(rng.uniform(0.3, 6) * 16_000))
        (folder / f"{number % 3}").mkdir(exist_ok=True)
        soundfile.write(folder / f"{number % 3}" / f"{number}.wav", samples, 16_000)
    (folder / "1" / "bad.wav").write_text("This is no recording.")
    return folder


def arguments(recordings: Path, checkpoint: Path, out: Path, *more: str) -> list[str]:
    return [str(recordings), "-m", str(checkpoint), "-o", str(out), "-b1", "--timeline", "--events", *more]


@pytest.fixture(scope="module")
def whole(recordings: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that nobody interrupts leaves."""
    out = tmp_path_factory.mktemp("whole") / "out.jsonl"
    assert in_a_process(*arguments(recordings, checkpoint, out)).code == ExitCode.SOME_FAILED
    return out.read_bytes()


def end_at_some_moment(process: subprocess.Popen[bytes], out: Path, how: int, rng: random.Random) -> None:
    """Once it has begun to write, and before or after it has ended: wherever chance will have it."""
    journal = Path(f"{out}.journal")
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 1.0))
    process.send_signal(how)
    process.communicate(timeout=120)


def check_once(recordings: Path, checkpoint: Path, whole: bytes, folder: Path, how: int, seed: int) -> None:
    rng = random.Random(seed)
    out = folder / f"{seed}.jsonl"
    for _ in range(rng.choice([1, 1, 2])):
        workers = str(rng.choice([1, 2, 5]))
        with start(*arguments(recordings, checkpoint, out, "--resume", "--workers", workers)) as process:
            end_at_some_moment(process, out, how, rng)
    done = in_a_process(*arguments(recordings, checkpoint, out, "--resume"))
    assert done.code in (ExitCode.OK, ExitCode.SOME_FAILED), done.err  # it may have ended before
    assert out.read_bytes() == whole
    assert Path(f"{out}.journal").exists()  # of the recording that failed, which may be tried again


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_ended_goes_on_to_the_same_results(
    how: int, recordings: Path, checkpoint: Path, whole: bytes, tmp_path: Path
) -> None:
    check_once(recordings, checkpoint, whole, tmp_path, how, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_so_it_does_thirty_times(
    how: int, recordings: Path, checkpoint: Path, whole: bytes, tmp_path: Path
) -> None:
    for seed in range(1, 31):
        check_once(recordings, checkpoint, whole, tmp_path, how, seed)


def test_with_full_batches_scores_differ_by_rounding_only(
    recordings: Path, checkpoint: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with start(*arguments(recordings, checkpoint, out, "-b7", "--resume")) as process:
        end_at_some_moment(process, out, signal.SIGKILL, random.Random(3))
    in_a_process(*arguments(recordings, checkpoint, out, "-b5", "--resume"))
    lines, expected = out.read_text().splitlines(), whole.decode().splitlines()
    assert len(lines) == len(expected) == COUNT + 1
    for line, its in zip(map(json.loads, lines), map(json.loads, expected), strict=True):
        assert line["file"] == its["file"]
        if "error" in its:
            assert line == its
            continue
        for one, other in zip(line["windows"], its["windows"], strict=True):
            scores, others = ({tag["index"]: tag["score"] for tag in w["tags"]} for w in (one, other))
            for index in scores.keys() & others.keys():
                assert scores[index] == pytest.approx(others[index], abs=1e-5)
