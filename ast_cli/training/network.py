"""The network as it is trained: its loss, patchout, and the loss on when each class sounds.

What is only for training stays here; the classifier inside is what is saved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig
from ast_cli.training.examples import Batch


@dataclass
class Losses:
    """What one forward pass costs.

    Attributes:
        total: What is minimised.
        targets: The part on the clip's classes, as `ASTForAudioClassification` computes it.
    """

    total: Tensor
    targets: Tensor


def targets_loss(config: ASTConfig, logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy for classes that exclude each other, else binary cross-entropy; [B, C] both."""
    if config.problem_type == "single_label_classification":
        return F.cross_entropy(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets)


class TrainedNetwork(nn.Module):
    """A classifier with what its training adds.

    Args:
        classifier: Of which `config.problem_type` names the loss.
        patchout: Part of the patches left out while training (Koutini et al., arXiv 2110.05069).
        column_weight: Weight of the loss on `Batch.columns`.
    """

    def __init__(
        self, classifier: ASTForAudioClassification, patchout: float = 0.0, column_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.patchout = patchout
        self.column_weight = column_weight
        config = classifier.config
        self.column_head = nn.Linear(config.hidden_size, config.num_labels) if column_weight else None

    def forward(self, batch: Batch, whole: bool = True) -> Losses:
        """The losses of a batch on the network's device.

        Unless it is `whole`, some patches are left out by torch's global chance.
        """
        config = self.classifier.config
        backbone = self.classifier.audio_spectrogram_transformer
        if (whole or not self.patchout) and self.column_head is None:
            logits = self.classifier(batch.input_values).logits
            loss = targets_loss(config, logits.float(), batch.targets)
            return Losses(loss, loss)
        tokens = backbone.embeddings(batch.input_values)
        columns = torch.arange(tokens.shape[1] - 2, device=tokens.device) % config.time_patches
        columns = columns.expand(len(tokens), -1)  # [B, patches]
        if not whole and self.patchout:
            kept = self._kept(columns, batch.lengths)  # [B, K]
            patches = tokens[:, 2:].gather(1, kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
            tokens = torch.cat([tokens[:, :2], patches], dim=1)
            columns = columns.gather(1, kept)
        for layer in backbone.layers:
            tokens, _ = layer(tokens, None, self.classifier.attn_implementation)
        tokens = backbone.layernorm(tokens)
        logits = self.classifier.classifier((tokens[:, 0] + tokens[:, 1]) / 2)
        loss = targets_loss(config, logits.float(), batch.targets)
        if self.column_head is None or batch.columns is None:
            return Losses(loss, loss)
        wanted = batch.columns.gather(1, columns.unsqueeze(-1).expand(-1, -1, config.num_labels))
        sounding = self.column_head(tokens[:, 2:]).float()
        real = columns * config.time_stride < batch.lengths.unsqueeze(1)
        column_loss = F.binary_cross_entropy_with_logits(sounding[real], wanted[real].to(sounding.dtype))
        return Losses(loss + self.column_weight * column_loss, loss)

    def _kept(self, columns: Tensor, lengths: Tensor) -> Tensor:
        """Indices [B, K] of the patches that stay: any of the real ones, padding only where those run out."""
        patches = columns.shape[1]
        padding = columns * self.classifier.config.time_stride >= lengths.unsqueeze(1)
        real = int((~padding).sum(dim=1).max())
        keep = max(1, min(real, round((1 - self.patchout) * patches)))
        chance = torch.rand(columns.shape, device=columns.device)
        return (chance + padding).topk(keep, dim=1, largest=False).indices
