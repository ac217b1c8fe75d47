"""Windows side by side on a CPU: each on one thread, rather than all threads on each operation of one.

Nothing waits for the slowest thread after every operation then, and a thread's work stays in its cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ast_cli.allocation import keep_memory


class WindowThreads:
    """Runs a function of windows on as many threads as torch may use."""

    def __init__(self) -> None:
        # As many as torch may use now. Later its number may differ: each thread has its own, new threads
        # inherit one, and these threads as well as those that decode lower theirs.
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
                self._pool = ThreadPoolExecutor(self._threads, "window")
            return torch.cat([*self._pool.map(one, windows[:, None])])
        finally:
            torch.set_num_threads(self._threads)
