"""Which device, number format and attention a name stands for here, and what a device cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch

from ast_cli.errors import EngineError, TooLittleMemoryError, UsageError
from ast_cli.networks.processor import fastest_attention
from ast_cli.settings import Attention, require_choice

CPU = torch.device("cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NO_MEMORY = "DefaultCPUAllocator"  # how torch names the cause on the CPU
# What torch says where it cannot compile, and what that means.
NO_COMPILER = {
    "No working C++ compiler found": "torch finds no C++ compiler, which it compiles networks with",
    "Failed to find C compiler": "torch finds no C compiler, which it compiles networks with",
    "Cannot find a working triton installation": "torch finds no Triton, which it compiles networks with",
    "too old to be supported by the triton": "this GPU is too old for torch to compile networks for it",
}
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


def resolve_dtype(name: str = "auto", device: torch.device = CPU) -> torch.dtype:
    """The number format that `auto`, `float32`, `bfloat16` or `float16` stands for on a device.

    `auto` is float16 on CUDA, where it is several times as fast, and moves no score by 0.005; else float32.

    Raises:
        UsageError: No such format.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name == "int8":
        raise UsageError("torch does not run the network in int8", "Use --engine openvino")
    require_choice("number format", name, ("auto", *DTYPES))
    return DTYPES[name]


def resolve_attention(name: Attention, device: torch.device) -> Attention:
    """The attention that a name stands for; `auto` is the fastest that was measured on the device."""
    require_choice("attention", name, get_args(Attention))
    if name != "auto":
        return name
    return fastest_attention() if device.type == "cpu" else "sdpa"


@contextmanager
def what_cannot_run(device: torch.device, attn: str, dtype: str, windows: int) -> Iterator[None]:
    """Around running a network: turn torch's errors into ours, which name what the device lacks.

    Args:
        device: Where it runs.
        attn: One of `settings.Attention`.
        dtype: The name of the number format.
        windows: In the batch.

    Raises:
        TooLittleMemoryError: The device has too little memory.
        EngineError: It cannot do this attention in this format.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY in str(error):
            raise TooLittleMemoryError(
                f"{device} has too little memory for {_count(windows)} at once",
                "Use a smaller --batch-size, or --dtype bfloat16",
            ) from error
        if any(words in str(error) for words in NO_KERNEL):
            raise EngineError(
                f"{device} has no {attn} attention for {dtype}", "Use --attn sdpa, which picks one"
            ) from error
        for words, cause in NO_COMPILER.items():
            if words in str(error):
                raise EngineError(cause, "Leave out --compile") from error
        raise


def _count(windows: int) -> str:
    return "one window" if windows == 1 else f"{windows} windows"
