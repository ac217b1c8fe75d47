"""A checkpoint and the settings of how it runs -> the engine that runs it."""

from __future__ import annotations

from collections.abc import Callable
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
from ast_cli.settings import Dtype, EngineName, ModelSettings, require_choice


def check_engine(settings: ModelSettings) -> None:
    """Raise what `open_engine` would raise for any checkpoint, before one is fetched."""
    require_choice("engine", settings.engine, get_args(EngineName))
    if settings.engine != "openvino":
        device = resolve_device(settings.device)
        resolve_dtype(settings.dtype, device)
        resolve_attention(settings.attn, device)
        return
    for what, asked, possible in (
        ("device", settings.device, ("auto", "cpu")),
        ("attention", settings.attn, ("auto", "sdpa")),
    ):
        if asked not in possible:
            raise UsageError(f"OpenVINO has no {what} {asked}", "Use --engine torch")
    if settings.compile:
        raise UsageError("--compile is torch's", "Use --engine torch")
    require_choice("number format", settings.dtype, get_args(Dtype))
    require_extra("openvino")


def open_engine(
    checkpoint: Checkpoint, settings: ModelSettings, on_notice: Callable[[str], None] | None = None
) -> tuple[Engine, ASTFeatureExtractor]:
    """The engine, and the features that its network takes.

    Args:
        checkpoint: Whose network runs.
        settings: How it runs.
        on_notice: See `Engine`.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        EngineError: The engine or device is not there.
        UsageError: A name stands for nothing, or names contradict each other.
    """
    check_engine(settings)
    extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
    if settings.engine == "openvino":
        return OpenVINOEngine(checkpoint, extractor, settings.dtype, on_notice), extractor
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    # A loop over heads would be compiled head by head.
    attn = (
        "sdpa" if settings.compile and settings.attn == "auto" else resolve_attention(settings.attn, device)
    )
    model = ASTForAudioClassification.from_pretrained(checkpoint, attn_implementation=attn)
    require_fit(model.config, extractor)
    return TorchEngine(model, extractor, device, dtype, on_notice, compiled=settings.compile), extractor
