"""Is this network the published one? Our numbers against the authors' logits, or against `transformers`.

Every comparison is made in float32 on the CPU, where rounding is smallest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ast_cli.audio.decode import open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.bench.peer import load_extractor, load_network
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.checkpoints.hub import fetch
from ast_cli.checkpoints.published import PUBLISHED_MODELS
from ast_cli.errors import CheckpointError, EngineError, InputError, UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import require_fit
from ast_cli.reference import load_torchaudio

SAMPLE_REPOSITORY = "nielsr/audio-spectogram-transformer-checkpoint"  # a data set; spelled so
SAMPLE_FILE = "sample_audio.flac"
TOLERANCE = 1e-4
# Features that transformers makes with numpy are in float64, without the noise of rounding: seen 7e-4 apart.
NUMPY_TOLERANCE = 2e-3
NUMPY_RATE = 16_000  # for other rates, too, they have frames of 400 samples every 160


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of ours against one of theirs, or the largest deviation among many.

    Attributes:
        what: What is compared.
        ours: Our number.
        theirs: The other side's.
        deviation: The distance between them, or the largest.
        tolerance: The largest that both may have and yet agree.
    """

    what: str
    ours: float
    theirs: float
    deviation: float
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return self.deviation <= self.tolerance


def verify_published(
    source: str, revision: str | None = None, *, offline: bool = False
) -> Iterator[Comparison]:
    """The first three logits for the published sample clip, against those its authors give.

    Args:
        source: One of the published AudioSet checkpoints.
        revision: Hub branch, tag or commit; the default branch if None.
        offline: Use the cache only.

    Raises:
        CheckpointError: No logits are published for it, or model or clip cannot be fetched.
    """
    published = {known.id: known.sample_logits for known in PUBLISHED_MODELS if known.sample_logits}
    if source not in published:
        raise CheckpointError(
            f"nobody has published logits of {source}",
            "`ast-tag verify FILE --against transformers` compares any checkpoint on any file",
        )
    checkpoint = Checkpoint.open(source, revision, offline=offline)
    clip = sample_clip(offline=offline)
    extractor, model = _load(checkpoint)
    # The published numbers come from the first channel as it is.
    waveform = _waveform(str(clip), extractor.sampling_rate, channel=1)
    with torch.inference_mode():
        [logits] = model(_input_values(extractor, waveform)).logits
    for index, (ours, theirs) in enumerate(zip(logits.tolist(), published[source], strict=False)):
        yield Comparison(f"logit {index} ({model.config.id2label[index]})", ours, theirs, abs(ours - theirs))


def verify_against_transformers(
    source: str,
    path: str | None = None,
    revision: str | None = None,
    *,
    offline: bool = False,
    on_notice: Callable[[str], None] | None = None,
) -> Iterator[Comparison]:
    """Features and logits of the first window of a file, ours against those of `transformers`.

    Its features are torchaudio's where that can be imported, and otherwise its own in numpy.

    Args:
        source: A checkpoint in the Hub's layout.
        path: An audio file; the published sample clip if None.
        revision: Hub branch, tag or commit; the default branch if None.
        offline: Use the cache only.
        on_notice: Called with one line if the features are not compared with torchaudio's.

    Raises:
        EngineError: `transformers` is not installed.
        CheckpointError: The checkpoint or the clip is not there, or `transformers` cannot read it.
        UsageError: The file cannot be heard.
    """
    require_extra("verify", "transformers")
    without_torchaudio = ""
    try:
        load_torchaudio()
    except EngineError as error:
        without_torchaudio = error.cause
    checkpoint = Checkpoint.open(source, revision, offline=offline)
    extractor, model = _load(checkpoint)
    waveform = _waveform(path or str(sample_clip(offline=offline)), extractor.sampling_rate)
    ours = _input_values(extractor, waveform)
    their_model = load_network(checkpoint, torch.device("cpu"), torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter")  # is empty: so it is in Kaldi's
        theirs = load_extractor(checkpoint)(
            waveform.numpy(), sampling_rate=extractor.sampling_rate, return_tensors="pt"
        ).input_values
    if not without_torchaudio:
        yield _largest("features", ours, theirs)
    elif extractor.sampling_rate == NUMPY_RATE:
        notice = "features are compared with those of transformers by numpy"
        yield replace(_largest("features, numpy", ours, theirs), tolerance=NUMPY_TOLERANCE)
    else:
        notice = (
            f"features are not compared, for transformers has none at {extractor.sampling_rate} Hz by numpy"
        )
    if without_torchaudio:
        theirs = ours
        if on_notice:
            on_notice(f"{without_torchaudio}: {notice}")
    with torch.inference_mode():
        their_logits = their_model(theirs).logits
        for attn in ("sdpa", "eager"):
            model.attn_implementation = attn
            yield _largest(f"logits, {attn}", model(ours).logits, their_logits)


def sample_clip(*, offline: bool = False) -> Path:
    """The clip the authors' logits are published for, fetched once.

    Raises:
        CheckpointError: It cannot be fetched.
    """
    clip = fetch(SAMPLE_REPOSITORY, SAMPLE_FILE, repo_type="dataset", offline=offline)
    if clip is None:
        raise CheckpointError(f"{SAMPLE_REPOSITORY} no longer has {SAMPLE_FILE}")
    return clip


def _load(checkpoint: Checkpoint) -> tuple[ASTFeatureExtractor, ASTForAudioClassification]:
    extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
    model = ASTForAudioClassification.from_pretrained(checkpoint)
    require_fit(model.config, extractor)
    return extractor, model


def _waveform(path: str, sample_rate: int, channel: int | None = None) -> Tensor:
    try:
        with open_recording(path) as recording:
            resampler = StreamResampler(recording.sample_rate, sample_rate)
            pieces = [resampler.push(mono) for mono in recording.mono(channel)]
    except InputError as error:
        raise UsageError(f"{path}: {error.cause}", error.remedy) from error
    return torch.cat([*pieces, resampler.finish()])


def _input_values(extractor: ASTFeatureExtractor, waveform: Tensor) -> Tensor:
    values: Tensor = extractor(waveform, extractor.sampling_rate, return_tensors="pt").input_values
    return values


def _largest(what: str, ours: Tensor, theirs: Tensor) -> Comparison:
    deviation = (ours - theirs).abs().flatten()
    worst = int(deviation.argmax())
    return Comparison(
        f"{what} (the worst of {deviation.numel():,})",
        ours.flatten()[worst].item(),
        theirs.flatten()[worst].item(),
        deviation[worst].item(),
    )
