"""How much memory a way of running takes by itself, though others are loaded beside it.

On CUDA, what torch has allocated there; elsewhere, what of this process is resident, or 0 on Windows.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
FORGET_PEAK = "5"  # see proc(5)
MEGABYTE = 1 << 20


class Memory:
    """Watches one device.

    Args:
        device: Where networks run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        self._base = self.mark()  # of what would be there in any case

    def mark(self) -> float:
        """Give back what is free, forget earlier peaks, and return what is in use, in megabytes."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _give_back()
            with suppress(OSError):
                CLEAR.write_text(FORGET_PEAK)
        return self._in_use()

    def peak(self) -> float:
        """The most that was in use since the last mark, in megabytes; ever, where peaks stay."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MEGABYTE
        if STATUS.exists():
            return _status("VmHWM")
        most = 0.0
        if sys.platform != "win32":
            from resource import RUSAGE_SELF, getrusage

            most = getrusage(RUSAGE_SELF).ru_maxrss / (MEGABYTE if sys.platform == "darwin" else 1024)
        return most

    def own(self, before: float, after: float) -> float:
        """What there would be in use if only what was loaded between two marks were there, in megabytes."""
        return self._base + after - before

    def _in_use(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device) / MEGABYTE
        return _status("VmRSS") if STATUS.exists() else self.peak()


def _status(name: str) -> float:
    [kilobytes] = [line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(kilobytes) / 1024


def _give_back() -> None:
    """Have the C library give freed memory back to the system; engines have it keep that."""
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
