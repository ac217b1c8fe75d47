"""What the networks share: a config, a choice of attention, fresh weights, loading and saving.

Knows which checkpoint to ask for its tensors; not what is computed with them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import nn

from ast_cli.checkpoints.checkpoint import Checkpoint, adapt_position_embeddings, save_checkpoint
from ast_cli.checkpoints.layouts import HUB_PREFIX, POSITION_EMBEDDINGS
from ast_cli.networks.config import ASTConfig
from ast_cli.settings import Attention, require_choice


class ASTPreTrainedModel(nn.Module):
    """What backbone and classifier share: a config, a choice of attention, loading and saving."""

    config: ASTConfig

    def __init__(self, config: ASTConfig, attn_implementation: str) -> None:
        super().__init__()
        self.config = config
        self.attn_implementation = attn_implementation

    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        source: str | Path | Checkpoint,
        revision: str | None = None,
        *,
        attn_implementation: str = "sdpa",
        max_length: int | None = None,
        offline: bool = False,
    ) -> ModelT:
        """Load a checkpoint; every tensor must be there, and no other.

        Args:
            source: What `--model` takes: Hub id, folder or weights file.
            revision: Hub branch, tag or commit; the default branch if None.
            attn_implementation: One of `settings.Attention`.
            max_length: Frames in a window, if another length than the checkpoint's is wanted: its position
                embeddings are cut from the middle or stretched.
            offline: Never touch the network.

        Returns:
            The network in evaluation mode, float32, on the CPU.

        Raises:
            CheckpointError: No such checkpoint, or a tensor is missing, unknown or of another shape.
            ConfigError: The checkpoint's config holds a value that cannot be.
            UsageError: `attn_implementation` is not one of those.
        """
        checkpoint = Checkpoint.open(source, revision, offline=offline)
        config = ASTConfig.from_pretrained(checkpoint)
        with torch.device("meta"):  # no time lost on random numbers that are replaced at once
            model = cls(config, attn_implementation)
        shapes = {name.removeprefix(HUB_PREFIX): value.shape for name, value in model.state_dict().items()}
        state = checkpoint.state_dict(shapes)
        if max_length is not None and max_length != config.max_length:
            config = dataclasses.replace(config, max_length=max_length)
            with torch.device("meta"):
                model = cls(config, attn_implementation)
            state[POSITION_EMBEDDINGS] = adapt_position_embeddings(
                state[POSITION_EMBEDDINGS], config.frequency_patches, config.time_patches
            )
        names = {name.removeprefix(HUB_PREFIX): name for name in model.state_dict()}
        model.load_state_dict({names[name]: value for name, value in state.items()}, assign=True)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `config.json` in the Hub's layout, which `transformers` loads too."""
        state = {name.removeprefix(HUB_PREFIX): value for name, value in self.state_dict().items()}
        dtype = str(next(self.parameters()).dtype).removeprefix("torch.")
        config = self.config.to_dict() | {"architectures": [type(self).__name__], "dtype": dtype}
        save_checkpoint(folder, state, config)

    @property
    def attn_implementation(self) -> str:
        """How attention is computed: one of `settings.Attention`. Only `eager` can return attentions."""
        return self._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        require_choice("attention", name, get_args(Attention))
        name = "sdpa" if name == "auto" else name  # which is faster where, the engines know
        self._attn_implementation = name
        for module in self.modules():
            if isinstance(module, ASTPreTrainedModel):
                module._attn_implementation = name

    def _init_weights(self) -> None:
        if next(self.parameters()).is_meta:
            return  # there is nothing to draw, and torch would import its compiler for it
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


ModelT = TypeVar("ModelT", bound=ASTPreTrainedModel)
