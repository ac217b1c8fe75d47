"""Which parameters learn how: matrices and the rest, backbone and head; AdamW, Muon and the average."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.training.network import TrainedNetwork
from ast_cli.training.processes import has_bfloat16
from ast_cli.training.settings import TrainSettings

BETAS = (0.9, 0.98)
# Muon's steps bear a higher rate than AdamW's on the same network: 2e-3 beside 1e-3 trained small ones best.
MUON_RATE = 2.0
MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of a quintic that brings singular values near 1 in five steps


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
        optimizers.append(Muon(by_muon, lr=backbone_lr * MUON_RATE, weight_decay=settings.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, for matrices (Jordan et al. 2024); rates as AdamW's (arXiv 2502.16982).

    As `torch.optim.Muon` with `match_rms_adamw`, and with its state. That one, which came with torch 2.9,
    computes in bfloat16 everywhere: a processor that imitates it takes 40 times as long as in float32.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change every weight that has a gradient."""
        for group in self.param_groups:
            weights: list[nn.Parameter] = group["params"]
            dtype = torch.bfloat16 if has_bfloat16(weights[0].device) else torch.float32
            for weight, gradient in ((weight, weight.grad) for weight in weights):
                if gradient is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                momentum = state["momentum_buffer"].lerp_(gradient, 1 - MUON_MOMENTUM)
                update = orthogonal(gradient.lerp(momentum, MUON_MOMENTUM), dtype)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearly orthogonal matrix nearest to one, [M, N], by five Newton–Schulz steps in a number format."""
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.to(dtype, copy=True)
    found = found.T if is_tall else found
    found.div_(found.norm().clamp(min=1e-7))  # no singular value above 1
    for _ in range(5):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.T if is_tall else found


def running_average(classifier: ASTForAudioClassification, decay: float) -> AveragedModel:
    """A copy that follows a classifier's weights with every `update_parameters`.

    Its memory grows from nothing to `decay`, so that the start is soon forgotten.
    """

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return AveragedModel(classifier, multi_avg_fn=update)
