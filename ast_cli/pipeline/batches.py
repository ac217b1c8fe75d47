"""Windows of many recordings -> full batches -> outcomes, in the order of the recordings.

A batch is never closed because a recording ended. Knows nothing of audio or of the network: what scores a
batch is handed in. It may take its time: then the next batches are made while it is at it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import InputError
from ast_cli.features.extractor import FRAMES_PER_SECOND
from ast_cli.features.window_stream import Window
from ast_cli.pipeline.counters import Counters
from ast_cli.results import Facts, FileFailure, Outcome

LONG_RUN = 64  # windows after which it pays to find a better batch size
MOST_IN_FLIGHT = 256  # recordings behind one whose batch does not fill

# Scores [B, C] on their way; called, it waits for them.
PendingScores = Callable[[], NDArray[np.float32]]
# What `windows.file_windows` yields of a recording.
Piece = Window | Facts | Outcome

ResultT = TypeVar("ResultT")
MadeT = TypeVar("MadeT", covariant=True)


class Collector(Protocol[MadeT]):
    """Takes the scores of the windows of one recording, and makes its result of them: an `Aggregate`, say."""

    file: str

    def add(self, start: int, length: int, new: int, scores: NDArray[np.float32], /) -> None:
        """See `Aggregate.add`."""

    def result(self, facts: Facts, /) -> MadeT:
        """See `Aggregate.result`."""
        ...


@dataclass
class _InFlight(Generic[ResultT]):
    """A recording on its way: some windows are scored, others wait in a batch or are not read yet."""

    aggregate: Collector[ResultT]
    waiting: int = 0
    end: Facts | ResultT | FileFailure | None = None

    def add(self, window: Window, scores: NDArray[np.float32]) -> None:
        self.waiting -= 1
        self.aggregate.add(window.start, window.length, window.new, scores)

    def outcome(self) -> ResultT | FileFailure | None:
        """The result or failure, or None while windows are still to come."""
        if not isinstance(self.end, Facts):
            return self.end
        if self.waiting:
            return None
        try:
            return self.aggregate.result(self.end)
        except InputError as error:
            return FileFailure.of(self.aggregate.file, error)


class Batches(Generic[ResultT]):
    """Collects windows until a batch is full; windows of different lengths do not fit into one.

    Args:
        start: Starts to score B windows; what it returns, waits for their scores [B, C].
        batch_size: B.
        on_heard: Called with the seconds of audio that were newly scored, after every batch.
        ahead: Batches that are started before the first one is waited for.
        long_run: Called once, after `LONG_RUN` windows; what it returns is B from then on.
        counters: Told of the time that each step takes.
    """

    def __init__(
        self,
        start: Callable[[Sequence[Window]], PendingScores],
        batch_size: int,
        on_heard: Callable[[float], None] | None = None,
        ahead: int = 0,
        long_run: Callable[[], int] | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._start = start
        self._batch_size = batch_size
        self._on_heard = on_heard
        self._ahead = ahead
        self._long_run = long_run
        self._started = 0  # windows
        self._running: deque[tuple[list[tuple[_InFlight[ResultT], Window]], PendingScores]] = deque()
        self._by_length: dict[int, list[tuple[_InFlight[ResultT], Window]]] = {}
        self._in_flight: deque[_InFlight[ResultT]] = deque()

    def outcomes(
        self,
        recordings: Iterable[
            tuple[Collector[ResultT], Iterable[Window | Facts | ResultT | FileFailure]] | None
        ],
    ) -> Iterator[ResultT | FileFailure]:
        """Score the windows of all recordings; an outcome for each, in their order.

        Args:
            recordings: Each with the collector of its scores, and its windows. None says that the next one
                takes its time: what waits is scored then, so that no result is held back.
        """
        for recording in recordings:
            if recording is None:
                yield from self._rest()
                continue
            aggregate, pieces = recording
            owner = _InFlight(aggregate)
            self._in_flight.append(owner)
            for piece in pieces:
                if not isinstance(piece, Window):
                    owner.end = piece
                    if isinstance(piece, FileFailure):
                        self._forget(owner)
                elif self._add(owner, piece):
                    yield from self._finished()
            while len(self._in_flight) > MOST_IN_FLIGHT and self._run_for(self._in_flight[0]):
                yield from self._finished()  # many behind a batch that does not fill must not wait for it
            yield from self._finished()
        yield from self._rest()

    def _rest(self) -> Iterator[ResultT | FileFailure]:
        """Score what waits, though no batch is full."""
        for length in [*self._by_length]:
            self._run(length)
        self._collect(0)
        yield from self._finished()

    def _add(self, owner: _InFlight[ResultT], window: Window) -> bool:
        """Take a window; whether that filled a batch, which then was started."""
        owner.waiting += 1
        length = len(window.content)
        batch = self._by_length.setdefault(length, [])
        batch.append((owner, window))
        if len(batch) < self._batch_size:
            return False
        self._run(length)
        return True

    def _run(self, length: int) -> None:
        batch = self._by_length.pop(length)
        windows = [window for _, window in batch]
        self._running.append((batch, self._counters.measure("starting", partial(self._start, windows))))
        self._collect(self._ahead)
        self._started += len(batch)
        if self._long_run is not None and self._started >= LONG_RUN:
            self._collect(0)
            self._batch_size = self._counters.measure("choosing_batch_size", self._long_run)
            self._long_run = None

    def _collect(self, left: int) -> None:
        """Wait for scores until at most so many batches are on their way."""
        while len(self._running) > left:
            batch, pending = self._running.popleft()
            scores = self._counters.measure("waited_for_scores", pending)
            for (owner, window), row in zip(batch, scores, strict=True):
                owner.add(window, row)
            if self._on_heard is not None:
                self._on_heard(sum(window.new for _, window in batch) / FRAMES_PER_SECOND)

    def _run_for(self, owner: _InFlight[ResultT]) -> bool:
        """Score the batches that a recording waits in; whether there are any."""
        lengths = [
            length for length, batch in self._by_length.items() if any(one is owner for one, _ in batch)
        ]
        for length in lengths:
            self._run(length)
        started = bool(self._running)
        self._collect(0)
        return bool(lengths) or started

    def _forget(self, owner: _InFlight[ResultT]) -> None:
        for length, batch in [*self._by_length.items()]:
            batch[:] = [entry for entry in batch if entry[0] is not owner]
            if not batch:
                del self._by_length[length]

    def _finished(self) -> Iterator[ResultT | FileFailure]:
        while self._in_flight and (outcome := self._in_flight[0].outcome()) is not None:
            self._in_flight.popleft()
            yield outcome
