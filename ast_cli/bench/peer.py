"""`transformers` in our place, with its own default attention: `bench` times it, `verify` compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ast_cli.bench.request import TRANSFORMERS
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.checkpoints.locate import WEIGHT_FILES
from ast_cli.engines.devices import what_cannot_run
from ast_cli.engines.engine import Engine
from ast_cli.errors import CheckpointError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.config import ASTConfig
from ast_cli.reference import load_transformers
from ast_cli.text import first_line


class TransformersEngine(Engine):
    """Runs the network of `transformers.ASTForAudioClassification`.

    Args:
        checkpoint: In the Hub's layout.
        device: Where it runs.
        dtype: Its number format.
        on_notice: See `Engine`.

    Raises:
        EngineError: `transformers` is not installed.
        CheckpointError: It cannot read the checkpoint.
    """

    name = TRANSFORMERS

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self.network = load_network(checkpoint, device, dtype)
        self._extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
        self._place, self._format = device, dtype
        super().__init__(
            ASTConfig.from_pretrained(checkpoint),
            str(device),
            str(dtype).removeprefix("torch."),
            str(self.network.config._attn_implementation),
            on_notice,
        )

    def _run(self, windows: Tensor, lengths: Tensor | None) -> Tensor:
        with what_cannot_run(self._place, self.attn, self.dtype, len(windows)), torch.inference_mode():
            windows = windows.to(self._place)
            if self._extractor.do_normalize:
                windows = self._extractor.normalize(windows)
            logits: Tensor = self.network(windows.to(self._format)).logits
            return logits.float().cpu()

    def _release_memory(self) -> None:
        if self._place.type == "cuda":
            torch.cuda.empty_cache()


def load_network(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Any:
    """Their network, ready to run; for the errors see `TransformersEngine`."""
    return _load("ASTForAudioClassification", checkpoint, dtype=dtype).eval().to(device)


def load_extractor(checkpoint: Checkpoint) -> Any:
    """Their feature extractor; for the errors see `TransformersEngine`."""
    return _load("ASTFeatureExtractor", checkpoint)


def _load(kind: str, checkpoint: Checkpoint, **how: Any) -> Any:
    transformers = load_transformers()
    weights = checkpoint.files.weights
    if weights.name not in WEIGHT_FILES:  # it would take the folder's other weights instead
        raise CheckpointError(
            f"transformers reads no weights called {weights.name}",
            f"Copy them to a folder of their own as {' or '.join(WEIGHT_FILES)}, with their config.json",
        )
    if how:
        how["use_safetensors"] = weights.suffix == ".safetensors"
    try:
        return getattr(transformers, kind).from_pretrained(weights.parent, local_files_only=True, **how)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"transformers cannot load {checkpoint.files.id}: {first_line(error)}",
            "It reads folders in the Hub's layout only",
        ) from error
