"""The whole flow on a folder of recordings: ours, and what one would write with `transformers` instead."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from ast_cli.audio.discover import discover
from ast_cli.audio.sinc_filter import resample
from ast_cli.bench.document import Document, Flow, Run
from ast_cli.bench.machine import Machine
from ast_cli.bench.memory import Memory
from ast_cli.bench.network import attentions, device_of, nothing, peer_dtype
from ast_cli.bench.peer import load_extractor, load_network
from ast_cli.bench.request import TRANSFORMERS, Request
from ast_cli.bench.stages import window_seconds
from ast_cli.bench.timing import Spread, Stopwatch
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import Way, open_engine
from ast_cli.errors import UsageError
from ast_cli.features.extractor import FRAME_SECONDS, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.reference import require_transformers
from ast_cli.results import FileResult
from ast_cli.tagger import Tagger


@dataclass(frozen=True, slots=True)
class Heard:
    """What a pass over the folder heard.

    Attributes:
        files: Recordings that came through.
        failed: Recordings that could not be read.
        seconds: Of audio.
        windows: That the network took.
    """

    files: int
    failed: int
    seconds: float
    windows: int


class Flowing(ABC):
    """One way of tagging a folder.

    Attributes:
        batch_size: Windows in a forward pass.
        heard: What its last pass heard.
    """

    engine: str
    attn: str
    device: str
    dtype: str
    compile: bool = False

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.heard = Heard(0, 0, 0.0, 0)

    @abstractmethod
    def warm_up(self) -> None:
        """Run the network once."""

    @abstractmethod
    def tag(self, paths: Sequence[str]) -> None:
        """Tag recordings and leave in `heard` what they were."""


class OurFlow(Flowing):
    """`Tagger.tag_many`."""

    def __init__(self, checkpoint: Checkpoint, request: Request, attn: str, batch_size: int) -> None:
        super().__init__(batch_size)
        way = Way(request.engine, request.device, request.dtype, attn, request.compile)
        engine, extractor = open_engine(checkpoint, way)
        labels, scores = engine.config.labels, engine.config.scores
        self._tagger = Tagger([engine], extractor, labels, scores, [checkpoint])
        self.engine, self.attn = engine.name, engine.attn
        self.device, self.dtype, self.compile = engine.device, engine.dtype, request.compile

    def warm_up(self) -> None:
        """Run a whole batch of the network."""
        extractor = self._tagger.extractor
        batch = torch.zeros(self.batch_size, extractor.max_length, extractor.num_mel_bins)
        for engine in self._tagger.engines:
            engine.logits(batch)

    def tag(self, paths: Sequence[str]) -> None:
        """Tag recordings and leave in `heard` what they were."""
        outcomes = [*self._tagger.tag_many(paths, batch_size=self.batch_size)]
        heard = [one.seconds_heard for one in outcomes if isinstance(one, FileResult)]
        windows = sum(num_windows(seconds, self._tagger.extractor) for seconds in heard)
        self.heard = Heard(len(heard), len(outcomes) - len(heard), math.fsum(heard), windows)


class PlainPipeline(Flowing):
    """soundfile, torchaudio's resampling (ours equals it) and the pipeline of `transformers`, as documented.

    The pipeline hears but the first window of what it is given: here it is given every window.
    """

    engine = TRANSFORMERS

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> None:
        super().__init__(batch_size)
        from transformers import pipeline

        network = load_network(checkpoint, device, dtype)
        extractor = load_extractor(checkpoint)
        self._pipeline: Callable[..., Any] = pipeline(
            "audio-classification", model=network, feature_extractor=extractor, device=device, dtype=dtype
        )
        self._rate: int = extractor.sampling_rate
        self._samples = round(extractor.max_length / FRAMES_PER_SECOND * self._rate)  # in a window
        self._labels: int = network.config.num_labels
        self.device, self.dtype = str(device), str(dtype).removeprefix("torch.")
        self.attn = str(network.config._attn_implementation)

    def warm_up(self) -> None:
        """Run a whole batch of the network."""
        silence = np.zeros(self._samples, np.float32)
        for _ in self._results(silence for _ in range(self.batch_size)):
            pass

    def tag(self, paths: Sequence[str]) -> None:
        """Tag recordings and leave in `heard` what they were."""
        counted = {"files": 0, "failed": 0, "samples": 0}
        windows = sum(1 for _ in self._results(self._windows(paths, counted)))
        self.heard = Heard(counted["files"], counted["failed"], counted["samples"] / self._rate, windows)

    def _results(self, windows: Iterator[NDArray[np.float32]]) -> Iterator[Any]:
        heard = ({"raw": window, "sampling_rate": self._rate} for window in windows)
        top_k = min(5, self._labels)
        results: Iterator[Any] = self._pipeline(
            heard, function_to_apply="sigmoid", top_k=top_k, batch_size=self.batch_size
        )
        return results

    def _windows(self, paths: Sequence[str], counted: dict[str, int]) -> Iterator[NDArray[np.float32]]:
        for path in paths:
            try:
                samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError):
                counted["failed"] += 1
                continue
            waveform = resample(torch.from_numpy(samples).mean(dim=1), rate, self._rate).numpy()
            # What is left at the end may be too short for a single frame.
            least = int(FRAME_SECONDS * self._rate)
            starts = [*range(0, len(waveform) - least + 1, self._samples)]
            counted["files" if starts else "failed"] += 1
            for start in starts:
                window = waveform[start : start + self._samples]
                counted["samples"] += len(window)
                yield window


@dataclass
class _Entry:
    """A way of tagging, and what was measured of it."""

    open: Callable[[], Flowing]
    flow: Flowing | None = None
    load_seconds: float = 0.0
    own_mb: float = 0.0
    peak_mb: float = 0.0
    seconds: list[float] = field(default_factory=list)


def num_windows(seconds: float, extractor: ASTFeatureExtractor) -> int:
    """Windows of a recording of which so many seconds were heard: as many as hold all of its frames."""
    frames = round((seconds - FRAME_SECONDS) * FRAMES_PER_SECOND) + 1
    return -(-frames // extractor.max_length)


def bench_folder(
    request: Request, on_step: Callable[[str], None] = nothing, on_notice: Callable[[str], None] = nothing
) -> Document:
    """Time the whole flow on the recordings of a folder, in this process.

    Args:
        request: What is to be timed; with a folder.
        on_step: Called with what is done next.
        on_notice: Called with what should be known.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        EngineError: The device or engine is not there, or it cannot run.
        UsageError: A name stands for nothing, or none of the recordings can be tagged.
    """
    assert request.folder is not None
    if request.peer:
        require_transformers()
    Way(request.engine, request.device, request.dtype, "auto", request.compile).check()
    paths = _recordings(request.folder)
    device = device_of(request)
    checkpoint = Checkpoint.open(request.model, request.revision, offline=request.offline)
    machine = Machine.describe(device)
    asked = attentions(request, device) if request.attn else ("auto",)
    ways: list[Callable[[int], Flowing]] = [partial(OurFlow, checkpoint, request, attn) for attn in asked]
    if request.peer:
        ways.append(partial(PlainPipeline, checkpoint, device, peer_dtype(request, device, on_notice)))
    entries = [_Entry(partial(way, size)) for size in request.batch_sizes for way in ways]
    _measure(entries, paths, request.repeats, device, on_step)
    window = window_seconds(ASTFeatureExtractor.from_pretrained(checkpoint))
    runs = [_run(entry, window) for entry in entries]
    failed = runs[0].flow.failed if runs[0].flow else 0
    if failed:
        on_notice(f"{failed} of {len(paths)} recordings could not be read; `ast-tag` on the folder says why")
    return Document(request.command, checkpoint.files.id, machine, runs, request.repeats)


def _recordings(folder: str) -> list[str]:
    if not Path(folder).exists():
        raise UsageError(f"no such folder: {folder}", "Name a folder of recordings, or leave it out")
    paths = [one for one in discover([folder]) if isinstance(one, str)]
    if not paths:
        raise UsageError(f"{folder} holds no recordings", "Name a folder that does, or leave it out")
    return paths


def _measure(
    entries: list[_Entry],
    paths: list[str],
    repeats: int,
    device: torch.device,
    on_step: Callable[[str], None],
) -> None:
    memory, stopwatch = Memory(device), Stopwatch(device)
    for entry in entries:
        on_step("loading")
        before = memory.mark()
        start = time.perf_counter()
        entry.flow = entry.open()
        entry.flow.warm_up()
        entry.load_seconds = time.perf_counter() - start
        entry.own_mb = memory.own(before, memory.mark())
    for repeat in range(repeats):  # in turns, as in `timing.take_turns`
        for entry in entries:
            flow = entry.flow
            assert flow is not None
            on_step(
                f"{flow.engine}: {len(paths)} recordings, {flow.batch_size} at once ({repeat + 1}/{repeats})"
            )
            at_rest = memory.mark() if repeat == 0 else 0.0
            entry.seconds.append(stopwatch.seconds(partial(flow.tag, paths)))
            if repeat == 0:
                entry.peak_mb = entry.own_mb + memory.peak() - at_rest
            if not flow.heard.files:
                raise UsageError("none of the recordings could be tagged", "`ast-tag` on the folder says why")


def _run(entry: _Entry, window_seconds: float) -> Run:
    flow = entry.flow
    assert flow is not None
    heard, wall = flow.heard, Spread.of(entry.seconds)
    return Run(
        attn=flow.attn,
        engine=flow.engine,
        dtype=flow.dtype,
        device=flow.device,
        compile=flow.compile,
        batch_size=flow.batch_size,
        ms_per_window=wall.times(1e3 / heard.windows),
        windows_per_s=heard.windows / wall.median,
        x_realtime=heard.seconds / wall.median,
        peak_memory_mb=entry.peak_mb,
        flow=Flow(
            files=heard.files,
            failed=heard.failed,
            seconds=heard.seconds,
            windows=heard.windows,
            load_seconds=entry.load_seconds,
            wall_seconds=wall,
            files_per_s=heard.files / wall.median,
        ),
    )
