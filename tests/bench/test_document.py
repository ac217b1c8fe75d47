"""The JSON document, and ratios worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ast_cli.bench.document import Document, Measurement, Stage, as_stages
from ast_cli.bench.machine import Machine
from ast_cli.bench.picture import draw
from ast_cli.bench.timing import Spread
from ast_cli.errors import EngineError, OutputError


def run(attn: str, batch_size: int, ms: float, engine: str = "torch") -> Measurement:
    """A run that took so many milliseconds a window."""
    stages = as_stages({"decode": Spread(1, 1, 1), "model": Spread(ms, ms - 1, ms + 1)})
    spread = Spread(ms, ms - 1, ms + 1)
    a_second = 1000 / ms
    return Measurement(
        attn, engine, "float32", "cpu", False, batch_size, spread, a_second, a_second, 700.0, stages
    )


def document(*runs: Measurement) -> Document:
    return Document(["ast-tag", "bench"], "tiny", Machine.describe(torch.device("cpu")), [*runs], 3)


DOCUMENT = document(
    run("eager", 1, 200),
    run("eager", 8, 100),
    run("sdpa", 1, 100),
    run("sdpa", 8, 80),
    run("sdpa", 8, 160, engine="transformers"),
)


def test_shares_are_parts_of_all_stages() -> None:
    stages = as_stages({"decode": Spread(1, 1, 1), "model": Spread(3, 2, 4)})
    assert stages == {"decode": Stage(1, 1, 1, 0.25), "model": Stage(3, 2, 4, 0.75)}


def test_every_way_is_compared_with_eager_and_ours_with_transformers() -> None:
    assert [(one.name, one.against, one.batch_size, one.speedup) for one in DOCUMENT.speedup] == [
        ("sdpa", "eager", 1, 2.0),
        ("sdpa", "eager", 8, 1.25),
        ("transformers", "eager", 8, 0.625),
        ("sdpa", "transformers", 8, 2.0),
    ]
    assert DOCUMENT.speedup[1].ms_per_batch == 640
    assert DOCUMENT.speedup[1].against_ms_per_batch == 800


def test_the_fastest_is_one_of_ours() -> None:
    assert DOCUMENT.fastest == run("sdpa", 8, 80)
    assert document(run("sdpa", 1, 9), run("sdpa", 1, 5, engine="transformers")).fastest.engine == "torch"


def test_the_document_survives_json_and_has_the_keys_that_were_promised() -> None:
    contents = DOCUMENT.to_dict()
    assert json.loads(json.dumps(contents, allow_nan=False)) == contents
    assert contents["schema"] == "ast-bench/1"
    assert {"command", "machine", "runs", "speedup"} <= contents.keys()
    for one in contents["runs"]:
        assert one["ms_per_window"].keys() == {"median", "q1", "q3"}
        assert one.keys() >= {"attn", "engine", "dtype", "device", "compile", "batch_size", "stages"}
        assert one.keys() >= {"windows_per_s", "x_realtime", "peak_memory_mb", "roofline", "deviation"}


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    draw(tmp_path / "speed.png", DOCUMENT)
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        draw(tmp_path / "missing" / "speed.png", DOCUMENT)


def test_without_matplotlib_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"pip install 'ast-cli\[plot\]'"):
        draw(tmp_path / "speed.png", DOCUMENT)
