"""The benchmark of memory works; what it measures is told by running it whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc/self/status")
def test_a_case_of_each_kind_runs_and_tells_its_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LENGTHS", memory.LENGTHS[-1:])
    resumed = "list, resumed at 90 %: jsonl"
    monkeypatch.setattr(memory, "NUMBERS", {resumed: memory.NUMBERS[resumed]})
    lines: list[str] = []
    pairs = memory.measure((2, 12), (1, 30), lines.append)
    assert [str(pair) for pair in pairs] == lines
    assert len(pairs) == 2
    for pair in pairs:
        assert 50 < pair.small.peak_mb < 5000
        assert pair.small.cpu_seconds > 0.1
