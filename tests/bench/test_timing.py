"""Medians and quartiles worked out by hand, and turns taken with a clock that tells what the test says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ast_cli.bench.machine import Spread, Stopwatch, take_turns

CPU = torch.device("cpu")


class Clock:
    """Stands still but for what runs take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, seconds: float) -> Callable[[], None]:
        def running() -> None:
            self.now += seconds

        return running


@pytest.mark.parametrize(
    ("values", "q1", "median", "q3"),
    [
        ([4.0], 4.0, 4.0, 4.0),
        ([3.0, 1.0], 1.5, 2.0, 2.5),
        ([5.0, 1.0, 3.0], 2.0, 3.0, 4.0),
        ([1.0, 2.0, 3.0, 4.0], 1.75, 2.5, 3.25),
        ([9.0, 1.0, 2.0, 3.0, 4.0], 2.0, 3.0, 4.0),  # one that was disturbed moves none of them
    ],
)
def test_the_middle_half(values: list[float], q1: float, median: float, q3: float) -> None:
    assert Spread.of(values) == Spread(median, q1, q3)


def test_in_another_unit() -> None:
    assert Spread(2.0, 1.0, 4.0).times(1000) == Spread(2000.0, 1000.0, 4000.0)


def test_runs_take_turns() -> None:
    order: list[str] = []
    runs = [lambda: order.append("A"), lambda: order.append("B"), lambda: order.append("C")]
    take_turns(runs, 2, Stopwatch(CPU))
    assert "".join(order) == "ABCABC"


def test_each_run_is_given_its_own_seconds() -> None:
    clock = Clock()
    seconds = take_turns([clock.run(0.5), clock.run(0.25)], 3, Stopwatch(CPU, clock))
    assert seconds == [[0.5] * 3, [0.25] * 3]


def test_of_several_in_a_row_each_took_its_part() -> None:
    clock = Clock()
    assert Stopwatch(CPU, clock).seconds(clock.run(0.5), times=4) == 0.5
    assert clock.now == 2.0
