"""What every maker of sounds in this folder agrees on; knows numpy and nothing of models or features.

A *maker* is a function `(rng, split) -> Sound`. All its chance comes from `rng`, so a sound is made again
from its seed alone. `split` is "train" or "test": a maker that draws on voices, sound fonts or other
collections uses one part of them for each, so that the test hears nothing the training heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

SAMPLE_RATE = 16_000
LONGEST = 10.0  # seconds; a clip of the model

Split: TypeAlias = Literal["train", "test"]


@dataclass(frozen=True)
class Sound:
    """One source alone, dry and loud: rooms, levels, filters and mixtures come later.

    Attributes:
        waveform: [S] float32 at 16 kHz in [-1, 1], 0.3 to 10 seconds.
        labels: AudioSet display names that hold for it, the narrowest ones; their parents are added later.
    """

    waveform: np.ndarray
    labels: tuple[str, ...]


Maker: TypeAlias = Callable[[np.random.Generator, Split], Sound]


def seconds(duration: float) -> int:
    """How many samples a duration in seconds has."""
    return round(duration * SAMPLE_RATE)


def times(duration: float) -> np.ndarray:
    """The time of every sample in seconds, [S]."""
    return np.arange(seconds(duration)) / SAMPLE_RATE


def to_peak(waveform: np.ndarray, peak: float = 0.7) -> np.ndarray:
    """The waveform scaled so that its largest sample is `peak`; silence stays silence."""
    largest = float(np.abs(waveform).max(initial=0.0))
    return (waveform * (peak / largest if largest > 0 else 1.0)).astype(np.float32)
