"""Chance variations of the waveform and of the frames of a clip in training, and mixup.

Gain, roll, noise, mixup and SpecAugment's masks (arXiv 1904.08779) are as in the AST paper's recipe (arXiv
2104.01778, section 3). Tempo, pitch and tone stand for voices and microphones that the data does not have.
Everything is drawn from the generator that is handed in, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ast_cli.features.mel_filters import mel_shift
from ast_cli.training.settings import AugmentationSettings

MIXUP_BETA = 10.0  # of the distribution of the mixing weight: close to one half
LEAST_NOISE_DB, MOST_NOISE_DB = 50.0, 15.0  # signal-to-noise ratio
TONES = 6  # levels from the lowest mel bin to the highest, between which the tone changes evenly


@dataclass(frozen=True)
class Augmentation(AugmentationSettings):
    """Varies waveforms and frames as the settings say."""

    def vary(self, waveform: Tensor, sample_rate: int, rng: np.random.Generator) -> Tensor:
        """A waveform [S] with another level, shifted in time, with noise."""
        if self.gain:
            waveform = waveform * 10 ** (rng.uniform(-self.gain, self.gain) / 20)
        if self.roll:
            most = min(len(waveform) // 10, round(self.roll * sample_rate))
            waveform = waveform.roll(int(rng.integers(-most, most + 1)))
        if rng.random() < self.noise:
            level = float(waveform.square().mean().sqrt())
            level *= 10 ** (-rng.uniform(MOST_NOISE_DB, LEAST_NOISE_DB) / 20)
            hiss = torch.from_numpy(rng.standard_normal(len(waveform), dtype=np.float32))
            waveform = waveform + level * hiss
        return waveform

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


def mix(
    one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup of two waveforms [S] and their targets [C] (arXiv 1710.09412); as long as the first.

    The second is repeated or cut to the length of the first.
    """
    (waveform, targets), (second, second_targets) = one, other
    weight = float(rng.beta(MIXUP_BETA, MIXUP_BETA))
    second = second.repeat(-(-len(waveform) // len(second)))[: len(waveform)]
    waveform = weight * (waveform - waveform.mean()) + (1 - weight) * (second - second.mean())
    return waveform, weight * targets + (1 - weight) * second_targets


def _at(rows: Tensor, positions: Tensor) -> Tensor:
    """Rows [N, D] at positions [K] among them, interpolated: [K, D]; beyond an end, the last one there."""
    positions = positions.clamp(0, len(rows) - 1)
    before = positions.long()
    after = (before + 1).clamp(max=len(rows) - 1)
    between: Tensor = rows[before].lerp(rows[after], (positions - before).unsqueeze(1))
    return between
