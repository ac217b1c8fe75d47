"""The batch size from which a device gains no more."""

from __future__ import annotations

from collections.abc import Callable

from ast_cli.errors import TooLittleMemoryError

SIZES = (8, 16, 32, 64, 128, 256)
NEARLY_ALL = 0.95  # of the best rate; the rest is not worth the memory


def smallest_fast_batch(seconds: Callable[[int], float]) -> int:
    """The smallest batch size of `SIZES` that is nearly as fast as the fastest.

    Args:
        seconds: What a batch of so many windows takes; raises TooLittleMemoryError.
    """
    rates: dict[int, float] = {}
    for size in SIZES:
        try:
            rates[size] = size / seconds(size)
        except TooLittleMemoryError:
            break
        if rates[size] < NEARLY_ALL * max(rates.values()):
            break  # it has become slower
    best = max(rates.values(), default=0.0)
    return next((size for size, rate in rates.items() if rate >= NEARLY_ALL * best), SIZES[0])
