"""Muon beside torch's own, and in the number format that suits the processor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from ast_cli.training import optimizers, processes
from ast_cli.training.optimizers import Muon, orthogonal
from ast_cli.training.settings import TrainSettings
from tests.training.practice import train

SHAPES = ((192, 192), (576, 192), (192, 768))


def weights(seed: int = 0) -> list[torch.nn.Parameter]:
    drawn = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in SHAPES]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has no Muon before 2.9")
@pytest.mark.parametrize(("is_native", "tolerance"), [(True, 0.0), (False, 0.05)])
def test_it_is_torchs(is_native: bool, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit in bfloat16; in float32 within what bfloat16 rounds away of the way that weights go."""
    monkeypatch.setattr(optimizers, "has_bfloat16", lambda device: is_native)
    ours, theirs = weights(), weights()
    one = Muon(ours, lr=0.02, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for mine, its, gradient in zip(ours, theirs, weights(step + 1), strict=True):
            mine.grad, its.grad = gradient.detach().clone(), gradient.detach().clone()
        one.step()
        other.step()
    moved = [(mine - before).norm() for mine, before in zip(ours, weights(), strict=True)]
    for mine, its, far in zip(ours, theirs, moved, strict=True):
        assert float(((mine - its).norm() / far).detach()) <= tolerance
    # A run that torch's own began goes on.
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    assert torch.equal(one.state[ours[0]]["momentum_buffer"], other.state[theirs[0]]["momentum_buffer"])


def test_a_matrix_becomes_nearly_orthogonal() -> None:
    """Five steps bring what is 0.01 of the norm or more to about one."""
    matrix = torch.diag(torch.linspace(1, 3, 20)) @ torch.eye(20, 30)
    for one in (matrix, matrix.T):
        values = torch.linalg.svdvals(orthogonal(one, torch.float32))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


@pytest.mark.parametrize(
    ("capability", "instructions", "expected"),
    [
        ("AVX512", {"avx512_bf16": True}, torch.bfloat16),
        ("AVX512", {"avx512_bf16": False}, torch.float32),
        ("AVX2", {"avx2": True}, torch.float32),
        ("AVX2", {"avx512_bf16": True}, torch.float32),  # held below what the processor has
    ],
)
def test_a_processor_that_imitates_bfloat16_is_spared_it(
    capability: str,
    instructions: dict[str, bool],
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert processes.has_bfloat16(torch.device("cpu")) is (expected == torch.bfloat16)
    used: set[torch.dtype] = set()

    def seen(matrix: torch.Tensor, dtype: torch.dtype) -> Any:
        used.add(dtype)
        return orthogonal(matrix, dtype)

    monkeypatch.setattr(optimizers, "orthogonal", seen)
    train(tmp_path, TrainSettings(epochs=1, batch_size=10, optimizer="muon"))
    assert used == {expected}


def test_a_torch_without_muon_has_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    outcome = train(tmp_path, TrainSettings(epochs=1, batch_size=10, optimizer="muon"))
    assert outcome.steps == 1
