"""Runs generators on threads, ahead of the consumer; their items come out in the order of the jobs.

Knows nothing of audio: a job is anything, and what it yields is anything.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from ast_cli.pipeline.counters import Counters

JobT = TypeVar("JobT")
ItemT = TypeVar("ItemT")

MOST_SECONDS_TO_END = 1.0  # that closing waits for a thread in the middle of something
POLL_SECONDS = 0.1  # how soon a thread that waits notices that nobody wants its items any more


class _Stopped(Exception):  # noqa: N818 — not an error
    pass


class _Lane(Generic[ItemT]):
    """What one job has yielded and nobody has taken yet.

    Its queues are those that are written in C: to put costs neither a lock nor a switch to another thread.
    """

    def __init__(self, depth: int, stop: threading.Event, counters: Counters) -> None:
        self._counters = counters
        self._items: SimpleQueue[tuple[str, ItemT | BaseException | None]] = SimpleQueue()
        self._room = depth  # for items that need not wait until one is taken
        self._taken: SimpleQueue[None] = SimpleQueue()  # one for each item
        self._stop = stop

    def fill(self, run: Callable[[JobT], Iterator[ItemT]], job: JobT) -> None:
        """On the job's thread: put every item in, then how it ended."""
        try:
            for item in run(job):
                self._wait_for_room()
                self._items.put(("item", item))
            self._items.put(("end", None))
        except _Stopped:
            pass
        except BaseException as error:  # handed to the consumer, whatever it is
            self._items.put(("error", error))

    def _wait_for_room(self) -> None:
        if self._room > 0 and not self._stop.is_set():
            self._room -= 1
            return
        start = time.perf_counter()
        while not self._stop.is_set():
            with suppress(Empty):
                self._taken.get(timeout=POLL_SECONDS)
                self._counters.decoder_waited(time.perf_counter() - start)
                return
        raise _Stopped

    def __iter__(self) -> Iterator[ItemT]:
        while True:
            kind, value = self._counters.measure("waited_for_recordings", self._items.get)
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            self._taken.put(None)
            yield value  # type: ignore[misc]


def read_ahead(
    jobs: Iterable[JobT],
    run: Callable[[JobT], Iterator[ItemT]],
    workers: int,
    depth: int,
    idle: float | None = None,
    counters: Counters | None = None,
) -> Generator[tuple[JobT, Iterable[ItemT]] | None, None, None]:
    """Run jobs on threads and hand over each with its items, in the order of the jobs.

    An item can be taken as soon as it is there; an exception of a job is raised where its items are taken,
    and one of `jobs` after the jobs before it. The items of a job must be taken before the next job is.
    Closing the generator ends the threads.

    Args:
        jobs: Taken one by one as threads become free, so that they may be endless, and on a thread of their
            own, so that nobody waits for the next one.
        run: Makes the items of a job; runs on a thread.
        workers: Number of threads.
        depth: Items that a job may be ahead.
        idle: Seconds without a next job after which None is yielded, over and over, so that the consumer may
            use the time; None to wait for as long as it takes.
        counters: Told how long the consumer waits for items, and threads for the consumer.
    """
    stop, counts = threading.Event(), counters or Counters()
    # More jobs than there are threads: a thread that becomes free finds the next one waiting, though one
    # before it takes longer. Their places are given back some at a time, as each time wakes a thread.
    more = max(1, workers // 2)
    places, at_a_time = threading.Semaphore(workers + more), max(1, more // 2)
    lanes: SimpleQueue[tuple[JobT, _Lane[ItemT]] | BaseException | None] = SimpleQueue()
    started: SimpleQueue[tuple[JobT, _Lane[ItemT]] | None] = SimpleQueue()

    def feed() -> None:
        try:
            waiting = iter(jobs)
            while places.acquire() and not stop.is_set():
                try:
                    job = next(waiting)
                except StopIteration:
                    lanes.put(None)
                    return
                lane: _Lane[ItemT] = _Lane(depth, stop, counts)
                lanes.put((job, lane))
                started.put((job, lane))
        except BaseException as error:  # handed to the consumer, whatever it is
            lanes.put(error)

    def work() -> None:
        while (task := started.get()) is not None and not stop.is_set():
            job, lane = task
            lane.fill(run, job)

    # Daemons: one that waits for a pipe nobody writes to must not keep the program from ending.
    targets = [feed, *[work] * workers]
    threads = [
        threading.Thread(target=one, name=f"read-ahead-{n}", daemon=True) for n, one in enumerate(targets)
    ]

    def end() -> None:
        stop.set()
        places.release()
        for _ in range(workers):
            started.put(None)
        until = time.monotonic() + MOST_SECONDS_TO_END
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    # A generator that is never closed must not leave threads behind in the middle of torch at exit.
    atexit.register(end)
    for thread in threads:
        thread.start()
    free = 0
    try:
        while True:
            try:
                entry = counts.measure("waited_for_recordings", partial(lanes.get, timeout=idle))
            except Empty:
                yield None
                continue
            if entry is None:
                return
            if isinstance(entry, BaseException):
                raise entry
            free += 1
            if free == at_a_time:
                places.release(free)
                free = 0
            yield entry
    finally:
        atexit.unregister(end)
        end()
