"""Chance variations of the waveform of a clip in training: gain, roll, noise and mixup.

As the AST paper's recipe has them (arXiv 2104.01778, section 3). Its masks on frames are in `spec_augment`.
Everything is drawn from the generator that is handed in, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ast_cli.training.spec_augment import SpecAugment

MIXUP_BETA = 10.0  # of the distribution of the mixing weight: close to one half
LEAST_NOISE_DB, MOST_NOISE_DB = 50.0, 15.0  # signal-to-noise ratio


@dataclass(frozen=True)
class Augmentation(SpecAugment):
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
