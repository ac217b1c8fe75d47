"""What the figures were measured on, and how much memory they took."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest
import torch

from ast_cli.bench.machine import STATUS, Machine, Memory

CPU = torch.device("cpu")


def test_the_machine_is_named() -> None:
    machine = Machine.describe(CPU)
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.threads == torch.get_num_threads()
    assert (machine.gpu, machine.gpu_memory_mb) == (None, None)
    assert machine.versions["torch"] == version("torch")
    assert machine.versions["Python"] == platform.python_version()


@pytest.mark.skipif(not STATUS.exists(), reason="peaks can be forgotten on Linux only")
def test_a_peak_counts_what_is_gone_again_but_not_what_was_before_the_mark() -> None:
    memory = Memory(CPU)
    gone = torch.ones(1 << 26)  # 256 MB
    assert memory.peak() > 256
    del gone
    at_rest = memory.mark()
    assert memory.peak() - at_rest < 64
    gone = torch.ones(1 << 25)
    del gone
    assert 96 < memory.peak() - at_rest < 192


def test_what_was_loaded_between_two_marks_is_told_as_if_alone() -> None:
    memory = Memory(CPU)
    base = memory.own(0.0, 0.0)
    assert memory.own(before=1000.0, after=1346.0) == base + 346
