"""Memory where the system tells little of it."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import pytest
import torch

from ast_cli.bench import machine


def test_windows_has_no_resource_module_and_tells_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(sys, "platform", "win32")
    spec = find_spec(machine.__name__)
    assert spec is not None
    assert spec.loader is not None
    fresh = module_from_spec(spec)  # another copy, beside the one that others use
    spec.loader.exec_module(fresh)
    monkeypatch.setattr(fresh, "STATUS", Path("/nowhere"))
    assert fresh.Memory(torch.device("cpu")).peak() == 0


def test_a_machine_of_windows_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    for name in ("sysconf", "getloadavg", "sched_getaffinity"):
        monkeypatch.delattr(machine.os, name)
    described = machine.Machine.describe(torch.device("cpu"))
    assert (described.memory_mb, described.load) == (None, None)
