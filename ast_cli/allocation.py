"""How the C library gives memory back to the system, or keeps it for the next who asks."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress
from functools import cache

# Names and numbers of mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BYTES = 1 << 30
OLD_KEPT_BYTES = 1 << 25  # the most that the C library takes for M_MMAP_THRESHOLD before glibc 2.35
PAD_BYTES = 1 << 26


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
