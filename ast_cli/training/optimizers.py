"""Which parameters learn how: matrices and the rest, backbone and head; torch's AdamW, Muon and average."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.training.network import TrainedNetwork
from ast_cli.training.settings import TrainSettings

BETAS = (0.9, 0.98)
# Muon's steps bear a higher rate than AdamW's on the same network: 2e-3 beside 1e-3 trained small ones best.
MUON_RATE = 2.0


def make_optimizers(network: TrainedNetwork, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """The optimizers of all parameters; each parameter is in one of them.

    Decay is for matrices alone: it has no meaning for biases, norms, tokens and positions. Muon is for the
    matrices of the blocks, with its rates matched to AdamW's; heads, embeddings and vectors stay with AdamW.
    """
    backbone = network.classifier.audio_spectrogram_transformer
    in_blocks = {id(weight) for weight in backbone.layers.parameters() if weight.ndim == 2}
    in_backbone = {id(weight) for weight in backbone.parameters()}
    settings = settings.fitted(network.classifier.config.hidden_size)
    backbone_lr, head_lr = settings.highest_rates
    by_muon: list[nn.Parameter] = []
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if settings.optimizer == "muon" and id(weight) in in_blocks:
            by_muon.append(weight)
            continue
        of_backbone = id(weight) in in_backbone
        lr = backbone_lr if of_backbone else head_lr
        is_matrix = weight.ndim > 1 and not name.endswith(("_token", "position_embeddings"))
        groups.setdefault((lr, settings.weight_decay if is_matrix else 0.0), []).append(weight)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": weights, "lr": lr, "weight_decay": decay} for (lr, decay), weights in groups.items()],
            betas=BETAS,
        )
    ]
    if by_muon:
        optimizers.append(
            torch.optim.Muon(
                by_muon,
                lr=backbone_lr * MUON_RATE,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


def running_average(classifier: ASTForAudioClassification, decay: float) -> AveragedModel:
    """A copy that follows a classifier's weights with every `update_parameters`.

    Its memory grows from nothing to `decay`, so that the start is soon forgotten.
    """

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return AveragedModel(classifier, multi_avg_fn=update)
