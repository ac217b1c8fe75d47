"""SpecAugment's masks, and other chance variations of the frames of a clip in training.

The masks (arXiv 1904.08779) are as in the AST paper's recipe (arXiv 2104.01778, section 3). Tempo, pitch and
tone stand for voices and microphones that the data does not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ast_cli.features.mel_filters import mel_shift
from ast_cli.training.settings import AugmentationSettings

TONES = 6  # levels from the lowest mel bin to the highest, between which the tone changes evenly


@dataclass(frozen=True)
class SpecAugment(AugmentationSettings):
    """Varies frames as the settings say; all chance is drawn from the generator that is handed in."""

    def warp(self, frames: Tensor, sample_rate: int, rng: np.random.Generator) -> Tensor:
        """Frames [T, M] at another tempo and pitch, with another tone: [T', M]."""
        count, mel_bins = frames.shape
        if self.tempo:
            step = 1 + rng.uniform(-self.tempo, self.tempo)
            frames = _at(frames, torch.arange(max(1, round(count / step))) * step)
        if self.pitch:
            factor = 1 + rng.uniform(-self.pitch, self.pitch)
            frames = _at(frames.T, mel_shift(factor, mel_bins, sample_rate)).T
        if self.tone:
            knots = torch.from_numpy(rng.uniform(-self.tone, self.tone, (TONES, 1)).astype(np.float32))
            levels = _at(knots, torch.linspace(0, TONES - 1, mel_bins))
            frames = frames + levels.T * (math.log(10) / 10)
        return frames

    def mask(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """Frames [T, M] with one run of mel bins and one of frames set to 0, as padding is."""
        count, mel_bins = frames.shape
        bins = int(rng.integers(min(self.freq_mask, mel_bins) + 1))
        span = int(rng.integers(round(self.time_mask * count) + 1))
        first_bin, first = int(rng.integers(mel_bins - bins + 1)), int(rng.integers(count - span + 1))
        frames = frames.clone()
        frames[:, first_bin : first_bin + bins] = 0
        frames[first : first + span] = 0
        return frames


def _at(rows: Tensor, positions: Tensor) -> Tensor:
    """Rows [N, D] at positions [K] among them, interpolated: [K, D]; beyond an end, the last one there."""
    positions = positions.clamp(0, len(rows) - 1)
    before = positions.long()
    after = (before + 1).clamp(max=len(rows) - 1)
    between: Tensor = rows[before].lerp(rows[after], (positions - before).unsqueeze(1))
    return between
