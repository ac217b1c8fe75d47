"""The mel filters: Kaldi's triangles over the spectrum of a frame, evenly spaced on the mel scale.

mel = 1127·ln(1 + Hz / 700). Filter m rises from step m to step m + 1 and falls to step m + 2; its sides are
straight lines over mel, not over Hz (Kaldi: `feat/mel-computations.cc`, after Davis & Mermelstein 1980).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

LOWEST_HZ = 20.0  # where the first filter begins; the last one ends at half of the sampling rate


def mel_filters(num_mel_bins: int, fft_length: int, sampling_rate: int) -> Tensor:
    """The weights [fft_length / 2 + 1, M] of each frequency in each mel bin, in float32.

    Equal to `torchaudio.compliance.kaldi.get_mel_banks` to the last bit: some filters hold a single small
    weight, where another rounding shows. So steps and frequencies are in float32, as the published weights
    were trained on, and `log` is not `log1p`.
    """
    lowest, width = _steps(num_mel_bins, sampling_rate)
    steps = lowest + torch.arange(num_mel_bins + 2.0) * width
    start, peak, end = steps[:-2], steps[1:-1], steps[2:]  # [M]
    frequencies = sampling_rate / fft_length * torch.arange(fft_length / 2)
    mel = _mel(frequencies)[:, None]
    weights = torch.minimum((mel - start) / (peak - start), (end - mel) / (end - peak)).clamp_min(0)
    return F.pad(weights, (0, 0, 0, 1))  # the bin at Nyquist, where the last filter ends, belongs to none


def mel_edges(num_mel_bins: int, sampling_rate: int) -> NDArray[np.float64]:
    """[M + 1]: where mel bins meet, in Hz: halfway between their centers on the mel scale."""
    lowest, width = _steps(num_mel_bins, sampling_rate)
    hertz: NDArray[np.float64] = 700 * np.expm1((lowest + (np.arange(num_mel_bins + 1) + 0.5) * width) / 1127)
    return hertz


def mel_shift(factor: float, num_mel_bins: int, sampling_rate: int) -> Tensor:
    """Where among the mel bins [M] the centers of their frequencies divided by a factor lie."""
    lowest, width = _steps(num_mel_bins, sampling_rate)
    centers = lowest + width * torch.arange(1, num_mel_bins + 1)
    hertz = 700 * ((centers / 1127).exp() - 1)
    bins: Tensor = (_mel(hertz / factor) - lowest) / width - 1
    return bins


def _steps(num_mel_bins: int, sampling_rate: int) -> tuple[float, float]:
    """The mel value of step 0, and how far the M + 2 steps are apart."""
    lowest, highest = (1127 * math.log(1 + hertz / 700) for hertz in (LOWEST_HZ, sampling_rate / 2))
    return lowest, (highest - lowest) / (num_mel_bins + 1)


def _mel(hertz: Tensor) -> Tensor:
    return 1127 * (1 + hertz / 700).log()
