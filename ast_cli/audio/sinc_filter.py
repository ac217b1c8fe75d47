"""The windowed-sinc filter between two sampling rates: bandlimited interpolation.

An output sample is the sum of the input samples around it, each weighted by sinc(x)·cos²(πx / 12). Here x is
the time between the two, counted in zero crossings of the sinc, of which there are six on either side, and
the cosine is a Hann window over them (J. O. Smith: Digital Audio Resampling,
https://ccrma.stanford.edu/~jos/resample).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6  # of the sinc on either side
ROLLOFF = 0.99  # of the lower Nyquist frequency
# A table holds the taps of every phase, over a whole period of the two rates. Rates with hardly a common
# divisor, such as 44,101 Hz, would need gigabytes. 44.1 kHz needs 76,000 taps.
MOST_TAPS = 1 << 20
TAPS_AT_ONCE = 1 << 19  # where they are computed: 4 MB in float64, several times over, in every thread


def filter_reach(orig: int, new: int) -> int:
    """Input samples that an output sample needs on either side."""
    return math.ceil(ZERO_CROSSINGS * orig / (min(orig, new) * ROLLOFF))


def resample(samples: Tensor, orig: int, new: int) -> Tensor:
    """A waveform [S] as a whole at another rate: [⌈S·new / orig⌉]; rates in any unit, such as Hz."""
    common = math.gcd(orig, new)
    orig, new = orig // common, new // common
    if orig == new:
        return samples
    reach = filter_reach(orig, new)
    if new * (orig + 2 * reach) > MOST_TAPS:
        return _resample_by_taps(samples, orig, new)
    # Each step of `orig` input samples gives `new` output samples, one from each phase of the table.
    padded = F.pad(samples, (reach, reach + orig))
    phases = F.conv1d(padded[None, None], sinc_filter(orig, new)[:, None], stride=orig)  # [1, new, periods]
    return phases[0].T.flatten()[: _output_samples(len(samples), orig, new)]


@lru_cache(maxsize=16)
def sinc_filter(orig: int, new: int) -> Tensor:
    """The taps of every phase [new, orig + 2·reach], for rates without a common divisor.

    Equal to those of `torchaudio.functional.resample` to the last bit: in float32, which moves unit noise at
    11,025 Hz by up to 9e-5, and in this order of operations.
    """
    # Made outside inference mode, so that training may use them after tagging did.
    with torch.inference_mode(False):
        reach, cutoff = filter_reach(orig, new), min(orig, new) * ROLLOFF
        # Times in periods of the two rates.
        inputs = torch.arange(-reach, reach + orig, dtype=torch.float32) / orig
        outputs = torch.arange(new, dtype=torch.float32)[:, None] / new
        crossings = ((inputs - outputs) * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = torch.cos(crossings * math.pi / ZERO_CROSSINGS / 2) ** 2
        angle = crossings * math.pi
        return torch.where(angle == 0, 1.0, angle.sin() / angle) * (window * (cutoff / orig))


def _resample_by_taps(samples: Tensor, orig: int, new: int) -> Tensor:
    """The same filter, its taps computed where they are needed instead of tabulated."""
    cutoff = min(orig, new) * ROLLOFF
    reach = filter_reach(orig, new)
    offsets = torch.arange(-reach, reach + 1)
    padded = F.pad(samples, (reach, reach + 1))
    outputs = _output_samples(len(samples), orig, new)
    most_outputs = max(1, TAPS_AT_ONCE // len(offsets))
    pieces = []
    for start in range(0, outputs, most_outputs):
        index = torch.arange(start, min(start + most_outputs, outputs))
        nearest = index * orig // new
        inputs = nearest[:, None] + offsets  # [outputs, taps]
        # Time from output to input sample in periods; whole numbers until the division keep it exact.
        time = (inputs * new - (index * orig)[:, None]).double() / (orig * new) * cutoff
        time = time.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
        taps = torch.sinc(time) * torch.cos(time * math.pi / ZERO_CROSSINGS / 2) ** 2 * (cutoff / orig)
        pieces.append((padded[inputs + reach] * taps.float()).sum(dim=1))
    return torch.cat(pieces) if pieces else samples[:0]


def _output_samples(inputs: int, orig: int, new: int) -> int:
    return -(-new * inputs // orig)
