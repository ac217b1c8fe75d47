"""The fast ways of linear layers and attention against torch's own, for formats, shapes and thread counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ast_cli.networks import kernels
from ast_cli.networks.kernels import Linear, attention_by_heads

# Sums of 768 products of unit normals; both sides round in their own order.
SUMS = {torch.float32: 2e-4, torch.bfloat16: 0.5}
CONTEXT = {torch.float32: 1e-5, torch.bfloat16: 0.02}
each_format = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[True, False], ids=["oneDNN", "MKL"])
def onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where products are faster by the one, and where by the other."""
    monkeypatch.setattr(kernels, "products_want_onednn", lambda: request.param)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def convolutions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the products that are computed as convolutions."""
    seen: list[tuple[int, ...]] = []
    own = kernels._convolve

    def convolve(rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
        seen.append((*rows.shape, len(columns)))
        return own(rows, columns, bias)

    monkeypatch.setattr(kernels, "_convolve", convolve)
    return seen


@pytest.mark.usefixtures("threads", "onednn")
@each_format
@pytest.mark.parametrize("shape", [(768,), (5, 768), (3, 146, 768), (2, 3, 50, 768), (0, 768)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_torchs(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    ours = Linear(768, 97, bias=bias)
    theirs = torch.nn.Linear(768, 97, bias=bias)
    with torch.no_grad():
        ours.weight.copy_(noise(97, 768))
    theirs.load_state_dict(ours.state_dict())
    ours, theirs, rows = ours.to(dtype), theirs.to(dtype), noise(*shape, seed=1).to(dtype)
    with torch.inference_mode():
        found = ours(rows)
        assert found.shape == (*shape[:-1], 97)
        assert found.is_contiguous()
        torch.testing.assert_close(found, theirs(rows), rtol=0, atol=SUMS[dtype])


@pytest.mark.usefixtures("onednn")
def test_rows_may_lie_in_memory_as_they_like() -> None:
    layer, rows = Linear(64, 32), noise(64, 200).T
    with torch.inference_mode():
        torch.testing.assert_close(layer(rows), F.linear(rows, layer.weight, layer.bias), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_only_float32_without_gradients_and_of_many_rows_is_a_convolution(
    convolutions: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "products_want_onednn", lambda: True)
    layer, rows = Linear(64, 32), noise(100, 64)
    layer(rows).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        layer(rows[:63])
        assert not convolutions
        layer(rows)
        assert convolutions == [(100, 64, 32)]
        layer.bfloat16()(rows.bfloat16())
        monkeypatch.setattr(kernels, "products_want_onednn", lambda: False)
        layer.float()(rows)
        assert len(convolutions) == 1


@pytest.mark.usefixtures("threads", "onednn")
@each_format
@pytest.mark.parametrize(
    ("windows", "heads", "tokens", "width"), [(2, 3, 146, 64), (1, 1, 1, 2), (1, 2, 3, 8)]
)
def test_attention_by_heads_is_torchs(
    windows: int, heads: int, tokens: int, width: int, dtype: torch.dtype
) -> None:
    qkv = noise(windows, tokens, 3, heads, width).to(dtype)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(query, key, value)
    with torch.inference_mode():
        found = attention_by_heads(query, key, value)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=CONTEXT[dtype])


def test_attention_by_heads_has_torchs_gradients() -> None:
    parts = [noise(1, 2, 70, 8, seed=seed).requires_grad_() for seed in range(3)]
    weights = noise(1, 2, 70, 8, seed=3)
    found = torch.autograd.grad((attention_by_heads(*parts) * weights).sum(), parts)
    expected = torch.autograd.grad((F.scaled_dot_product_attention(*parts) * weights).sum(), parts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_the_largest_scores_do_not_overflow() -> None:
    """Scores of 1,000: their exponentials are no numbers, their shares are."""
    query = key = torch.full((1, 1, 80, 64), 11.2)
    value = noise(1, 1, 80, 64)
    with torch.inference_mode():
        found = attention_by_heads(query, key, value)
    torch.testing.assert_close(found, value.mean(dim=2, keepdim=True).expand_as(found), rtol=0, atol=1e-5)
