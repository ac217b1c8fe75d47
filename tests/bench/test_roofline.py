"""The operations of a window against torch's own counter, and the fastest product."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ast_cli.bench.roofline import fastest_product, num_tokens, window_flops
from ast_cli.bench.timing import Stopwatch
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig
from tests.random_checkpoint import random_config

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "config",
    [
        random_config(),
        random_config(stride=16, frames=64, labels=35),
        random_config("tiny", stride=14),
        random_config(qkv_bias=False),
    ],
    ids=["nano", "few classes", "tiny", "without biases"],
)
def test_operations_are_those_that_torch_counts(config: ASTConfig) -> None:
    windows = torch.zeros(1, config.max_length, config.num_mel_bins)
    for attn, whole in (("eager", True), ("math", False)):
        model = ASTForAudioClassification(config, attn).eval()
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(windows)
        assert window_flops(config, whole=whole) == counter.get_total_flops()


def test_the_published_model_costs_what_is_known_of_it() -> None:
    config = ASTConfig(num_labels=527)
    assert num_tokens(config) == 1214
    assert window_flops(config, whole=True) == pytest.approx(260e9, rel=0.02)
    assert window_flops(config) == pytest.approx(239e9, rel=0.02)


def test_the_fastest_product_is_one_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    config = random_config()
    best = fastest_product(config, [1, 2], CPU, torch.float32)
    assert best is not None
    assert best.rows in (num_tokens(config), 2 * num_tokens(config))
    assert (best.inputs, best.outputs) in [(64, 64), (64, 192), (64, 128), (128, 64)]
    assert best.flops > 0


def test_the_rate_is_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = random_config()
    monkeypatch.setattr(Stopwatch, "seconds", lambda *_: 0.5)
    best = fastest_product(config, [1], CPU, torch.float32)
    assert best is not None
    # All take equally long, so that the largest is the fastest: 64 inputs and 3 × 64 outputs.
    assert (best.inputs, best.outputs) == (64, 192)
    assert best.flops == 2 * num_tokens(config) * 64 * 192 / 0.5


def test_all_ways_are_tried_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def seconds(self: Stopwatch, run: Any, times: int = 1) -> float:
        tried.append(run().shape[0])
        return 1.0

    monkeypatch.setattr(Stopwatch, "seconds", seconds)
    fastest_product(random_config(), [1, 2], CPU, torch.float32)
    # Four products, four tries each; a window alone cannot run beside another.
    assert tried.count(1) == 4 * 4 * 2
    assert tried.count(2) == 4 * 4 * 4


def test_a_product_for_which_there_is_no_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(self: Stopwatch, run: Any, times: int = 1) -> float:
        if run().shape[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return 0.5

    monkeypatch.setattr(Stopwatch, "seconds", seconds)
    config = random_config()
    best = fastest_product(config, [1, 2], CPU, torch.float32)
    assert best is not None
    assert best.rows == num_tokens(config)
    assert fastest_product(config, [2], CPU, torch.float32) is None
