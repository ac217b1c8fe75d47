"""Memory where the system tells little of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from ast_cli.bench import machine, memory


def test_windows_has_no_resource_module_and_tells_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(sys, "platform", "win32")
    try:
        importlib.reload(memory)
        monkeypatch.setattr(memory, "STATUS", Path("/nowhere"))
        assert memory.Memory(torch.device("cpu")).peak() == 0
    finally:
        monkeypatch.undo()
        importlib.reload(memory)


def test_a_machine_of_windows_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    for name in ("sysconf", "getloadavg", "sched_getaffinity"):
        monkeypatch.delattr(machine.os, name)
    described = machine.Machine.describe(torch.device("cpu"))
    assert (described.memory_mb, described.load) == (None, None)
