"""A checkpoint and the names of how it shall run -> the engine that runs it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.devices import resolve_attention, resolve_device, resolve_dtype
from ast_cli.engines.engine import Engine
from ast_cli.engines.openvino_engine import OpenVINOEngine
from ast_cli.engines.torch_engine import TorchEngine
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import require_fit
from ast_cli.settings import Dtype, EngineName, require_choice


@dataclass(frozen=True, slots=True)
class Way:
    """How networks shall run, by the names that a user says.

    Attributes:
        engine: One of `settings.EngineName`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: One of `settings.Dtype`.
        attn: One of `settings.Attention`.
        compile: Whether torch compiles the network first.
    """

    engine: str = "torch"
    device: str = "auto"
    dtype: str = "auto"
    attn: str = "auto"
    compile: bool = False

    def check(self) -> None:
        """Raise what `open_engine` would raise whatever the checkpoint: before one is fetched, say."""
        require_choice("engine", self.engine, get_args(EngineName))
        if self.engine == "openvino":
            self._check_openvino()
            return
        device = resolve_device(self.device)
        resolve_dtype(self.dtype, device)
        resolve_attention(self.attn, device)

    def _check_openvino(self) -> None:
        for what, asked, possible in (
            ("device", self.device, ("auto", "cpu")),
            ("attention", self.attn, ("auto", "sdpa")),
        ):
            if asked not in possible:
                raise UsageError(f"OpenVINO has no {what} {asked}", "Use --engine torch")
        if self.compile:
            raise UsageError("--compile is torch's", "Use --engine torch")
        require_choice("number format", self.dtype, get_args(Dtype))
        require_extra("openvino")


def open_engine(
    checkpoint: Checkpoint, way: Way, on_notice: Callable[[str], None] | None = None
) -> tuple[Engine, ASTFeatureExtractor]:
    """The engine, and the features that its network takes.

    Args:
        checkpoint: Whose network runs.
        way: How it runs.
        on_notice: See `Engine`.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        EngineError: The engine or device is not there.
        UsageError: A name stands for nothing, or names contradict each other.
    """
    way.check()
    extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
    if way.engine == "openvino":
        return OpenVINOEngine(checkpoint, extractor, way.dtype, on_notice), extractor
    device = resolve_device(way.device)
    dtype = resolve_dtype(way.dtype, device)
    # A loop over heads would be compiled head by head.
    attn = "sdpa" if way.compile and way.attn == "auto" else resolve_attention(way.attn, device)
    model = ASTForAudioClassification.from_pretrained(checkpoint, attn_implementation=attn)
    require_fit(model.config, extractor)
    return TorchEngine(model, extractor, device, dtype, on_notice, compiled=way.compile), extractor
