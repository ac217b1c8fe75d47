"""Windows side by side on a CPU: each on one thread, rather than all threads on each operation of one.

Nothing waits for the slowest thread after every operation then, and a thread's work stays in its cache.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

# Names and numbers of mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BYTES = 1 << 30
OLD_KEPT_BYTES = 1 << 25  # the most that the C library takes for M_MMAP_THRESHOLD before glibc 2.35
PAD_BYTES = 1 << 26


class Streams:
    """Runs a function of windows on as many threads as torch may use."""

    def __init__(self) -> None:
        # As many as torch may use now. Later its number may be another thread's idea: it is the calling
        # thread's own, and what threads begin with, and both streams and decoding threads lower theirs.
        self._threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        keep_memory()

    def map(self, run: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
        """Run each window [1, …] of windows [B, …]; returns the results [1, …] as [B, …]."""
        side_by_side = min(len(windows), self._threads)
        each = self._threads // max(1, side_by_side)

        def one(window: Tensor) -> Tensor:
            torch.set_num_threads(each)  # of this thread of the pool
            return run(window)

        try:
            if side_by_side <= 1:
                return torch.cat([one(window) for window in windows[:, None]])
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "stream")
            return torch.cat([*self._pool.map(one, windows[:, None])])
        finally:
            torch.set_num_threads(self._threads)


@cache
def keep_memory() -> None:
    """Have the C library keep what is freed, instead of giving it back to the system after every operation.

    Taking it again costs a page fault for every 4 kB, which is a sixth of the time of a float32 window.
    """
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_TOP_PAD, PAD_BYTES)
            library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
            # A refusal would leave it at 128 kB: as soon as one of these is set, it does not adapt any more.
            if not library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES):
                library.mallopt(M_MMAP_THRESHOLD, OLD_KEPT_BYTES)
