"""The whole way from recordings to labels or vectors, as a generator: windows, network, scores, labels.

Windows of all recordings share full batches; results leave in the order of the inputs: see `flow`. Knows
nothing of outputs or terminals.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Unpack

from ast_cli import __version__
from ast_cli.audio.decode import BLOCK_SECONDS, Recording, open_recording
from ast_cli.audio.discover import discover, unless_known
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.engines.engine import Engine
from ast_cli.engines.factory import check_engine, open_engine
from ast_cli.errors import CheckpointError, InputError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.masking import NoiseMasking
from ast_cli.features.window_stream import Window
from ast_cli.pipeline.batches import PendingScores
from ast_cli.pipeline.counters import Counters
from ast_cli.pipeline.pipeline import Pipeline
from ast_cli.results import Facts, FileFailure, FileResult, ModelInfo, Outcome, RunInfo, display_name
from ast_cli.scoring.aggregate import Aggregate, to_scores
from ast_cli.scoring.embedding import Embedding, Pooling
from ast_cli.scoring.labels import LabelSet
from ast_cli.scoring.selection import Selection
from ast_cli.settings import (
    Attention,
    Dtype,
    EngineName,
    ModelSettings,
    Per,
    Scores,
    TagOptions,
    TagSettings,
    in_words,
    require_choice,
)

FileName: TypeAlias = str | os.PathLike[str]


class Tagger:
    """Tags recordings with one checkpoint, or with the mean of several.

    Args:
        engines: One a checkpoint.
        extractor: The features all of them take; each engine normalises by its own numbers.
        labels: The classes all of them score.
        scores: `sigmoid`, `softmax` or `logits`.
        checkpoints: Where the engines' networks came from, for `run_info`.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        extractor: ASTFeatureExtractor,
        labels: LabelSet,
        scores: str,
        checkpoints: Sequence[Checkpoint] = (),
    ) -> None:
        self.engines = tuple(engines)
        self.extractor = extractor
        self.labels = labels
        self.scores = scores
        self._checkpoints = tuple(checkpoints)
        self.counters = Counters()  # of the last run of `tag_many`, complete at its end

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Sequence[str | Path] = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        device: str = "auto",
        dtype: Dtype = "auto",
        attn_implementation: Attention = "auto",
        engine: EngineName = "torch",
        compile: bool = False,  # noqa: A002 — torch's own word
        scores: Scores = "auto",
        offline: bool = False,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tagger:
        """Load one checkpoint, or several whose scores are averaged.

        Args:
            source: Hub id, folder or weights file; or a list of them.
            revision: Hub branch, tag or commit; the default branch if None.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            dtype: `auto`, `float32`, `bfloat16` or `float16`; for `openvino` also `int8`.
            attn_implementation: `auto` is the fastest on the device; `sdpa`, `eager`, `heads`, or one SDPA
                backend: `flash`, `efficient`, `cudnn`, `math`.
            engine: `torch`, or `openvino` (the extra of this name), which is for the CPU.
            compile: Whether torch compiles the network: some seconds at the start, faster afterwards on CUDA.
            scores: `auto` follows the checkpoint; or `sigmoid`, `softmax`, `logits`.
            offline: Never touch the network.
            on_notice: Called with what should be known about how it runs, as that the memory is too little
                for whole batches; warnings are given if None.

        Raises:
            CheckpointError: A checkpoint cannot be found or read, or several do not fit together.
            EngineError: The engine or device is not there.
            UsageError: An argument has no such value.
        """
        settings = ModelSettings(
            revision, device, dtype, attn_implementation, engine, compile, scores, offline
        )
        return cls.open(source, settings, on_notice)

    @classmethod
    def open(
        cls,
        source: str | Path | Sequence[str | Path],
        settings: ModelSettings,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tagger:
        """The same as `from_pretrained`, which see, for settings in one record."""
        check_engine(settings)  # before anything is fetched
        sources = [source] if isinstance(source, str | Path) else list(source)
        if not sources:
            raise UsageError("no model was named")
        checkpoints = [Checkpoint.open(one, settings.revision, offline=settings.offline) for one in sources]
        opened = [open_engine(one, settings, on_notice) for one in checkpoints]
        _refuse_ensemble(checkpoints, opened)
        engines, extractors = zip(*opened, strict=True)
        config = engines[0].config
        scores = config.scores if settings.scores == "auto" else settings.scores
        return cls(engines, extractors[0], config.labels, scores, checkpoints)

    @property
    def scores_are_guessed(self) -> bool:
        """Whether no checkpoint says if its classes exclude each other."""
        return self.engines[0].config.scores_are_guessed

    @property
    def description(self) -> str:
        """Which checkpoints run where and how, in one line."""
        names = " + ".join(checkpoint.files.id for checkpoint in self._checkpoints)
        return f"{names}: {in_words(self.scores)}, {self.engines[0].description}"

    def run_info(self, **settings: object) -> RunInfo:
        """What results of this tagger were made with; reads the weights files once for their sha256."""
        models = tuple(
            ModelInfo(c.files.id, c.files.revision, c.files.sha256, self.scores, len(self.labels))
            for c in self._checkpoints
        )
        engine = self.engines[0]
        made_with: dict[str, object] = {
            "ast_tag": __version__,
            "torch": torch.__version__,
            "engine": engine.name,
            "device": engine.device,
            "dtype": engine.dtype,
            "attn": engine.attn,
        }
        return RunInfo(models, made_with | settings)

    def tag(
        self, path: FileName, *, settings: TagSettings | None = None, **options: Unpack[TagOptions]
    ) -> FileResult:
        """Tag one recording.

        Args:
            path: An audio file, its address, or a member of a shard, as `shard.tar/clip.wav`; `-` is standard
                input.
            settings: How it is tagged; the defaults if None.
            **options: Fields of `TagSettings` that replace those of `settings`, here and below.

        Raises:
            InputError: It cannot be tagged.
        """
        plan = self._plan(settings, options)
        name = _name(path)
        try:
            with open_recording(name) as recording:
                return self._only(name, recording, plan)
        except InputError as error:
            raise InputError(error.word, f"{display_name(name)}: {error.cause}", error.remedy) from error

    def tag_waveform(
        self,
        waveform: NDArray[np.floating[Any]] | Tensor,
        sample_rate: int,
        *,
        settings: TagSettings | None = None,
        **options: Unpack[TagOptions],
    ) -> FileResult:
        """Tag a waveform that is already in memory.

        Args:
            waveform: [S] or [channels, S], floating point in [-1, 1].
            sample_rate: In Hz; resampled to the model's rate.
            settings: See `tag`.
            **options: See `tag`.

        Returns:
            A result whose `file` is empty.

        Raises:
            InputError: It is shorter than one frame, or holds a number that is not finite.
            UsageError: It has another shape or type.
        """
        plan = self._plan(settings, options)
        if isinstance(waveform, Tensor):
            waveform = waveform.detach().cpu()
            waveform = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
        samples = np.asarray(waveform)
        right_shape = samples.ndim == 1 or (samples.ndim == 2 and len(samples) > 0)
        if not right_shape or samples.dtype.kind != "f" or sample_rate < 1:
            raise UsageError(
                f"a waveform is [S] or [channels, S] of floats at 1 Hz or more, not {list(samples.shape)} "
                f"of {samples.dtype} at {sample_rate} Hz",
                "Divide integers by their largest value first",
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
            # A copy only where torch could not share the memory.
            block = np.atleast_2d(np.require(samples, np.float32, ["C", "W"])).T
        length = BLOCK_SECONDS * sample_rate
        blocks = (block[start : start + length] for start in range(0, max(1, len(block)), length))
        return self._only("", Recording(sample_rate, block.shape[1], blocks), plan)

    def tag_many(
        self,
        paths: FileName | Iterable[FileName],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_heard: Callable[[float], None] | None = None,
        known: Callable[[str], Outcome | None] | None = None,
        leave_out: Iterable[FileName] = (),
        passed_over: Counter[str] | None = None,
        settings: TagSettings | None = None,
        **options: Unpack[TagOptions],
    ) -> Iterator[Outcome]:
        """Tag recordings, one result or failure for each, in their order.

        Args:
            paths: Files, folders, tar and Parquet shards, addresses of these, or a single one; `-` is
                standard input. Taken as they are needed, so that there may be any number.
            batch_size: Windows in a forward pass; None for what the engine does best with.
            workers: Recordings decoded at once; None for one a core, at most 16.
            on_heard: Called with the seconds of audio that were newly scored, after every batch.
            known: Called with each path, on another thread; what it returns, if anything, is handed on in
                place of tagging it.
            leave_out: Files that are no recordings though a folder may hold them, such as the output.
            passed_over: Counts by suffix what folders hold beside recordings.
            settings: See `tag`.
            **options: See `tag`.

        Raises:
            EngineError: The device cannot run the network.
            UsageError: An option has no such value.
        """
        found = unless_known(discover(_several(paths), leave_out, passed_over), known)
        run = partial(self.tag_found, batch_size=batch_size, workers=workers, on_heard=on_heard)
        return run(found, settings=_settings(settings, options))

    def tag_found(
        self,
        found: Iterable[str | Outcome],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_heard: Callable[[float], None] | None = None,
        settings: TagSettings | None = None,
        **options: Unpack[TagOptions],
    ) -> Iterator[Outcome]:
        """Tag what `discover` found, here or elsewhere: single recordings; what has its outcome is handed on.

        `tag_many` says what the arguments mean, and what is raised; `found` is taken as it is needed.
        """
        flow, selection = self._plan(settings, options)
        self.counters = flow.counters

        aggregate = partial(Aggregate, selection=selection, settings=flow.settings, scores=self.scores)
        return flow.outcomes(found, aggregate, batch_size=batch_size, workers=workers, on_heard=on_heard)

    def embed(
        self,
        paths: FileName | Iterable[FileName],
        *,
        per: Per = "file",
        normalize: bool = True,
        noise_masking: float | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        on_heard: Callable[[float], None] | None = None,
        leave_out: Iterable[FileName] = (),
        passed_over: Counter[str] | None = None,
        settings: TagSettings | None = None,
        **options: Unpack[TagOptions],
    ) -> Iterator[Embedding | FileFailure]:
        """The pooled vectors of recordings, an embedding or failure for each, in their order.

        Args:
            paths: As `tag_many` takes them, as are the others.
            per: `file` for one vector, the mean of the windows, each weighed by the seconds it newly covers;
                or `window` for the vector of each.
            normalize: Whether the vectors have length one, so that their products are cosines.
            noise_masking: How many dB below each window a white noise is that hides what is quieter; None for
                none. Vectors can be compared only if it is the same for all.
            batch_size: As are all up to `passed_over`: see `tag_many`.
            workers: See there.
            on_heard: See there.
            leave_out: See there.
            passed_over: See there.
            settings: Of which `window`, `hop`, `short` and `channel` matter; the others are of labels.
            **options: See `tag`.

        Raises:
            EngineError: The device cannot run the network.
            UsageError: An option has no such value, there are several networks, or the engine has no vectors.
        """
        require_choice("kind of embedding", per, get_args(Per))
        if len(self.engines) > 1:
            raise UsageError("the vectors of several models are no mean", "Name one model")
        engine = self.engines[0].pooled()

        def start(windows: Sequence[Window]) -> PendingScores:
            pending = engine.start(windows)
            return lambda: pending().numpy()

        masking = None if noise_masking is None else NoiseMasking(self.extractor, noise_masking)
        flow = Pipeline((engine,), self.extractor, _settings(settings, options), start, masking)
        pooling = partial(Pooling, per=per, normalize=normalize)
        found = discover(_several(paths), leave_out, passed_over)
        return flow.outcomes(found, pooling, batch_size=batch_size, workers=workers, on_heard=on_heard)

    def each_window(
        self, recording: Recording, settings: TagSettings
    ) -> Iterator[tuple[Window, NDArray[np.float32]] | Facts]:
        """The windows of an open recording with their scores [C], each at once; last of all its facts.

        Args:
            recording: Read to its end.
            settings: How it is processed; which labels are shown does not matter here.

        Raises:
            InputError: It cannot be read to its end, or is shorter than one frame.
            UsageError: The settings ask for a window or hop that cannot be.
        """
        for piece in Pipeline(self.engines, self.extractor, settings, self._start).windows(recording):
            yield piece if isinstance(piece, Facts) else (piece, self._start([piece])()[0])

    def _plan(self, given: TagSettings | None, options: TagOptions) -> tuple[Pipeline, Selection]:
        settings = _settings(given, options)
        flow = Pipeline(self.engines, self.extractor, settings, self._start)
        return flow, Selection(self.labels, settings)

    def _only(self, name: str, recording: Recording, plan: tuple[Pipeline, Selection]) -> FileResult:
        """The outcome of one recording; its failure is raised where it happens."""
        flow, selection = plan
        return flow.only(Aggregate(name, selection, flow.settings, self.scores), recording)

    def _start(self, windows: Sequence[Window]) -> PendingScores:
        """B windows -> their scores [B, C] on their way; the mean over all checkpoints."""
        pending = [engine.start(windows) for engine in self.engines]

        def scores() -> NDArray[np.float32]:
            each = [to_scores(logits(), self.scores) for logits in pending]
            mean: NDArray[np.float32] = torch.stack(each).mean(dim=0).numpy()
            return mean

        return scores


def _settings(given: TagSettings | None, options: TagOptions) -> TagSettings:
    return replace(given or TagSettings(), **options)


def _several(paths: Any) -> Iterable[str]:
    is_one = isinstance(paths, str) or hasattr(paths, "shape") or not isinstance(paths, Iterable)
    return map(_name, [paths] if is_one else paths)


def _name(path: FileName) -> str:
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"a recording's name is no {type(path).__name__}", "Samples are for tag_waveform")
    return os.fspath(path)


def _refuse_ensemble(
    checkpoints: Sequence[Checkpoint], opened: Sequence[tuple[Engine, ASTFeatureExtractor]]
) -> None:
    def traits(engine: Engine, features: ASTFeatureExtractor) -> dict[str, object]:
        return {
            "classes": engine.config.labels,
            "scores": engine.config.scores,
            "window length": features.max_length,
            "mel bins": features.num_mel_bins,
            "sampling rate": features.sampling_rate,
        }

    first = traits(*opened[0])
    for checkpoint, one in zip(checkpoints, opened, strict=True):
        differing = [name for name, value in traits(*one).items() if value != first[name]]
        if differing:
            raise CheckpointError(
                f"{checkpoints[0].files.id} and {checkpoint.files.id} differ in {', '.join(differing)}",
                "Only scores for the same classes over the same windows can be averaged",
            )
