"""The mel filters: Kaldi's triangles over the spectrum of a frame, evenly spaced on the mel scale.

mel = 1127·ln(1 + Hz / 700). Filter m rises from step m to step m + 1 and falls to step m + 2.
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
    """The weights [fft_length / 2 + 1, M] of each frequency in each mel bin, in float32."""
    from torchaudio.compliance.kaldi import get_mel_banks

    # Kaldi's own filters in float32, because some hold a single small weight, where rounding shows.
    filters, _ = get_mel_banks(
        num_mel_bins, fft_length, float(sampling_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0
    )
    return F.pad(filters, (0, 1)).T.contiguous()  # the bin at Nyquist belongs to no filter


def mel_edges(num_mel_bins: int, sampling_rate: int) -> NDArray[np.float64]:
    """[M + 1]: where mel bins meet, in Hz: halfway between their centers on the mel scale."""
    lowest, highest = _mel(LOWEST_HZ), _mel(sampling_rate / 2)
    steps = lowest + (np.arange(num_mel_bins + 1) + 0.5) * (highest - lowest) / (num_mel_bins + 1)
    hertz: NDArray[np.float64] = 700 * np.expm1(steps / 1127)
    return hertz


def mel_shift(factor: float, num_mel_bins: int, sampling_rate: int) -> Tensor:
    """Where among the mel bins [M] the centers of their frequencies divided by a factor lie."""
    from torchaudio.compliance.kaldi import inverse_mel_scale, mel_scale

    lowest, highest = mel_scale(torch.tensor([LOWEST_HZ, sampling_rate / 2])).tolist()
    width = (highest - lowest) / (num_mel_bins + 1)
    centers = lowest + width * torch.arange(1, num_mel_bins + 1)
    moved = mel_scale(inverse_mel_scale(centers) / factor)
    bins: Tensor = (moved - lowest) / width - 1
    return bins


def _mel(hertz: float) -> float:
    return 1127 * math.log1p(hertz / 700)
