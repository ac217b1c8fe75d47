"""The whole flow on a folder of recordings: ours, and what one would write with `transformers` instead."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from ast_cli.audio.discover import discover
from ast_cli.audio.sinc_filter import resample
from ast_cli.bench.document import Document, FolderFigures, Measurement, Processed
from ast_cli.bench.machine import Machine, Memory, Spread, Stopwatch
from ast_cli.bench.network import attentions, nothing, peer_dtype, require_engines
from ast_cli.bench.peer import load_extractor, load_network
from ast_cli.bench.request import TRANSFORMERS, Request
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import open_engine
from ast_cli.errors import UsageError
from ast_cli.features.extractor import FRAME_SECONDS, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.reference import load_transformers
from ast_cli.results import FileResult
from ast_cli.settings import Attention
from ast_cli.tagger import Tagger


class FolderTagger(ABC):
    """One way of tagging a folder, which has run a whole batch already; and what was measured of it."""

    engine: str
    attn: str
    device: str
    dtype: str
    compile: bool = False
    counters: dict[str, Any] | None = None  # where the last pass spent its time, if it tells
    load_seconds = own_mb = peak_mb = 0.0  # see `FolderFigures`; what it takes at rest, and at most

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.seconds: list[float] = []  # of each pass
        self.processed = Processed(0, 0, 0.0, 0)  # by the last of them

    @abstractmethod
    def tag(self, paths: Sequence[str]) -> None:
        """Tag recordings and leave in `processed` what they were."""

    def measurement(self) -> Measurement:
        """The figures of all passes."""
        done, wall = self.processed, Spread.of(self.seconds)
        return Measurement(
            attn=self.attn,
            engine=self.engine,
            dtype=self.dtype,
            device=self.device,
            compile=self.compile,
            batch_size=self.batch_size,
            ms_per_window=wall.times(1e3 / done.windows),
            windows_per_s=done.windows / wall.median,
            x_realtime=done.seconds / wall.median,
            peak_memory_mb=self.peak_mb or None,
            flow=FolderFigures(
                **asdict(done),
                load_seconds=self.load_seconds,
                wall_seconds=wall,
                files_per_s=done.files / wall.median,
                counters=self.counters,
            ),
        )


class OurTagger(FolderTagger):
    """`Tagger.tag_many`."""

    def __init__(self, checkpoint: Checkpoint, request: Request, attn: Attention, batch_size: int) -> None:
        super().__init__(batch_size)
        engine, extractor = open_engine(checkpoint, request.settings(attn))
        self.engine, self.attn, self.compile = engine.name, engine.attn, request.compile
        self.device, self.dtype = engine.device, engine.dtype
        labels, scores = engine.config.labels, engine.config.scores
        self._tagger = Tagger([engine], extractor, labels, scores, [checkpoint])
        engine.logits(torch.zeros(batch_size, extractor.max_length, extractor.num_mel_bins))

    def tag(self, paths: Sequence[str]) -> None:
        """See `FolderTagger.tag`."""
        outcomes = [*self._tagger.tag_many(paths, batch_size=self.batch_size)]
        seconds = [one.seconds_heard for one in outcomes if isinstance(one, FileResult)]
        windows = sum(num_windows(one, self._tagger.extractor) for one in seconds)
        self.counters = self._tagger.counters.to_dict()
        failed = len(outcomes) - len(seconds)
        self.processed = Processed(len(seconds), failed, math.fsum(seconds), windows)


class TransformersPipeline(FolderTagger):
    """soundfile, a resampling equal to torchaudio's and the pipeline of `transformers`, as it documents them.

    The pipeline hears but the first window of what it is given: here it is given every window.
    """

    engine = TRANSFORMERS

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> None:
        pipeline = load_transformers().pipeline

        super().__init__(batch_size)
        network, extractor = load_network(checkpoint, device, dtype), load_extractor(checkpoint)
        self.device, self.dtype = str(device), str(dtype).removeprefix("torch.")
        self.attn = str(network.config._attn_implementation)
        self._pipeline: Callable[..., Iterator[Any]] = pipeline(
            "audio-classification", model=network, feature_extractor=extractor, device=device, dtype=dtype
        )
        self._rate: int = extractor.sampling_rate
        self._samples = round(extractor.max_length / FRAMES_PER_SECOND * self._rate)  # in a window
        self._labels: int = network.config.num_labels
        silence = np.zeros(self._samples, np.float32)
        self._run(silence for _ in range(batch_size))

    def tag(self, paths: Sequence[str]) -> None:
        """See `FolderTagger.tag`."""
        counted = {"files": 0, "failed": 0, "samples": 0}
        windows = self._run(self._windows(paths, counted))
        seconds = counted["samples"] / self._rate
        self.processed = Processed(counted["files"], counted["failed"], seconds, windows)

    def _run(self, windows: Iterator[NDArray[np.float32]]) -> int:
        """Tag windows; returns how many there were."""
        inputs = ({"raw": window, "sampling_rate": self._rate} for window in windows)
        top_k = min(5, self._labels)
        results = self._pipeline(inputs, function_to_apply="sigmoid", top_k=top_k, batch_size=self.batch_size)
        return sum(1 for _ in results)

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
    """Time the whole flow on the recordings of the request's folder, in this process; as `bench_network`.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        EngineError: The device or engine is not there, or it cannot run.
        UsageError: A name stands for nothing, or none of the recordings can be tagged.
    """
    assert request.folder is not None
    device = require_engines(request)
    paths = _recordings(request.folder)
    checkpoint = Checkpoint.open(request.model, request.revision, offline=request.offline)
    machine = Machine.describe(device)
    asked = attentions(request, device) if request.attn else ("auto",)
    ways: list[Callable[[int], FolderTagger]] = [
        partial(OurTagger, checkpoint, request, attn) for attn in asked
    ]
    if request.peer:
        ways.append(partial(TransformersPipeline, checkpoint, device, peer_dtype(request, device, on_notice)))
    opens = [partial(way, size) for size in request.batch_sizes for way in ways]
    taggers = _measure(opens, paths, request.repeats, device, on_step)
    if failed := taggers[0].processed.failed:
        on_notice(f"{failed} of {len(paths)} recordings could not be read; `ast-tag` on the folder says why")
    runs = [tagger.measurement() for tagger in taggers]
    return Document(request.command, checkpoint.files.id, machine, runs, request.repeats)


def _measure(
    opens: Sequence[Callable[[], FolderTagger]],
    paths: Sequence[str],
    repeats: int,
    device: torch.device,
    on_step: Callable[[str], None],
) -> list[FolderTagger]:
    """Open all, then time them in turns, as `take_turns` does."""
    memory, stopwatch, taggers = Memory(device), Stopwatch(device), []
    for open_ in opens:
        on_step("loading")
        before = memory.mark()
        start = time.perf_counter()
        tagger = open_()
        tagger.load_seconds = time.perf_counter() - start
        tagger.own_mb = memory.own(before, memory.mark())
        taggers.append(tagger)
    for repeat in range(repeats):
        for tagger in taggers:
            at_once = f"{len(paths)} recordings, {tagger.batch_size} at once ({repeat + 1}/{repeats})"
            on_step(f"{tagger.engine}: {at_once}")
            if repeat == 0:
                at_rest = memory.mark()
                tagger.tag(paths[: tagger.batch_size])  # never timed: a first batch is slower than all others
            tagger.seconds.append(stopwatch.seconds(partial(tagger.tag, paths)))
            if repeat == 0:
                tagger.peak_mb = tagger.own_mb + memory.peak() - at_rest
            if not tagger.processed.files:
                raise UsageError("none of the recordings could be tagged", "`ast-tag` on the folder says why")
    return taggers


def _recordings(folder: str) -> list[str]:
    if not Path(folder).exists():
        raise UsageError(f"no such folder: {folder}", "Name a folder of recordings, or leave it out")
    paths = [one for one in discover([folder]) if isinstance(one, str)]
    if not paths:
        raise UsageError(f"{folder} holds no recordings", "Name a folder that does, or leave it out")
    return paths
