"""Recordings -> windows, those of all in full batches -> an outcome for each recording, in their order.

Decoding runs ahead of the network: on threads, and in child processes where the network is fast. What the
network gives for a window, and what collects it, are handed in: scores and labels, or vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

import torch

from ast_cli.audio import shards
from ast_cli.audio.decode import Recording
from ast_cli.cores import usable_cores
from ast_cli.engines.engine import Engine
from ast_cli.errors import InputError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.masking import NoiseMasking
from ast_cli.features.window_stream import Window
from ast_cli.names import STDIN, parse_name
from ast_cli.networks.config import ASTConfig
from ast_cli.pipeline.batches import Batches, Collector, PendingScores
from ast_cli.pipeline.counters import Counters, Spent
from ast_cli.pipeline.decoders import Decoders
from ast_cli.pipeline.readahead import read_ahead
from ast_cli.pipeline.windows import Windowing, window_and_hop
from ast_cli.results import Facts, FileFailure
from ast_cli.settings import DEFAULT_BATCH_SIZE, TagSettings

MOST_WORKERS = 16
WINDOWS_AHEAD, MOST_WINDOWS_AHEAD = 8, 64  # per recording: 4 and 42 MB
IDLE_SECONDS = 1.0  # without a path, as of a list that somebody types, after which a batch need not be full
PROCESSES_AFTER = 100  # windows, when a run is worth the seconds of CPU that it takes to start them
LEAST_PROCESSES = 4  # fewer threads hardly wait for each other


class _Named(Protocol):
    @property
    def file(self) -> str: ...


ResultT = TypeVar("ResultT", bound=_Named)


@dataclass(frozen=True)
class Pipeline:
    """How recordings flow through networks.

    Raises:
        UsageError: The settings ask for a window or hop that cannot be, or for what an engine does not do.
    """

    engines: Sequence[Engine]  # networks of one shape of window
    extractor: ASTFeatureExtractor  # the features all of them take
    settings: TagSettings  # how recordings are processed
    start: Callable[[Sequence[Window]], PendingScores]  # of B windows, [B, …] of the networks, on its way
    masking: NoiseMasking | None = None  # hides what is quiet in each window
    counters: Counters = field(default_factory=Counters)  # where the time of `outcomes` goes

    def __post_init__(self) -> None:
        # Refused now rather than at the first recording, or at the first short one.
        window_and_hop(self.extractor, self.settings)
        if self.settings.short == "crop" and not all(engine.crops for engine in self.engines):
            raise UsageError(
                f"{self.engines[0].name} runs whole windows only",
                "Use --short pad or repeat, or --engine torch",
            )

    def outcomes(
        self,
        found: Iterable[str | ResultT | FileFailure],
        collector: Callable[[str], Collector[ResultT]],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_heard: Callable[[float], None] | None = None,
    ) -> Iterator[ResultT | FileFailure]:
        """An outcome for each recording; what is an outcome already is handed on.

        Args:
            found: Paths, taken as they are needed.
            collector: Makes the collector of a recording's scores, by its path.
            batch_size: Windows in a forward pass; None for what the engine does best with.
            workers: Recordings decoded at once; None for one a core, at most `MOST_WORKERS`.
            on_heard: Called with the seconds of audio that were newly scored, after every batch.

        Raises:
            EngineError: The device cannot run the network.
            UsageError: `batch_size` or `workers` is below 1.
        """
        if (batch_size is not None and batch_size < 1) or (workers is not None and workers < 1):
            raise UsageError("batch_size and workers must be at least 1")
        first = self.engines[0]  # the others are of its size
        ahead = min(engine.ahead for engine in self.engines)
        size, long_run = (batch_size, None) if batch_size else (first.batch_size, first.find_batch_size)
        batches: Batches[ResultT] = Batches(self.start, size, on_heard, ahead, long_run, self.counters)
        # Where batches are on their way, one long recording must fill several.
        depth = max(MOST_WINDOWS_AHEAD if ahead > 0 else WINDOWS_AHEAD, batch_size or 0)
        return self._outcomes(found, collector, batches, workers or min(usable_cores(), MOST_WORKERS), depth)

    def only(self, collector: Collector[ResultT], recording: Recording) -> ResultT:
        """The result of one open recording.

        Raises:
            InputError: It has none.
        """
        batches: Batches[ResultT] = Batches(self.start, DEFAULT_BATCH_SIZE)
        [outcome] = batches.outcomes([(collector, self.windows(recording))])
        if isinstance(outcome, FileFailure):  # what the network gives is not finite
            raise InputError(outcome.error, outcome.message)
        return outcome

    def windows(self, recording: Recording) -> Iterator[Window | Facts]:
        """The windows of an open recording; see `Windowing.of_recording`."""
        return self._windowing.of_recording(recording)

    def _outcomes(
        self,
        found: Iterable[str | ResultT | FileFailure],
        collector: Callable[[str], Collector[ResultT]],
        batches: Batches[ResultT],
        workers: int,
        depth: int,
    ) -> Iterator[ResultT | FileFailure]:
        here = self._windowing.of_file_timed
        counters = self.counters
        counters.workers = workers
        # With slower networks threads keep up, and they need no seconds to be started.
        in_processes = self._take_waveforms and workers >= LEAST_PROCESSES
        decoders = Decoders(here, PROCESSES_AFTER, self.engines[0].on_notice) if in_processes else None

        def windows(one: str | ResultT | FileFailure) -> Iterator[Window | Facts | ResultT | FileFailure]:
            torch.set_num_threads(1)  # of this thread: there is one for each core, beside the network's
            if not isinstance(one, str):
                yield one
                return
            decode = here if decoders is None or _is_of_this_process(one) else decoders.items
            for item in decode(one):
                if isinstance(item, Spent):
                    counters.add(item)
                else:
                    yield item

        threads = torch.get_num_threads()
        recordings = read_ahead(found, windows, workers, depth, IDLE_SECONDS, counters)
        counters.begin()
        try:
            with ExitStack() as stack:
                if decoders is not None:
                    stack.enter_context(closing(decoders))
                stack.enter_context(closing(recordings))
                for outcome in batches.outcomes(
                    next_ and (collector(next_[0] if isinstance(next_[0], str) else next_[0].file), next_[1])
                    for next_ in recordings
                ):
                    given = time.perf_counter()
                    yield outcome
                    counters.waited_for_caller += time.perf_counter() - given
        finally:
            shards.forget_listed()
            counters.end()
            torch.set_num_threads(threads)  # which threads that are started later begin with

    @property
    def _windowing(self) -> Windowing:
        """With waveforms, unless frames are changed before the engines have them."""
        as_waveforms = self.settings.short != "repeat" and self.masking is None and self._take_waveforms
        # The shortest window in which every network has patches over so many frames.
        cropped = partial(_cropped_length, tuple(engine.config for engine in self.engines))
        return Windowing(self.extractor, self.settings, cropped, self.masking, as_waveforms)

    @property
    def _take_waveforms(self) -> bool:
        """Whether the engines can extract the frames themselves: they are much faster than threads, then."""
        return all(engine.takes_waveforms for engine in self.engines)


def _cropped_length(configs: Sequence[ASTConfig], frames: int) -> int:
    return max(config.cropped_length(frames) for config in configs)


def _is_of_this_process(name: str) -> bool:
    """Whether a name is to be opened here: in each process, another file; or of a shard that is open here."""
    return name == STDIN or name.startswith(("/dev/", "/proc/")) or bool(parse_name(name).shard_and_member())
