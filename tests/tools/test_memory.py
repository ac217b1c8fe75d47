"""The benchmark of memory works; what it measures is told by running it whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.benchmarks.memory import LENGTHS, Bench, Pair, Run

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peaks are read in /proc/self/status"
)


@pytest.mark.slow
def test_a_case_of_each_kind_runs_and_tells_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.benchmarks.memory.LENGTHS", LENGTHS[-1:])
    bench = Bench(tmp_path)
    [pair] = bench.lengths(1, 30)
    for run in (pair.small, pair.large, bench.resumed(12)):
        assert 50 < run.peak_mb < 5000
        assert run.cpu_seconds > 0.1
    assert not [*tmp_path.glob("out.*")]


def test_a_pair_says_how_much_more_the_large_case_takes() -> None:
    pair = Pair("flat folder: csv", (200, 2200), Run(400.0, 3.0, 2.0), Run(500.0, 7.0, 5.5))
    assert pair.growth == 1.25
    assert str(pair) == (
        "flat folder: csv                    400 ->    500 MB, × 1.250; 3.0 -> 7.0 s, of CPU 2.0 -> 5.5 s, "
        "2.00 ms a file"
    )
