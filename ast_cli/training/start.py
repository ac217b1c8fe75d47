"""Where training starts: a network from scratch, or a trained one with the head that is wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig
from ast_cli.training.settings import Size

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
FRESH_GAIN = 0.9  # standard deviation of fresh matrices, times the square root of their inputs
SLOWEST = 10_000.0  # longest wave of the sine-cosine positions, in patches


def from_scratch(
    size: Size,
    labels: Sequence[str],
    *,
    multi_label: bool,
    frames: int,
    stride: int = 16,
    layers: int = 12,
    seed: int = 0,
) -> ASTForAudioClassification:
    """A fresh network: matrices scaled by their inputs, positions as sines and cosines, a zero head.

    Such a start matters for small networks and few clips: with the weights of 0.02 that suit fine-tuning, the
    first thousands of steps are lost.
    """
    config = ASTConfig(
        **SIZES[size],
        num_hidden_layers=layers,
        frequency_stride=stride,
        time_stride=stride,
        max_length=frames,
        id2label=dict(enumerate(labels)),
        problem_type=problem_type(multi_label=multi_label),
    )
    generator = torch.Generator().manual_seed(seed)
    model = ASTForAudioClassification(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                weight: Tensor = module.weight
                weight.normal_(std=FRESH_GAIN / math.sqrt(weight[0].numel()), generator=generator)
        embeddings = model.audio_spectrogram_transformer.embeddings
        for token in (embeddings.cls_token, embeddings.distillation_token):
            token.normal_(std=config.initializer_range, generator=generator)
        embeddings.position_embeddings[0, 2:] = grid_positions(
            config.frequency_patches, config.time_patches, config.hidden_size
        )
        model.get_parameter("classifier.dense.weight").zero_()
        model.get_parameter("classifier.dense.bias").fill_(_first_logit(len(labels), multi_label))
    return model


def with_classes(
    model: ASTForAudioClassification, labels: Sequence[str], *, multi_label: bool
) -> ASTForAudioClassification:
    """The same backbone with a head for `labels`; classes it knew already keep their weights.

    A class that is new starts at zero weight, so that the first step finds the backbone undisturbed.
    """
    before = model.config
    config = dataclasses.replace(
        before,
        num_labels=0,
        id2label=dict(enumerate(labels)),
        label2id={},
        problem_type=problem_type(multi_label=multi_label),
    )
    fresh = ASTForAudioClassification(config, model.attn_implementation)
    state = model.state_dict()
    weight, bias = state["classifier.dense.weight"], state["classifier.dense.bias"]
    kept = [(index, before.label2id[name]) for index, name in enumerate(labels) if name in before.label2id]
    state["classifier.dense.weight"] = weight.new_zeros(len(labels), weight.shape[1])
    state["classifier.dense.bias"] = bias.new_full((len(labels),), _first_logit(len(labels), multi_label))
    for index, old in kept:
        state["classifier.dense.weight"][index] = weight[old]
        state["classifier.dense.bias"][index] = bias[old]
    fresh.load_state_dict(state)
    return fresh


def _first_logit(classes: int, multi_label: bool) -> float:
    """Where an untrained class starts: at one of `classes` at a time, which then need not be learned."""
    return -math.log(max(1, classes - 1)) if multi_label else 0.0


def problem_type(*, multi_label: bool) -> str:
    """The name that configs have for it."""
    return "multi_label_classification" if multi_label else "single_label_classification"


def grid_positions(frequency_patches: int, time_patches: int, width: int) -> Tensor:
    """Sine-cosine positions of a grid, [patches, D]: half of the width for each axis, frequency-major."""
    rates = SLOWEST ** -(torch.arange(width // 4, dtype=torch.float32) / (width / 4))

    def waves(count: int) -> Tensor:
        angles = torch.arange(count).unsqueeze(1) * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)  # [count, width / 2]

    frequency, time = waves(frequency_patches), waves(time_patches)
    grid = torch.cat(
        [
            frequency.unsqueeze(1).expand(-1, time_patches, -1),
            time.unsqueeze(0).expand(frequency_patches, -1, -1),
        ],
        dim=2,
    )
    return grid.flatten(0, 1)
