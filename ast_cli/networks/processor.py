"""What the processor is, as far as it decides how a network is computed fastest.

Measured with the full-size network in float32, milliseconds of one core a window:

| processor | linear layers by MKL, attention sdpa | heads | linear layers by oneDNN, sdpa | heads |
|---|---|---|---|---|
| Intel Xeon, AVX-512 | 2,345 | 2,892 | 2,309 | 2,987 |
| the same, held to AVX2 | 3,920 | 4,398 | 4,121 | 4,686 |

On AMD EPYC with AVX-512, MKL has half of oneDNN's rate, and heads take half the time of sdpa. On AMD EPYC
with AVX2, sdpa is a tenth faster than heads. ARM and Apple processors were not measured: they get what torch
does by itself.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from ast_cli.settings import Attention

AMD = "AuthenticAMD"


@cache
def is_amd() -> bool:
    """Whether this is an x86 processor by AMD."""
    try:
        return AMD in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return AMD in platform.processor()


def has_avx512() -> bool:
    """Whether torch computes with AVX-512 here."""
    return str(torch.backends.cpu.get_cpu_capability()) == "AVX512"


def products_want_onednn() -> bool:
    """Whether float32 products are faster by oneDNN than by MKL, to which torch gives them."""
    return is_amd()


def fastest_attention() -> Attention:
    """Which of `settings.Attention` is the fastest on this processor."""
    return "heads" if is_amd() and has_avx512() else "sdpa"
