"""The network that training starts from, and which of its parameters learn how."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ast_cli.training.network import TrainedNetwork
from ast_cli.training.optimizers import BETAS, make_optimizers
from ast_cli.training.settings import TrainSettings
from ast_cli.training.start import SIZES, from_scratch, grid_positions, with_classes
from tests.random_checkpoint import random_config, random_model
from tests.training.practice import MULTI, nano

# Another head


def test_classes_that_are_known_keep_their_rows() -> None:
    before = random_model(random_config(labels=4, stride=16, frames=64, problem_type=MULTI))
    after = with_classes(before, ["new", "class 2", "class 0"], multi_label=True)
    old, new = before.classifier.dense, after.classifier.dense
    assert isinstance(old, nn.Linear)
    assert isinstance(new, nn.Linear)
    assert torch.equal(new.weight[1:], old.weight[[2, 0]])
    assert torch.equal(new.bias[1:], old.bias[[2, 0]])
    assert not new.weight[0].any()
    assert new.bias[0].item() == pytest.approx(-math.log(2))  # one of three
    assert after.config.id2label == {0: "new", 1: "class 2", 2: "class 0"}
    assert after.config.label2id == {"new": 0, "class 2": 1, "class 0": 2}
    assert after.config.num_labels == 3
    assert after.config.problem_type == "multi_label_classification"


def test_the_backbone_and_the_attention_stay() -> None:
    before = nano()
    before.attn_implementation = "eager"
    after = with_classes(before, ["x", "y"], multi_label=False)
    inputs = torch.randn(2, 64, 128)
    for one, other in zip(
        before.audio_spectrogram_transformer(inputs).values(),
        after.audio_spectrogram_transformer(inputs).values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert after.attn_implementation == "eager"
    assert after.config.problem_type == "single_label_classification"
    assert not after(inputs).logits.any()  # all are as likely


def test_the_network_it_came_from_is_left_alone() -> None:
    before = nano()
    state = {name: weight.clone() for name, weight in before.state_dict().items()}
    after = with_classes(before, ["x"], multi_label=True)
    with torch.no_grad():
        for weight in after.parameters():
            weight.zero_()
    assert all(torch.equal(weight, state[name]) for name, weight in before.state_dict().items())


# From scratch


def test_positions_by_hand() -> None:
    """2 × 3 patches of width 8: two waves, 1 and 1/100 radians a patch, as sine and cosine for each axis."""

    def waves(place: int) -> list[float]:
        slow = place / 100
        return [math.sin(place), math.sin(slow), math.cos(place), math.cos(slow)]

    expected = [waves(frequency) + waves(time) for frequency in range(2) for time in range(3)]
    torch.testing.assert_close(grid_positions(2, 3, 8), torch.tensor(expected))


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size: str) -> None:
    model = from_scratch(size, ["a", "b"], multi_label=True, frames=64, layers=1)  # type: ignore[arg-type]
    assert model.config.hidden_size == {"tiny": 192, "small": 384, "base": 768}[size]
    assert model.config.hidden_size // model.config.num_attention_heads == 64
    assert model.config.intermediate_size == 4 * model.config.hidden_size


def test_a_fresh_network() -> None:
    model = from_scratch("tiny", ["a", "b", "c"], multi_label=False, frames=96, layers=2, seed=3)
    config = model.config
    assert (config.max_length, config.num_hidden_layers, config.time_stride) == (96, 2, 16)
    positions = model.get_parameter("audio_spectrogram_transformer.embeddings.position_embeddings")
    assert not positions[0, :2].any()
    torch.testing.assert_close(positions[0, 2:], grid_positions(8, 6, 192))
    for name, weight in model.named_parameters():
        if name.endswith("weight") and weight.ndim > 1 and "classifier" not in name:
            assert weight.std().item() == pytest.approx(0.9 / math.sqrt(weight[0].numel()), rel=0.05)
    assert not model(torch.randn(1, 96, 128)).logits.any()
    multi = from_scratch("tiny", ["a", "b", "c"], multi_label=True, frames=96, layers=1)
    torch.testing.assert_close(multi(torch.randn(1, 96, 128)).logits, torch.full((1, 3), -math.log(2)))


def test_the_seed_makes_the_network() -> None:
    states = [
        from_scratch("tiny", ["a", "b"], multi_label=True, frames=64, layers=1, seed=seed).state_dict()
        for seed in (0, 0, 1)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


# Which parameters learn how


@pytest.mark.parametrize("column_weight", [0.0, 0.5])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_in_one_group(optimizer: str, column_weight: float) -> None:
    network = TrainedNetwork(nano(), column_weight=column_weight)
    settings = TrainSettings(optimizer=optimizer, weight_decay=0.1, lr=1e-3)  # type: ignore[arg-type]
    optimizers = make_optimizers(network, settings)
    names = {id(weight): name for name, weight in network.named_parameters()}
    found: dict[str, tuple[str, float, float]] = {}
    for one in optimizers:
        for group in one.param_groups:
            assert group["highest_lr"] == group["lr"]
            for weight in group["params"]:
                assert names[id(weight)] not in found
                found[names[id(weight)]] = (type(one).__name__, group["lr"], group["weight_decay"])
    assert found.keys() == set(names.values())
    backbone = "classifier.audio_spectrogram_transformer"
    of_blocks = {f"{part}.weight" for part in ("attention.qkv", "attention.output", "mlp.fc1", "mlp.fc2")}
    for name, (kind, lr, decay) in found.items():
        in_backbone = name.startswith(backbone)
        by_muon = optimizer == "muon" and any(
            name == f"{backbone}.layers.{layer}.{part}" for layer in range(2) for part in of_blocks
        )
        is_matrix = name.endswith("weight") and "norm" not in name
        assert kind == ("Muon" if by_muon else "AdamW"), name
        assert lr == pytest.approx(2e-3 if by_muon else 1e-3 if in_backbone else 4e-3), name
        assert decay == (0.1 if is_matrix else 0.0), name
    kinds = [kind for kind, _, _ in found.values()]
    assert kinds.count("Muon") == (8 if optimizer == "muon" else 0)


def test_adamw_has_its_momenta() -> None:
    [optimizer] = make_optimizers(TrainedNetwork(nano()), TrainSettings(optimizer="adamw"))
    assert optimizer.param_groups[0]["betas"] == BETAS == (0.9, 0.98)
