"""Where training runs: device, number format and number of processes, as `accelerate` knows them."""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ast_cli.engines.devices import resolve_device
from ast_cli.errors import EngineError
from ast_cli.networks.processor import has_avx512
from ast_cli.training.settings import TrainSettings

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(settings: TrainSettings, device: str) -> Accelerator:
    """The accelerator of a run on a device, as `--device` names it.

    Raises:
        UsageError: No such kind of device.
        EngineError: It is not here, or does not know the number format.
    """
    found = resolve_device(device)
    if found.type == "cuda" and found.index is not None:
        torch.cuda.set_device(found)  # accelerate takes the current one
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if has_bfloat16(found) else "float32"
    if dtype == "float16" and found.type == "cpu":
        raise EngineError("training in float16 needs a GPU", "Use --dtype bfloat16 or float32")
    # accelerate keeps one state a program, which would refuse a second run of another kind.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=PRECISIONS[dtype],
        gradient_accumulation_steps=settings.accumulate,
        cpu=found.type == "cpu",
    )


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself; one that imitates it is faster in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.9 does not tell
    # torch may be held below what the processor has.
    return device.type == "cpu" and has_avx512() and bool(capabilities().get("avx512_bf16"))


def is_first_process() -> bool:
    """Whether this process is the one that speaks, before it has met the others."""
    return os.environ.get("RANK", "0") == "0"
