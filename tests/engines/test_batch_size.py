"""Which batch size is chosen for devices that somebody made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ast_cli.engines.batch_size import SIZES, smallest_fast_batch
from ast_cli.errors import TooLittleMemoryError


def device(start: float, each: float, room: int = 1000) -> tuple[Callable[[int], float], list[int]]:
    """A device that takes `start` for a batch and `each` for a window."""
    tried: list[int] = []

    def seconds(size: int) -> float:
        tried.append(size)
        if size > room:
            raise TooLittleMemoryError("no room")
        return start + each * size

    return seconds, tried


@pytest.mark.parametrize(
    ("start", "each", "expected"),
    [
        (0.0, 1.0, 8),  # the same rate at each size
        (1.0, 1.0, 32),  # rates of 0.89, 0.94, 0.97 and 0.985 windows a second, then hardly more
        (100.0, 1.0, 256),  # the more the better
    ],
)
def test_the_smallest_that_is_nearly_the_fastest(start: float, each: float, expected: int) -> None:
    seconds, tried = device(start, each)
    assert smallest_fast_batch(seconds) == expected
    assert tried == [*SIZES]


@pytest.mark.parametrize(("room", "expected"), [(100, 64), (8, 8), (0, 8)])
def test_what_does_not_fit_is_not_taken(room: int, expected: int) -> None:
    seconds, tried = device(100.0, 1.0, room)
    assert smallest_fast_batch(seconds) == expected
    assert max(tried) <= max(8, 2 * room)


def test_larger_sizes_are_not_tried_once_it_becomes_slower() -> None:
    tried: list[int] = []

    def seconds(size: int) -> float:
        tried.append(size)
        return size * (1.0 if size <= 16 else 2.0)

    assert smallest_fast_batch(seconds) == 8
    assert tried == [8, 16, 32]
