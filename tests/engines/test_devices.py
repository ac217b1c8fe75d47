"""What the names of devices and number formats stand for, and how those that are not there are refused."""

from __future__ import annotations

import pytest
import torch

from ast_cli.engines.devices import resolve_attention, resolve_device, resolve_dtype
from ast_cli.errors import EngineError, UsageError
from ast_cli.networks.processor import fastest_attention

CPU = torch.device("cpu")


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda")]
)
def test_auto_takes_the_fastest_that_is_there(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == expected
    assert resolve_device().type == expected


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda0", "meta", "xpu", "auto:0"]
)
def test_devices_that_nobody_has_are_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda, cuda:N or mps"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99"])
def test_cuda_where_there_is_none_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(EngineError, match="no CUDA device") as caught:
        resolve_device(name)
    assert "nvidia-smi" in caught.value.remedy
    assert "--device cpu" in caught.value.remedy


def test_a_cuda_device_beyond_the_last_is_an_error_that_names_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name).index for name in ("cuda", "cuda:0", "cuda:1")] == [None, 0, 1]
    with pytest.raises(EngineError, match=r"no device cuda:2: torch finds 2\. Choose cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_mps_where_there_is_none_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"no Apple GPU here\. Use --device cpu"):
        resolve_device("mps")


def test_number_formats_have_their_names() -> None:
    expected = {
        "auto": torch.float32,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    assert {name: resolve_dtype(name) for name in expected} == expected
    assert resolve_dtype() == torch.float32
    assert resolve_dtype("auto", torch.device("mps")) == torch.float32
    assert resolve_dtype("auto", torch.device("cuda")) == torch.float16


@pytest.mark.parametrize("name", ["float64", "int4", "half", "Float32", ""])
def test_other_number_formats_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="float32, bfloat16, float16"):
        resolve_dtype(name)


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", fastest_attention()), ("cuda", "sdpa"), ("mps", "sdpa")]
)
def test_auto_attention_is_the_fastest_of_the_device(device: str, expected: str) -> None:
    assert resolve_attention("auto", torch.device(device)) == expected
    assert resolve_attention("eager", torch.device(device)) == "eager"


def test_other_attentions_are_refused() -> None:
    with pytest.raises(UsageError, match="auto, sdpa, eager, heads, flash"):
        resolve_attention("fast", CPU)
