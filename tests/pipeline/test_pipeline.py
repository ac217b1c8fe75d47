"""The flow of recordings with decoding in child processes against the one on threads: no bit differs."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli import FileFailure, Tagger
from ast_cli.audio.decode import open_recording
from ast_cli.errors import ExitCode
from ast_cli.pipeline import pipeline as flow
from tests.cli.runner import start
from tests.pipeline.test_decoding_processes import is_there
from tests.pipeline.test_readahead import wait_until

pytestmark = [
    pytest.mark.posix("processes that share memory"),
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="on threads only, on this system"),
]

WORKERS = 4


@pytest.fixture
def tagger(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Tagger:
    """One that takes waveforms, as on CUDA."""
    tagger = Tagger.from_pretrained(checkpoint, device="cpu")
    monkeypatch.setattr(tagger.engines[0], "takes_waveforms", True)
    return tagger


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Recordings of one to ten windows, at several rates, some of them damaged; and what is none."""
    generator = np.random.default_rng(0)
    for name, seconds, rate in (
        ("a.wav", 0.5, 44_100),
        ("b.flac", 12.0, 48_000),
        ("caf\udce9.wav", 2.0, 16_000),
        ("cut.flac", 6.0, 44_100),
        ("z.wav", 1.3, 16_000),
    ):
        samples = 0.1 * generator.standard_normal((round(seconds * rate), 2))
        with (tmp_path / name).open("wb") as file:
            soundfile.write(file, samples, rate, format=name.rpartition(".")[2])
    cut = tmp_path / "cut.flac"
    cut.write_bytes(cut.read_bytes()[:-10_000])
    (tmp_path / "notes.wav").write_text("This is no recording.")
    return [*map(str, sorted(tmp_path.iterdir())), str(tmp_path / "missing.wav")]


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(
    "options",
    [
        {"short": "crop", "hop": 0.3, "channel": 2},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"short": "repeat"}, marks=pytest.mark.slow),
    ],
)
def test_child_processes_give_the_same_results_in_the_same_order(
    tagger: Tagger, recordings: list[str], monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    def tagged(names: list[str]) -> list[object]:
        outcomes = tagger.tag_many(names, batch_size=3, workers=WORKERS, top_k=0, timeline=True, **options)
        return [(one, getattr(one, "stamp", None)) for one in outcomes]

    opened_here = []

    def watched(path: str) -> object:
        opened_here.append(path)
        return open_recording(path)

    monkeypatch.setattr("ast_cli.pipeline.windows.open_recording", watched)
    names = recordings * 3
    expected = tagged(names)
    assert sorted(opened_here) == sorted(names)
    opened_here.clear()
    monkeypatch.setattr(flow, "PROCESSES_AFTER", 0)
    assert tagged(names) == expected
    assert opened_here == []


def test_names_that_only_this_process_knows_stay_with_it(
    tagger: Tagger, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "PROCESSES_AFTER", 0)
    with Path(recordings[0]).open("rb") as file:
        before, shown, after = tagger.tag_many(
            [recordings[0], f"/dev/fd/{file.fileno()}", recordings[0]], workers=WORKERS
        )
    assert before.tags == shown.tags == after.tags


def test_closing_in_the_middle_ends_the_processes(
    tagger: Tagger, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "PROCESSES_AFTER", 0)
    before = descriptors()
    outcomes = tagger.tag_many(recordings * 100, workers=WORKERS)
    assert not isinstance(next(outcomes), FileFailure)
    outcomes.close()
    assert descriptors() == before


@pytest.mark.parametrize(
    ("takes_waveforms", "workers", "files"), [(False, 4, 120), (True, 3, 120), (True, 4, 60)]
)
def test_slow_networks_few_workers_and_short_runs_start_no_processes(
    tagger: Tagger,
    recordings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    takes_waveforms: bool,
    workers: int,
    files: int,
) -> None:
    monkeypatch.setattr(tagger.engines[0], "takes_waveforms", takes_waveforms)
    monkeypatch.setattr("subprocess.Popen", None)
    outcomes = tagger.tag_many(recordings[:1] * files, workers=workers)
    assert len([*outcomes]) == files


def children(process: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def test_ctrl_c_ends_the_run_and_its_processes_and_nothing_else_is_said(
    checkpoint: Path, recordings: list[str], tmp_path: Path
) -> None:
    before = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ast_cli.pipeline import pipeline as p; p.Pipeline._take_waveforms = True; p.PROCESSES_AFTER = 0"
    )
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    arguments = ("-m", checkpoint, "-o", out, "-b1", "--workers", str(WORKERS), *recordings[:1] * 3000)
    with start(*arguments, before=before, start_new_session=True) as process:
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b'"file"') >= 3)
        started = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == ExitCode.INTERRUPTED
    *_, last = err.splitlines()
    assert last == "ast-tag: interrupted"
    assert "Traceback" not in err
    assert len(started) > 1
    wait_until(lambda: not any(map(is_there, started)))
