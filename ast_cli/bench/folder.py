"""The whole flow on a folder of recordings: ours, and what one would write with `transformers` instead."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from ast_cli.audio.discover import discover
from ast_cli.audio.sinc_filter import resample
from ast_cli.bench.document import Document, FolderFigures, Measurement
from ast_cli.bench.machine import Machine
from ast_cli.bench.memory import Memory
from ast_cli.bench.network import attentions, device_of, nothing, peer_dtype
from ast_cli.bench.peer import load_extractor, load_network
from ast_cli.bench.request import TRANSFORMERS, Request
from ast_cli.bench.timing import Spread, Stopwatch
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import check_engine, open_engine
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import FRAME_SECONDS, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.results import FileResult
from ast_cli.settings import Attention
from ast_cli.tagger import Tagger


@dataclass(frozen=True, slots=True)
class Processed:
    """What a pass over the folder processed.

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


class FolderTagger(ABC):
    """One way of tagging a folder, and what was measured of it.

    Attributes:
        batch_size: Windows in a forward pass.
        processed: What its last pass processed.
        counters: Where that spent its time, if it tells.
        load_seconds: Until the network had run once.
        own_mb: What it takes at rest.
        peak_mb: The most that it took.
        seconds: Of each pass.
    """

    engine: str
    attn: str
    device: str
    dtype: str
    compile: bool = False

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.processed = Processed(0, 0, 0.0, 0)
        self.counters: dict[str, Any] | None = None
        self.load_seconds = self.own_mb = self.peak_mb = 0.0
        self.seconds: list[float] = []

    @abstractmethod
    def load(self) -> None:
        """Load the network, and run a whole batch of it."""

    @abstractmethod
    def tag(self, paths: Sequence[str]) -> None:
        """Tag recordings and leave in `processed` what they were."""


class OurTagger(FolderTagger):
    """`Tagger.tag_many`."""

    def __init__(self, checkpoint: Checkpoint, request: Request, attn: Attention, batch_size: int) -> None:
        super().__init__(batch_size)
        self.compile = request.compile
        self._open = partial(open_engine, checkpoint, request.settings(attn))
        self._checkpoint = checkpoint

    def load(self) -> None:
        """See `FolderTagger.load`."""
        engine, extractor = self._open()
        self.engine, self.attn, self.device, self.dtype = (
            engine.name,
            engine.attn,
            engine.device,
            engine.dtype,
        )
        labels, scores = engine.config.labels, engine.config.scores
        self._tagger = Tagger([engine], extractor, labels, scores, [self._checkpoint])
        engine.logits(torch.zeros(self.batch_size, extractor.max_length, extractor.num_mel_bins))

    def tag(self, paths: Sequence[str]) -> None:
        """See `FolderTagger.tag`."""
        outcomes = [*self._tagger.tag_many(paths, batch_size=self.batch_size)]
        self.counters = self._tagger.counters.to_dict()
        seconds = [one.seconds_heard for one in outcomes if isinstance(one, FileResult)]
        windows = sum(num_windows(one, self._tagger.extractor) for one in seconds)
        self.processed = Processed(len(seconds), len(outcomes) - len(seconds), math.fsum(seconds), windows)


class TransformersPipeline(FolderTagger):
    """soundfile, a resampling equal to torchaudio's and the pipeline of `transformers`, as it documents them.

    The pipeline hears but the first window of what it is given: here it is given every window.
    """

    engine = TRANSFORMERS

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> None:
        super().__init__(batch_size)
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype

    def load(self) -> None:
        """See `FolderTagger.load`."""
        from transformers import pipeline

        device, dtype = self._device, self._dtype
        network = load_network(self._checkpoint, device, dtype)
        extractor = load_extractor(self._checkpoint)
        self._pipeline: Callable[..., Any] = pipeline(
            "audio-classification", model=network, feature_extractor=extractor, device=device, dtype=dtype
        )
        self._rate: int = extractor.sampling_rate
        self._samples = round(extractor.max_length / FRAMES_PER_SECOND * self._rate)  # in a window
        self._labels: int = network.config.num_labels
        self.device, self.dtype = str(device), str(dtype).removeprefix("torch.")
        self.attn = str(network.config._attn_implementation)
        silence = np.zeros(self._samples, np.float32)
        for _ in self._results(silence for _ in range(self.batch_size)):
            pass

    def tag(self, paths: Sequence[str]) -> None:
        """See `FolderTagger.tag`."""
        counted = {"files": 0, "failed": 0, "samples": 0}
        windows = sum(1 for _ in self._results(self._windows(paths, counted)))
        self.processed = Processed(
            counted["files"], counted["failed"], counted["samples"] / self._rate, windows
        )

    def _results(self, windows: Iterator[NDArray[np.float32]]) -> Iterator[Any]:
        inputs = ({"raw": window, "sampling_rate": self._rate} for window in windows)
        top_k = min(5, self._labels)
        results: Iterator[Any] = self._pipeline(
            inputs, function_to_apply="sigmoid", top_k=top_k, batch_size=self.batch_size
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


def num_windows(seconds: float, extractor: ASTFeatureExtractor) -> int:
    """Windows of a recording of which so many seconds were processed: as many as hold all of its frames."""
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
        require_extra("verify", "transformers")
    check_engine(request.settings())
    paths = _recordings(request.folder)
    device = device_of(request)
    checkpoint = Checkpoint.open(request.model, request.revision, offline=request.offline)
    machine = Machine.describe(device)
    asked = attentions(request, device) if request.attn else ("auto",)
    ways: list[Callable[[int], FolderTagger]] = [
        partial(OurTagger, checkpoint, request, attn) for attn in asked
    ]
    if request.peer:
        ways.append(partial(TransformersPipeline, checkpoint, device, peer_dtype(request, device, on_notice)))
    taggers = [way(size) for size in request.batch_sizes for way in ways]
    _measure(taggers, paths, request.repeats, device, on_step)
    runs = [_run(tagger) for tagger in taggers]
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
    taggers: list[FolderTagger],
    paths: list[str],
    repeats: int,
    device: torch.device,
    on_step: Callable[[str], None],
) -> None:
    memory, stopwatch = Memory(device), Stopwatch(device)
    for tagger in taggers:
        on_step("loading")
        before = memory.mark()
        start = time.perf_counter()
        tagger.load()
        tagger.load_seconds = time.perf_counter() - start
        tagger.own_mb = memory.own(before, memory.mark())
    for repeat in range(repeats):  # in turns, as in `timing.take_turns`
        for tagger in taggers:
            at_once = f"{len(paths)} recordings, {tagger.batch_size} at once ({repeat + 1}/{repeats})"
            on_step(f"{tagger.engine}: {at_once}")
            at_rest = memory.mark() if repeat == 0 else 0.0
            tagger.seconds.append(stopwatch.seconds(partial(tagger.tag, paths)))
            if repeat == 0:
                tagger.peak_mb = tagger.own_mb + memory.peak() - at_rest
            if not tagger.processed.files:
                raise UsageError("none of the recordings could be tagged", "`ast-tag` on the folder says why")


def _run(tagger: FolderTagger) -> Measurement:
    done, wall = tagger.processed, Spread.of(tagger.seconds)
    return Measurement(
        attn=tagger.attn,
        engine=tagger.engine,
        dtype=tagger.dtype,
        device=tagger.device,
        compile=tagger.compile,
        batch_size=tagger.batch_size,
        ms_per_window=wall.times(1e3 / done.windows),
        windows_per_s=done.windows / wall.median,
        x_realtime=done.seconds / wall.median,
        peak_memory_mb=tagger.peak_mb,
        flow=FolderFigures(
            **asdict(done),
            load_seconds=tagger.load_seconds,
            wall_seconds=wall,
            files_per_s=done.files / wall.median,
            counters=tagger.counters,
        ),
    )
