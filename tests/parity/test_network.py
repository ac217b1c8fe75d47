"""Our `ASTModel` and `ASTForAudioClassification` against those of `transformers` on the same checkpoint."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ast_cli.networks.ast import ASTForAudioClassification, ASTModel
from ast_cli.networks.config import ASTConfig
from tests.extras import Extra
from tests.random_checkpoint import random_config, random_model, save_random_checkpoint

transformers = Extra("transformers")

# On one machine both come out equal to the last bit; another order of sums moves full-size logits by 8e-6.
TOLERANCE = 2e-5

SIZES = [
    "nano",
    pytest.param("tiny", marks=pytest.mark.slow),
    pytest.param("base", marks=pytest.mark.slow),
]


def windows(config: ASTConfig, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, config.max_length, config.num_mel_bins, generator=generator)


def pair(
    folder: Path, config: ASTConfig | None = None, attn: str = "eager"
) -> tuple[ASTForAudioClassification, transformers.ASTForAudioClassification]:
    """The same random checkpoint, loaded by us and by them."""
    save_random_checkpoint(folder, config)
    ours = ASTForAudioClassification.from_pretrained(folder, attn_implementation=attn)
    theirs = transformers.ASTForAudioClassification.from_pretrained(folder, attn_implementation=their(attn))
    return ours, theirs


def their_names_to_ours(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their parameters or gradients under our names: query, key and value become one."""
    ours = {}
    for name, value in theirs.items():
        if ".attention.q_proj." in name:
            key, value_ = (theirs[name.replace("q_proj", other)] for other in ("k_proj", "v_proj"))
            ours[name.replace("q_proj", "qkv")] = torch.cat([value, key, value_])
        elif ".k_proj." not in name and ".v_proj." not in name:
            ours[name.replace(".o_proj.", ".output.")] = value
    return ours


def their(attn: str) -> str:
    """The attention of `transformers` that ours must equal."""
    return "sdpa" if attn == "heads" else attn


def check_logits(folder: Path, config: ASTConfig, attn: str) -> None:
    ours, theirs = pair(folder, config, attn)
    shutil.rmtree(folder)  # a full-size checkpoint is 350 MB, and pytest keeps its folders
    input_values = windows(config)
    with torch.inference_mode():
        found, expected = ours(input_values).logits, theirs(input_values).logits
    assert expected.std() > 0.5, "logits that hardly differ would compare equal whatever the network did"
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
@pytest.mark.parametrize("frames", [128, 512, 1024])
@pytest.mark.parametrize("stride", [10, 12, 14, 16])
@pytest.mark.parametrize("size", SIZES)
def test_logits_equal(tmp_path: Path, size: str, stride: int, frames: int, attn: str) -> None:
    check_logits(tmp_path / "checkpoint", random_config(size, stride, frames), attn)


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_logits_equal_at_twelve_layers(tmp_path: Path, attn: str) -> None:
    check_logits(tmp_path / "checkpoint", random_config("tiny", stride=10, frames=128), attn)


@pytest.mark.parametrize("hidden_act", ["gelu", "relu", "gelu_new"])
def test_logits_equal_for_every_activation(tmp_path: Path, hidden_act: str) -> None:
    check_logits(tmp_path / "checkpoint", random_config(hidden_act=hidden_act), "sdpa")


def test_logits_equal_with_selu_put_into_theirs(tmp_path: Path) -> None:
    # Their ASTConfig documents `selu`, but their table of activations does not have it.
    gelu, theirs = pair(tmp_path)
    for layer in theirs.audio_spectrogram_transformer.layers:
        layer.mlp.activation_fn = torch.nn.SELU()
    ours = ASTForAudioClassification(dataclasses.replace(gelu.config, hidden_act="selu")).eval()
    ours.load_state_dict(gelu.state_dict())
    with torch.inference_mode():
        found, expected = ours(windows(ours.config)).logits, theirs(windows(ours.config)).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "changes",
    [
        {"qkv_bias": False},
        {"layer_norm_eps": 1e-2},
        {"frequency_stride": 8, "time_stride": 12},
        {"patch_size": 8},
        {"num_mel_bins": 64},
    ],
    ids=str,
)
def test_logits_equal_for_other_shapes(tmp_path: Path, changes: dict) -> None:
    config = dataclasses.replace(random_config(), **changes)
    check_logits(tmp_path / "checkpoint", config, "sdpa")


@pytest.mark.parametrize("size", SIZES)
def test_hidden_states_and_attentions_equal(tmp_path: Path, size: str) -> None:
    config = random_config(size)
    ours, theirs = pair(tmp_path / "checkpoint", config)
    shutil.rmtree(tmp_path / "checkpoint")
    with torch.inference_mode():
        found = ours(windows(config), output_hidden_states=True, output_attentions=True)
        expected = theirs(windows(config), output_hidden_states=True, output_attentions=True)
    assert len(found.hidden_states) == len(expected.hidden_states) == config.num_hidden_layers + 1
    assert len(found.attentions) == len(expected.attentions) == config.num_hidden_layers
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)
    for one, other in zip(found.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)  # 146 of them sum to 1


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_the_backbone_alone_equals(tmp_path: Path, attn: str) -> None:
    save_random_checkpoint(tmp_path)
    ours = ASTModel.from_pretrained(tmp_path, attn_implementation=attn)
    theirs = transformers.ASTModel.from_pretrained(tmp_path, attn_implementation=their(attn))
    with torch.inference_mode():
        found, expected = ours(windows(ours.config)), theirs(windows(ours.config))
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, rtol=0, atol=TOLERANCE)


# Losses and gradients

FLOATS = torch.Generator().manual_seed(2)
LABELS = {
    "single_label_classification": torch.tensor([3, 0]),
    "multi_label_classification": (torch.rand(2, 5, generator=FLOATS) > 0.5).float(),
    "regression": torch.randn(2, 5, generator=FLOATS),
}
LEARNING_TASKS = [
    *((problem, 5, labels) for problem, labels in LABELS.items()),
    ("regression", 1, torch.tensor([0.5, -1.0])),
    (None, 5, torch.tensor([3, 0])),
    (None, 5, LABELS["multi_label_classification"]),
    (None, 1, torch.tensor([0.5, -1.0])),
]


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
@pytest.mark.parametrize(
    ("problem_type", "classes", "labels"),
    LEARNING_TASKS,
    ids=[f"{problem}-{classes}-{labels.dtype}" for problem, classes, labels in LEARNING_TASKS],
)
def test_loss_and_gradients_equal(
    tmp_path: Path, problem_type: str | None, classes: int, labels: Tensor, attn: str
) -> None:
    config = random_config(labels=classes, problem_type=problem_type)
    ours, theirs = pair(tmp_path, config, attn)
    input_values = windows(config)
    found = ours.train()(input_values, labels=labels)
    expected = theirs.train()(input_values, labels=labels)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=TOLERANCE)
    found.loss.backward()
    expected.loss.backward()
    gradients = {name: weight.grad for name, weight in ours.named_parameters()}
    their_gradients = their_names_to_ours({name: weight.grad for name, weight in theirs.named_parameters()})
    assert gradients.keys() == their_gradients.keys()
    assert max(gradient.abs().max() for gradient in their_gradients.values()) > 0.01
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=0, atol=TOLERANCE, msg=name)


def test_a_step_of_training_ends_in_the_same_place(tmp_path: Path) -> None:
    ours, theirs = pair(tmp_path, random_config(labels=5), "sdpa")
    labels = LABELS["multi_label_classification"]
    logits = []
    for network in (ours.train(), theirs.train()):
        before = network(windows(ours.config), labels=labels)
        before.loss.backward()
        torch.optim.SGD(network.parameters(), lr=0.1).step()
        after = network(windows(ours.config), labels=labels)
        assert (after.logits - before.logits).abs().max() > 0.1
        logits.append(after.logits)
    torch.testing.assert_close(*logits, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_dropout_changes_training_and_nothing_else(tmp_path: Path, kind: str, attn: str) -> None:
    config = random_config(**{kind: 0.5})
    ours, theirs = pair(tmp_path, config, attn)
    input_values = windows(config)
    with torch.no_grad():
        expected = theirs(input_values).logits
        torch.testing.assert_close(ours(input_values).logits, expected, rtol=0, atol=TOLERANCE)
        torch.manual_seed(0)
        ours.train()
        first, second = ours(input_values).logits, ours(input_values).logits
    assert (first - expected).abs().max() > 0.01
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_dropout_falls_as_in_transformers(tmp_path: Path, attn: str) -> None:
    config = random_config(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    ours, theirs = pair(tmp_path, config, attn)
    logits = []
    for network in (ours.train(), theirs.train()):
        torch.manual_seed(0)
        logits.append(network(windows(config)).logits)
    torch.testing.assert_close(*logits, rtol=0, atol=TOLERANCE)


# Files


def test_config_defaults_equal() -> None:
    ours, theirs = ASTConfig(), transformers.ASTConfig()
    fields = [item.name for item in dataclasses.fields(ASTConfig)]
    assert {name: getattr(ours, name) for name in fields} == {name: getattr(theirs, name) for name in fields}


def test_their_config_reads_ours_and_ours_theirs(tmp_path: Path) -> None:
    config = random_config(stride=12, problem_type="multi_label_classification", hidden_dropout_prob=0.25)
    theirs = transformers.ASTConfig.from_dict(config.to_dict())
    fields = [item.name for item in dataclasses.fields(ASTConfig)]
    assert {name: getattr(theirs, name) for name in fields} == dataclasses.asdict(config)
    assert ASTConfig.from_dict(theirs.to_dict()) == config


@pytest.mark.parametrize("kind", ["ASTForAudioClassification", "ASTModel"])
def test_what_transformers_saves_we_load(tmp_path: Path, kind: str) -> None:
    random = random_config(labels=7, stride=14)
    theirs = getattr(transformers, kind)(transformers.ASTConfig.from_dict(random.to_dict())).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    theirs.save_pretrained(tmp_path)
    ours = {"ASTForAudioClassification": ASTForAudioClassification, "ASTModel": ASTModel}[kind]
    loaded = ours.from_pretrained(tmp_path)
    assert loaded.config == random
    with torch.inference_mode():
        found, expected = loaded(windows(random)), theirs(windows(random))
    for one, other in zip(found.to_tuple(), expected.to_tuple(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["ASTForAudioClassification", "ASTModel"])
def test_what_we_save_transformers_loads_without_a_remark(tmp_path: Path, kind: str) -> None:
    model = random_model(random_config(labels=7))
    ours = model if kind == "ASTForAudioClassification" else model.audio_spectrogram_transformer
    ours.save_pretrained(tmp_path)
    theirs, remarks = getattr(transformers, kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(remarks.values()), remarks
    with torch.inference_mode():
        found, expected = ours(windows(model.config)), theirs(windows(model.config))
    for one, other in zip(found.to_tuple(), expected.to_tuple(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)


def test_both_save_the_same_tensors_under_the_same_names(tmp_path: Path) -> None:
    _, theirs = pair(tmp_path)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, again = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "theirs"))
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours)


@pytest.mark.parametrize("kind", ["ASTForAudioClassification", "ASTModel"])
def test_a_pytorch_bin_loads_on_either_side(tmp_path: Path, kind: str) -> None:
    save_random_checkpoint(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    ours = {"ASTForAudioClassification": ASTForAudioClassification, "ASTModel": ASTModel}[kind]
    loaded = ours.from_pretrained(tmp_path)
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    with torch.inference_mode():
        found, expected = loaded(windows(loaded.config)), theirs(windows(loaded.config))
    for one, other in zip(found.to_tuple(), expected.to_tuple(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)


# Outputs


@pytest.mark.parametrize("asked", [{}, {"output_hidden_states": True, "output_attentions": True}], ids=str)
@pytest.mark.parametrize("labels", [None, torch.tensor([3, 0])])
def test_tuples_hold_the_same_in_the_same_order(tmp_path: Path, asked: dict, labels: Tensor | None) -> None:
    ours, theirs = pair(tmp_path)
    with torch.inference_mode():
        found = ours(windows(ours.config), labels=labels, return_dict=False, **asked)
        expected = theirs(windows(ours.config), labels=labels, return_dict=False, **asked)
    assert isinstance(found, tuple)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_outputs_are_read_by_name_and_position_alike(tmp_path: Path) -> None:
    ours, theirs = pair(tmp_path)
    with torch.inference_mode():
        found = ours(windows(ours.config), output_hidden_states=True)
        expected = theirs(windows(ours.config), output_hidden_states=True)
    assert found.loss is expected.loss is None
    assert found.attentions is expected.attentions is None
    for output in (found, expected):
        assert output[0] is output["logits"] is output.logits
        assert output[1] is output["hidden_states"] is output.hidden_states
        assert len(output[:2]) == len(output.to_tuple()) == 2


@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions"])
def test_the_config_decides_what_a_call_leaves_open(tmp_path: Path, name: str) -> None:
    ours, theirs = pair(tmp_path, random_config(**{name: True}))
    for network in (ours, theirs):
        assert getattr(network(windows(ours.config)), name.removeprefix("output_")) is not None
        refused = network(windows(ours.config), **{name: False})
        assert getattr(refused, name.removeprefix("output_")) is None
