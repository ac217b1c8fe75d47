"""The two numbers that features are normalized by: mean and standard deviation of the fbank of some audio.

Streamed: no recording is ever held whole. Reads recordings as tagging does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ast_cli.errors import InputError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.config import FeatureConfig
from ast_cli.pipeline.windows import Windowing
from ast_cli.results import Facts, FileFailure
from ast_cli.settings import TagSettings
from ast_cli.training.datasets import LabelledClip
from ast_cli.training.waveforms import open_clip

FITTING_STD = 0.5  # of features after (x − mean) / (2·std)
# How far mean and standard deviation may be off, after normalizing, before another pair is worth its while.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Stats:
    """What was measured.

    Attributes:
        mean: Of the fbank, not normalized.
        std: Of the fbank, not normalized.
        clips: That were read.
        seconds: Of audio in them.
        failed: What could not be read.
    """

    mean: float
    std: float
    clips: int
    seconds: float
    failed: tuple[FileFailure, ...] = ()

    def normalised(self, features: FeatureConfig) -> tuple[float, float]:
        """Mean and standard deviation after a checkpoint's own normalization; 0 and 0.5 fit exactly."""
        return (self.mean - features.mean) / (2 * features.std), self.std / (2 * features.std)

    def fits(self, features: FeatureConfig) -> bool:
        """Whether a checkpoint's numbers suit this audio."""
        mean, std = self.normalised(features)
        return abs(mean) <= TOLERANCE and abs(std - FITTING_STD) <= TOLERANCE


class _Moments:
    """Count, sum and sum of squares in float64: exact enough for years of audio.

    Values are counted from `origin`, near their mean, where squares do not cancel.
    """

    def __init__(self, origin: float | None) -> None:
        self.origin = origin
        self.sums = torch.zeros(3, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        values = values.double()
        if self.origin is None:
            self.origin = float(values.mean())
        values = values - self.origin
        self.sums += torch.stack([torch.tensor(float(values.numel())), values.sum(), values.square().sum()])

    def mean_and_std(self) -> tuple[float, float]:
        """The mean, and the sample standard deviation, as torch's `std`."""
        count, total, squares = self.sums.tolist()
        variance = max(0.0, squares - total**2 / count) / max(1, count - 1)
        return total / count + (self.origin or 0.0), math.sqrt(variance)


def measure_norm(
    clips: Iterable[LabelledClip | FileFailure],
    extractor: ASTFeatureExtractor,
    *,
    with_padding: bool = False,
    on_clip: Callable[[float], None] = lambda _: None,
) -> Stats:
    """Mean and standard deviation of the fbank over every frame and mel bin.

    Args:
        clips: What to read; failures among them are passed on.
        extractor: Whose fbank it is; its own normalization is left out.
        with_padding: Count only each clip's first window and its padding too, as the original recipe does.
        on_clip: Told the seconds of each clip that was read.

    Raises:
        InputError: Nothing could be read.
    """
    moments, failed, read, seconds = _Moments(None), [], 0, 0.0
    for clip in clips:
        if isinstance(clip, FileFailure):
            failed.append(clip)
            continue
        own = _Moments(moments.origin)
        try:
            duration = _measure_clip(clip, extractor, own, with_padding=with_padding)
        except InputError as error:
            failed.append(FileFailure.of(clip.name, error))
            continue
        own.sums += moments.sums
        moments = own
        read += 1
        seconds += duration
        on_clip(duration)
    if not read:
        first = f", the first: {failed[0].file}: {failed[0].message}" if failed else ""
        raise InputError("no-audio", f"none of {len(failed)} recordings could be read{first}")
    return Stats(*moments.mean_and_std(), read, seconds, tuple(failed))


def _measure_clip(
    clip: LabelledClip, extractor: ASTFeatureExtractor, moments: _Moments, *, with_padding: bool
) -> float:
    """Add a clip's frames to `moments` as they come; returns its seconds."""
    duration = 0.0
    with open_clip(clip) as recording, torch.inference_mode():
        for number, item in enumerate(Windowing(extractor, TagSettings()).of_recording(recording)):
            if isinstance(item, Facts):
                duration = item.duration
            elif not (with_padding and number):
                # A window reaches back over frames that the one before held: `new` of its last are its own.
                frames = item.content if with_padding else item.content[: item.length][-item.new :]
                moments.add(frames)
    return duration
