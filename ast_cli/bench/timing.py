"""How long something takes: taken in turns, told as median and quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the middle half of some measurements lies.

    Attributes:
        median: Half of them are below.
        q1: A quarter of them are below.
        q3: Three quarters of them are below.
    """

    median: float
    q1: float
    q3: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one measurement; between two of them, quartiles are interpolated."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3)

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(self.median * factor, self.q1 * factor, self.q3 * factor)


class Stopwatch:
    """Times what runs on a device, until the device has done all of it.

    Args:
        device: Where it runs.
        clock: Tells seconds.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> None:
        self._device = device
        self._clock = clock

    def seconds(self, run: Callable[[], object], times: int = 1) -> float:
        """How long one of so many runs takes; they are handed to the device without waiting for each."""
        self._wait()
        start = self._clock()
        for _ in range(times):
            run()
        self._wait()
        return (self._clock() - start) / times

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()


def take_turns(runs: Sequence[Callable[[], object]], repeats: int, stopwatch: Stopwatch) -> list[list[float]]:
    """Seconds of each run, so many times: A B C, A B C, … rather than A A, B B, C C.

    A machine that gets slower meanwhile, because it heats up or others work on it, is so to all of them.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, taken in zip(runs, seconds, strict=True):
            taken.append(stopwatch.seconds(run))
    return seconds
