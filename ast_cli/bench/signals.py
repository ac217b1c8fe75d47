"""Recordings to time with: tones and noise, the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100  # in Hz; what must be resampled, as most recordings must
TONES = 5
LOWEST_HZ, HIGHEST_HZ = 100.0, 8000.0


def make_clip(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """A stereo clip [S, 2] at `RATE`: a few tones of random pitch on either side, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    clip = 0.02 * random.standard_normal((len(time), 2))
    for pitch in np.exp(random.uniform(np.log(LOWEST_HZ), np.log(HIGHEST_HZ), TONES)):
        wave = np.sin(2 * np.pi * pitch * time + random.uniform(0, 2 * np.pi))
        clip += wave[:, None] * random.uniform(0.01, 0.15, 2)
    return clip.astype(np.float32)


def write_clip(path: Path, seconds: float, seed: int = 0) -> None:
    """Write such a clip in the format of its suffix; without loss, in 16 bits."""
    lossless = path.suffix in (".wav", ".flac")
    soundfile.write(path, make_clip(seconds, seed), RATE, subtype="PCM_16" if lossless else None)
