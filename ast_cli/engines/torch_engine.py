"""Runs a network with torch: windows [B, T, M] in, logits [B, C] out.

Knows the network and the features' normalisation; no files, no labels, no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ast_cli.engines.devices import what_cannot_run
from ast_cli.errors import EngineError
from ast_cli.features import ASTFeatureExtractor
from ast_cli.model import ASTForAudioClassification


class TorchEngine:
    """Runs a network with torch.

    Args:
        model: The network; moved to `device` and converted to `dtype`, with its choice of attention.
        extractor: Whose mean and standard deviation the windows are normalised with.
        device: See `resolve_device`.
        dtype: See `resolve_dtype`.
    """

    def __init__(
        self,
        model: ASTForAudioClassification,
        extractor: ASTFeatureExtractor,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.device = device
        self.dtype = dtype
        try:
            self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{device} has no room for the model", "Close what else runs there, or use --device cpu"
            ) from error
        self._extractor = extractor

    def logits(self, windows: Tensor) -> Tensor:
        """Run unnormalised windows [B, T, M]; returns logits [B, C], float32 on the CPU.

        T may be less than the network's: then fewer tokens are computed (`ASTConfig.cropped_length`).

        Raises:
            EngineError: The device has too little memory, or cannot do this attention in this format.
        """
        attn, format_ = self.model.attn_implementation, str(self.dtype).removeprefix("torch.")
        failing = what_cannot_run(self.device, attn, format_, len(windows))
        with failing, torch.inference_mode(), self._exact():
            windows = windows.to(self.device)
            if self._extractor.do_normalize:
                windows = self._extractor.normalize(windows)
            logits: Tensor = self.model(windows.to(self.dtype), return_dict=True, cropped=True).logits
            return logits.float().cpu()

    @contextmanager
    def _exact(self) -> Iterator[None]:
        """In float32, keep cuDNN's convolution from rounding to TF32, which it does by default."""
        if self.device.type != "cuda" or self.dtype != torch.float32:
            yield
            return
        convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
        before = convolution.fp32_precision
        convolution.fp32_precision = "ieee"
        try:
            yield
        finally:
            convolution.fp32_precision = before
