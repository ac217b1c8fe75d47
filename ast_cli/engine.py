"""Where and how windows run: device, number format, attention. Windows [B, T, M] in, logits [B, C] out.

Knows the network and the features' normalisation; no files, no labels, no order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ast_cli.errors import EngineError, UsageError
from ast_cli.features import ASTFeatureExtractor
from ast_cli.model import ASTForAudioClassification
from ast_cli.settings import require_choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NO_MEMORY = "DefaultCPUAllocator"  # how torch names the cause on the CPU
# How torch says on CUDA and on the CPU that no backend that may be used can do this attention.
NO_KERNEL = ("No available kernel", "No viable backend")


def resolve_device(name: str = "auto") -> torch.device:
    """The device that `auto`, `cpu`, `cuda`, `cuda:N` or `mps` stands for here.

    Raises:
        UsageError: No such kind of device.
        EngineError: This machine, or this build of torch, does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = re.fullmatch(r"(cpu|mps|cuda)|cuda:([0-9]{1,4})", name)
    if kind is None:
        raise UsageError(f"no such device: {name}", "Choose auto, cpu, cuda, cuda:N or mps")
    if name.startswith("cuda"):
        count = torch.cuda.device_count()
        if count == 0:
            raise EngineError(
                "torch finds no CUDA device here",
                "Check the driver with `nvidia-smi` and torch with `ast-tag doctor`, or use --device cpu",
            )
        if kind[2] and int(kind[2]) >= count:  # torch itself counts in eight bits: its cuda:256 is cuda:0
            raise EngineError(
                f"there is no device {name}: torch finds {count}", f"Choose cuda:0 to cuda:{count - 1}"
            )
    if name == "mps" and not torch.backends.mps.is_available():
        raise EngineError("torch finds no Apple GPU here", "Use --device cpu")
    return torch.device(name)


def resolve_dtype(name: str = "auto") -> torch.dtype:
    """The number format that `auto`, `float32`, `bfloat16` or `float16` stands for.

    Raises:
        UsageError: No such format.
    """
    if name == "auto":
        return torch.float32
    require_choice("number format", name, ("auto", *DTYPES))
    return DTYPES[name]


@contextmanager
def what_cannot_run(device: torch.device, attn: str, dtype: str, windows: int) -> Iterator[None]:
    """Around running a network: say what the device has too little of.

    Args:
        device: Where it runs.
        attn: One of `settings.Attention`.
        dtype: The name of the number format.
        windows: In the batch.

    Raises:
        EngineError: The device has too little memory, or cannot do this attention in this format.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY in str(error):
            raise EngineError(
                f"{device} has too little memory for {windows} windows at once",
                "Use a smaller --batch-size, or --dtype bfloat16",
            ) from error
        if any(words in str(error) for words in NO_KERNEL):
            raise EngineError(
                f"{device} has no {attn} attention for {dtype}", "Use --attn sdpa, which picks one"
            ) from error
        raise


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
