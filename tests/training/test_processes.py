"""Several processes train what one with a larger batch trains."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.runner import ROOT, environment

# Gradients are summed in another order, which Adam's first steps take for more where a gradient is near 0.
TOLERANCE = 1e-4


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run(folder: Path, processes: int, *args: str, codes: int = 0) -> Any:
    """Train with so many processes to the end; returns what the first one tells."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.one_process", folder, *args],
            cwd=ROOT,
            env=environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(processes),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
                OMP_NUM_THREADS="1",
            ),
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]
    errors = [process.communicate(timeout=200)[1].decode() for process in started]
    assert [process.returncode for process in started] == [codes] * processes, errors
    return None if codes else torch.load(folder / "end.pt", weights_only=True)


def difference(one: Any, other: Any) -> float:
    return max(
        float((one[what][name] - other[what][name]).abs().max())
        for what in ("weights", "average")
        for name in one[what]
    )


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    two = run(tmp_path / "two", 2, "3", "12", "0")
    one = run(tmp_path / "one", 1, "6", "12", "0")
    assert two["steps"] == one["steps"] == 4
    assert two["clips"] == one["clips"] == 24
    assert two["failed"] == one["failed"] == ["3.wav", "5.wav"]
    assert difference(two, one) < TOLERANCE
    expected = torch.load(tmp_path / "one/scores-0.pt", weights_only=True)
    for rank in range(2):  # each sees all clips, each once, without the one that cannot be read
        scores, targets = torch.load(tmp_path / f"two/scores-{rank}.pt", weights_only=True)
        assert len(scores) == 6
        assert torch.equal(targets, expected[1])
        torch.testing.assert_close(scores, expected[0], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_two_processes_go_on_as_if_they_had_not_been_killed(tmp_path: Path) -> None:
    # 10 clips for 2 × 3: the last batches are filled up from the order's start, also after a resume.
    expected = run(tmp_path / "whole", 2, "3", "10", "0")
    assert (expected["steps"], expected["clips"]) == (4, 24)
    run(tmp_path / "cut", 2, "3", "10", "4", codes=9)
    found = run(tmp_path / "cut", 2, "3", "10", "0", "resume")
    assert difference(found, expected) < 1e-6
    assert found["clips"] == 24
