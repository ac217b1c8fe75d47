"""Checkpoints with random weights, made on the spot: their results can be compared, not believed."""

from __future__ import annotations

from pathlib import Path

import torch

from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig
from ast_cli.scoring.labels import audioset_classes

SIZES = {  # width, layers, heads, width inside the MLPs
    "base": (768, 12, 12, 3072),
    "tiny": (192, 12, 3, 768),
    "nano": (64, 2, 2, 128),
}


def random_config(
    size: str = "nano", stride: int = 10, frames: int = 128, labels: int = 527, **more
) -> ASTConfig:
    width, layers, heads, intermediate = SIZES[size]
    names = (
        [node.name for node in audioset_classes()] if labels == 527 else [f"class {i}" for i in range(labels)]
    )
    return ASTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        frequency_stride=stride,
        time_stride=stride,
        max_length=frames,
        id2label=dict(enumerate(names)),
        **more,
    )


def spread_weights(model: torch.nn.Module, seed: int = 0) -> None:
    """Give every weight a size at which logits differ from input to input and class to class."""
    generator = torch.Generator().manual_seed(seed)

    def noise(weight: torch.Tensor, std: float) -> torch.Tensor:
        return std * torch.randn(weight.shape, generator=generator)

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                weight.copy_(1 + noise(weight, 0.05))
            elif name.endswith("classifier.dense.bias"):
                weight.copy_(noise(weight, 1.0) - 3.0)
            elif weight.ndim > 1:
                weight.copy_(noise(weight, 0.1 if "classifier" in name else 0.05))
            else:
                weight.copy_(noise(weight, 0.05))


def random_model(config: ASTConfig | None = None, seed: int = 0) -> ASTForAudioClassification:
    model = ASTForAudioClassification(config or random_config())
    spread_weights(model, seed)
    return model.eval()


def save_random_checkpoint(folder: Path, config: ASTConfig | None = None, seed: int = 0) -> Path:
    """Write a whole checkpoint in the Hub's layout; returns `folder`."""
    model = random_model(config, seed)
    model.save_pretrained(folder)
    ASTFeatureExtractor(max_length=model.config.max_length).save_pretrained(folder)
    return folder
