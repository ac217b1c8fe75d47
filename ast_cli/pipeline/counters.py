"""Where the time of a run goes: who waited for whom, and what a core spent on each stage of a recording."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")

# Reading includes opening and decoding; cutting, the frames where no device makes them.
STAGES = ("read", "mix", "resample", "cut", "hand over")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one recording cost.

    Attributes:
        process: That decoded it.
        seconds: Of a core, by `STAGES`.
    """

    process: int
    seconds: tuple[float, ...]


class StageClock:
    """Core seconds of the calling thread, told apart by stage; one a thread."""

    _of_thread = threading.local()

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._since = time.thread_time()

    @classmethod
    def of_thread(cls) -> StageClock:
        """The clock of this thread: between two recordings it goes on, as then the first is handed over."""
        if not hasattr(cls._of_thread, "clock"):
            cls._of_thread.clock = cls()
        clock: StageClock = cls._of_thread.clock
        return clock

    def lap(self, stage: str) -> None:
        """The time since the last call was spent on this."""
        now = time.thread_time()
        self._seconds[stage] += now - self._since
        self._since = now

    def timed(self, items: Iterator[ItemT], stage: str) -> Iterator[ItemT]:
        """The same items, whose making is this stage."""
        for item in items:
            self.lap(stage)
            yield item

    def take(self) -> Spent:
        """What was spent since this was last called."""
        spent = Spent(os.getpid(), tuple(self._seconds.values()))
        self._seconds = dict.fromkeys(STAGES, 0.0)
        return spent


@dataclass
class Counters:
    """Where the time of one run went. Seconds, unless said otherwise.

    What the thread that feeds the network did not do of `wall`, it spent on putting scores together.

    Attributes:
        workers: Threads that decode, or that wait for a decoding process each.
        wall: From the first recording wanted to the last outcome taken.
        waited_for_recordings: That the network's thread had nothing to do.
        starting: That it took to put batches together and hand them to the device.
        waited_for_scores: That it waited for the device, or computed where there is none.
        choosing_batch_size: That it took to find the best one.
        waited_for_caller: That the caller kept an outcome before taking the next.
        decoders_waited: For the network to take what was decoded; of all threads together.
        network_core: Of a core, that the network's thread took.
        process_core: Of a core, that this process took, all threads together; not the decoding processes.
        recordings: That were decoded.
        in_processes: Of them, by decoding processes.
        processes: That decoded at least one.
        processes_after: Until the first recording came from a process; None if none did.
        stages: Of a core, all decoders together, by `STAGES`.
    """

    workers: int = 0
    wall: float = 0.0
    waited_for_recordings: float = 0.0
    starting: float = 0.0
    waited_for_scores: float = 0.0
    choosing_batch_size: float = 0.0
    waited_for_caller: float = 0.0
    decoders_waited: float = 0.0
    network_core: float = 0.0
    process_core: float = 0.0
    recordings: int = 0
    in_processes: int = 0
    processes_after: float | None = None
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _processes: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun: tuple[float, float, float] | None = None

    def begin(self) -> None:
        """The run begins, on the network's thread."""
        self._begun = (time.perf_counter(), time.thread_time(), time.process_time())

    def end(self) -> None:
        """It is over, on the same thread."""
        assert self._begun is not None
        wall, thread, process = self._begun
        self.wall = time.perf_counter() - wall
        self.network_core = time.thread_time() - thread
        self.process_core = time.process_time() - process

    @property
    def processes(self) -> int:
        """See the class."""
        return len(self._processes)

    def add(self, spent: Spent) -> None:
        """A recording is decoded; called on any thread."""
        with self._lock:
            self.recordings += 1
            for stage, seconds in zip(STAGES, spent.seconds, strict=True):
                self.stages[stage] += seconds
            if spent.process != os.getpid():
                self.in_processes += 1
                self._processes.add(spent.process)
                if self.processes_after is None and self._begun is not None:
                    self.processes_after = time.perf_counter() - self._begun[0]

    def decoder_waited(self, seconds: float) -> None:
        """A decoder had no room for what it made; called on any thread."""
        with self._lock:
            self.decoders_waited += seconds

    def measure(self, name: str, run: Callable[[], ItemT]) -> ItemT:
        """Run something on the network's thread, and count its seconds under a name."""
        start = time.perf_counter()
        try:
            return run()
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - start)

    @property
    def decoded_by(self) -> str:
        """Who decoded, in words: `16 processes, 100 recordings by threads before`."""
        if not self.processes:
            return f"{self.workers} thread{'' if self.workers == 1 else 's'}"
        by_threads = self.recordings - self.in_processes
        before = f" after {self.processes_after:.1f} s and {by_threads:,} by threads" if by_threads else ""
        return f"{self.processes} process{'' if self.processes == 1 else 'es'}{before}"

    def milliseconds(self) -> dict[str, float]:
        """Of a core, by stage, for one recording; empty where none was decoded."""
        if not self.recordings:
            return {}
        return {stage: 1e3 * seconds / self.recordings for stage, seconds in self.stages.items()}

    def in_words(self) -> str:
        """All of it in one line."""
        stages = ", ".join(f"{stage} {taken:.2f}" for stage, taken in self.milliseconds().items())
        recordings = f"{self.recordings:,} recording{'' if self.recordings == 1 else 's'}"
        return (
            f"{recordings} decoded by {self.decoded_by} in {self.wall:.1f} s; the network "
            f"waited {self.waited_for_recordings:.1f} s for recordings, decoders "
            f"{self.decoders_waited:.1f} s for the network; scores took "
            f"{self.starting + self.waited_for_scores:.1f} s; "
            f"ms of a core a recording: {stages or 'none'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The counters for a JSON document."""
        names = [name for name in self.__dataclass_fields__ if not name.startswith("_")]
        return {
            **{name: getattr(self, name) for name in names},
            "processes": self.processes,
            "decoded_by": self.decoded_by,
            "core_ms_per_recording": self.milliseconds(),
        }
