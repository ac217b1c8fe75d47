"""The scripts whose figures the README shows: they run, and tell what they should; how fast is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import ROOT, environment

SCRIPTS = ROOT / "tools" / "benchmarks"


def script(name: str, *arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, SCRIPTS / name, *arguments], check=True, env=environment(), timeout=200, cwd=ROOT
    )


@pytest.mark.slow
def test_ways_are_compared_with_the_pipeline_and_drawn(checkpoint: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "cpu.json", tmp_path / "cpu.png"
    ways = ["torch float32", "openvino bfloat16"]
    script("side_by_side.py", "--out", out, "--checkpoint", checkpoint, "--clips", "2", "--ways", *ways)
    document = json.loads(out.read_text())
    assert document["clips"] == 2
    assert [*document["ways"]] == ["transformers", *ways]
    for way, figures in document["ways"].items():
        # The pipeline hears the first window of a clip; this checkpoint's are of 1.28 s.
        assert figures["score_deviation"] == 0 if way == "transformers" else figures["score_deviation"] < 1
        assert figures["whole_s"] > 0
        assert figures["peak_memory_mb"] > 100
    script("draw.py", out, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_cost_of_one_more_clip_is_told(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "flat.json"
    script("flat.py", "--out", out, "--model", checkpoint, "--files", "1", "12")
    document = json.loads(out.read_text())
    assert document["seconds"].keys() == {"1", "12"}
    assert document["ms_a_clip_more"].keys() == {"1 to 12"}


@pytest.mark.parametrize("way", ["torch float32", "openvino float32"])
def test_the_figures_that_are_shown_are_those_that_were_measured(way: str) -> None:
    """README's table is `cpu.json`, and what it promises holds there."""
    ways = json.loads((SCRIPTS / "cpu.json").read_text())["ways"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| {ways[way]['times_as_fast']:.2f} | 0.000001" in readme
    assert f"{ways[way]['peak_memory_mb']:,} MB" in readme
    assert ways[way]["score_deviation"] < 1e-4
    assert ways[way]["same_first_label"] == 1
    assert ways[way]["peak_memory_mb"] < ways["transformers"]["peak_memory_mb"]


def test_the_figures_of_a_gpu_are_those_that_were_measured() -> None:
    """README's second table is `cuda.json`, where float32 with eager attention is several times as slow."""
    documents = json.loads((SCRIPTS / "cuda.json").read_text())["runs"]

    def taken(document: dict[str, Any]) -> dict[tuple[str, int], float]:
        """Milliseconds of a batch, by engine and size."""
        runs = [
            (run["engine"], run["batch_size"], run["ms_per_window"]["median"]) for run in document["runs"]
        ]
        return {(engine, size): size * median for engine, size, median in runs}

    eager, installed, compiled = map(taken, documents)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for size, times in ((1, 4.5), (2, 2.0), (4, 2.62), (8, 2.86)):
        ours, peer = installed["torch", size], installed["transformers", size]
        figures = [eager["torch", size], ours, compiled["torch", size], peer]
        assert f"| {size} | {' | '.join(f'{one:.2f}' for one in figures)} |" in readme
        assert eager["torch", size] / ours > times  # how much sdpa gains in the documentation of transformers
    runs = [run for one in documents for run in one["runs"]]
    deviations = [run["deviation"] for run in runs if run["engine"] == "torch"]
    assert max(deviations) < 0.0009
