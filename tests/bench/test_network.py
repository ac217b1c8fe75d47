"""Ways of running a small network of random weights: all figures are there, whatever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ast_cli.bench import network
from ast_cli.bench.network import bench_network
from ast_cli.bench.peer import TransformersEngine
from ast_cli.bench.request import Request
from ast_cli.bench.roofline import window_flops
from ast_cli.bench.stages import STAGES
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import open_engine
from ast_cli.engines.torch_engine import TorchEngine
from ast_cli.errors import CheckpointError, EngineError, TooLittleMemoryError
from ast_cli.networks.config import ASTConfig
from ast_cli.settings import ModelSettings

CPU = torch.device("cpu")


def quick(checkpoint: Path, **more: Any) -> Request:
    return Request(model=str(checkpoint), device="cpu", batch_sizes=(1, 2), repeats=2, **more)


def test_every_way_is_run_with_every_size_of_batch(checkpoint: Path) -> None:
    document = bench_network(quick(checkpoint))
    assert [(run.attn, run.batch_size) for run in document.runs] == [
        (attn, size) for attn in ("eager", "sdpa", "heads") for size in (1, 2)
    ]
    for run in document.runs:
        assert (run.engine, run.dtype, run.device, run.compile) == ("torch", "float32", "cpu", False)
        assert (*run.stages,) == STAGES
        assert sum(stage.share for stage in run.stages.values()) == pytest.approx(1)
        assert run.stages["model"].median == run.ms_per_window.median
        assert run.windows_per_s == pytest.approx(1000 / run.ms_per_window.median)
        assert run.x_realtime == pytest.approx(run.windows_per_s * 1.28)
        assert run.peak_memory_mb is not None
        assert run.peak_memory_mb > 0
        assert run.roofline is not None
        flops = window_flops(ASTConfig.from_pretrained(checkpoint), whole=run.attn == "eager")
        assert run.attn == "eager" or flops == document.flops_per_window
        assert run.roofline.flops == pytest.approx(flops * run.windows_per_s)
        assert run.roofline.ratio == pytest.approx(run.roofline.flops / run.roofline.gemm_flops)
        assert run.deviation is not None
        assert run.deviation < 1e-5


def test_a_coarser_format_deviates_more(checkpoint: Path) -> None:
    document = bench_network(quick(checkpoint, dtype="bfloat16", attn=("sdpa",)))
    [deviation] = {run.deviation for run in document.runs}
    assert deviation is not None
    assert 1e-4 < deviation < 0.1


def test_what_cannot_run_is_told_and_the_others_go_on(checkpoint: Path) -> None:
    told: list[str] = []
    document = bench_network(quick(checkpoint, attn=("cudnn", "eager")), on_notice=told.append)
    assert {run.attn for run in document.runs} == {"eager"}
    assert {(failure.name, failure.batch_size) for failure in document.failures} == {("cudnn", 1)}
    assert told == ["cudnn: cpu has no cudnn attention for float32. Use --attn sdpa, which picks one"]


def test_compiled_networks_are_compiled_for_every_size_of_batch(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: set[int] = set()

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        # The network's parameters are inputs too; of three dimensions are the windows and [1, N, D].
        compiled.update(one.shape[0] for one in inputs if isinstance(one, Tensor) and one.ndim == 3)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **_: compile_(network, backend=backend, dynamic=False)
    )
    sizes = (1, 2, 3, 4, 5, 6)  # of two attentions: more than torch keeps of one function
    bench_network(Request(str(checkpoint), device="cpu", batch_sizes=sizes, repeats=1, compile=True))
    assert compiled == set(sizes)


def test_if_nothing_can_run_that_is_an_error(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="cudnn: cpu has no cudnn attention"):
        bench_network(quick(checkpoint, attn=("cudnn",)))


def test_a_batch_that_is_too_large_leaves_the_smaller_ones(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = TorchEngine.logits

    def one_at_most(self: TorchEngine, windows: Tensor) -> Tensor:
        if len(windows) > 1:
            raise TooLittleMemoryError("cpu has too little memory for 2 windows at once")
        return logits(self, windows)

    monkeypatch.setattr(TorchEngine, "logits", one_at_most)
    document = bench_network(quick(checkpoint, attn=("eager",)))
    assert [run.batch_size for run in document.runs] == [1]
    assert [failure.batch_size for failure in document.failures] == [2]


def test_steps_are_told_as_they_come(checkpoint: Path) -> None:
    steps: list[str] = []
    bench_network(quick(checkpoint, attn=("eager", "sdpa")), on_step=steps.append)
    assert "2 at once: eager, sdpa in turns" in steps


# Beside transformers


def test_the_peer_gives_the_same_logits(checkpoint: Path) -> None:
    opened = Checkpoint.open(checkpoint)
    ours, _ = open_engine(opened, ModelSettings(device="cpu", attn="eager"))
    windows = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
    theirs = TransformersEngine(opened, CPU, torch.float32)
    torch.testing.assert_close(theirs.logits(windows), ours.logits(windows), rtol=0, atol=1e-4)
    assert (theirs.name, theirs.attn, theirs.dtype) == ("transformers", "sdpa", "float32")


def test_the_ratio_to_the_peer_is_of_times_taken_in_turns(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turns(runs: Sequence[Callable[[], object]], repeats: int, stopwatch: object) -> list[list[float]]:
        assert len(runs) == 2
        return [[0.010, 0.012], [0.021, 0.023]]  # ours, theirs

    monkeypatch.setattr(network, "take_turns", turns)
    document = bench_network(quick(checkpoint, attn=("heads",), peer="transformers"))
    assert [(run.engine, run.attn) for run in document.runs[1:3]] == [
        ("torch", "heads"),
        ("transformers", "sdpa"),
    ]
    assert [(one.against, one.batch_size, round(one.speedup, 6)) for one in document.speedup] == [
        ("transformers", 1, 2.0),
        ("transformers", 2, 2.0),
    ]
    assert document.runs[0].ms_per_window.median == pytest.approx(11.0)
    assert document.runs[1].ms_per_window.median == pytest.approx(5.5)  # two windows in the same time


def test_weights_that_transformers_would_not_read_are_not_timed(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        name = "epoch-3.safetensors" if file.suffix == ".safetensors" else file.name
        (tmp_path / name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=r"epoch-3\.safetensors"):
        bench_network(quick(tmp_path / "epoch-3.safetensors", peer="transformers"))


# By OpenVINO


@pytest.fixture
def openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed; what it converts is kept for this test only."""
    pytest.importorskip("openvino")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))


@pytest.mark.usefixtures("openvino")
def test_openvino_is_one_way_whatever_attention_is_asked_for(checkpoint: Path) -> None:
    request = quick(checkpoint, engine="openvino", attn=("eager", "heads"), peer="transformers")
    document = bench_network(request)
    assert [run.name for run in document.runs] == ["openvino", "openvino", "transformers", "transformers"]
    assert document.runs[0].deviation is not None
    assert document.runs[0].deviation < 1e-5
    assert [(one.name, one.against) for one in document.speedup] == [("openvino", "transformers")] * 2


@pytest.mark.usefixtures("openvino")
def test_in_int8_the_peer_runs_in_float32(checkpoint: Path) -> None:
    told: list[str] = []
    request = quick(checkpoint, engine="openvino", dtype="int8", peer="transformers")
    document = bench_network(request, on_notice=told.append)
    assert [run.dtype for run in document.runs] == ["int8", "int8", "float32", "float32"]
    assert document.runs[0].roofline is None  # torch multiplies no whole numbers of 8 bits
    assert "transformers has no int8 network of this kind: it runs in float32" in told
