"""Windows side by side on a CPU: each on one thread, rather than all threads on each operation of one.

Nothing waits for the slowest thread after every operation then, and a thread's work stays in its cache.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock, Thread

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
        self._pool: ThreadPoolExecutor | None = None
        keep_memory()

    def map(self, run: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
        """Run each window [1, …] of windows [B, …]; returns the results [1, …] as [B, …]."""
        with _THREADS.kept() as threads:
            side_by_side = min(len(windows), threads)
            if side_by_side <= 1:
                return torch.cat([run(window) for window in windows[:, None]])
            each = threads // side_by_side

            def one(window: Tensor) -> Tensor:
                torch.set_num_threads(each)  # of this thread of the pool
                return run(window)

            if self._pool is None:
                self._pool = ThreadPoolExecutor(threads, "stream")
            return torch.cat([*self._pool.map(one, windows[:, None])])


class _Threads:
    """How many threads torch may use, which streams change and leave as it was.

    torch's number is the calling thread's own, and what threads begin with that are started later: one that
    is started while streams run has too low a number of its own, which must not become everybody's.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._usual = 0

    @contextmanager
    def kept(self) -> Iterator[int]:
        """The number; afterwards it is the calling thread's, and that of threads to come."""
        with self._lock:
            if self._users == 0:
                thread = Thread(target=self._read)
                thread.start()
                thread.join()
            self._users += 1
        try:
            yield self._usual
        finally:
            with self._lock:
                self._users -= 1
                torch.set_num_threads(self._usual)

    def _read(self) -> None:
        self._usual = torch.get_num_threads()  # of a thread that has just begun


_THREADS = _Threads()


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
