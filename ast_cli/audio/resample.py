"""Waveforms at any rate -> the model's rate, piece by piece, without seams.

torchaudio's windowed-sinc resampling with its defaults. Pieces give the samples that the whole recording
would give: an output sample needs only a few input samples around it, which are kept from piece to piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6  # of the sinc on either side: torchaudio's `lowpass_filter_width`
ROLLOFF = 0.99  # of the lower Nyquist frequency
# torchaudio tabulates a filter for every phase, over a whole period of the two rates. Rates with hardly a
# common divisor, such as 44,101 Hz, would need gigabytes. 44.1 kHz needs 76,000 taps.
MOST_TAPS = 1 << 20
TAPS_AT_ONCE = 1 << 19  # where they are computed: 4 MB in float64, several times over, in every thread


class StreamResampler:
    """Resamples one recording, handed in piece by piece.

    Args:
        orig_rate: Of the recording, in Hz.
        new_rate: Wanted, in Hz.
    """

    def __init__(self, orig_rate: int, new_rate: int) -> None:
        common = math.gcd(orig_rate, new_rate)
        self._orig, self._new = orig_rate // common, new_rate // common
        self._convert = _converter(self._orig, self._new)
        reach = _reach(self._orig, self._new)
        # The two rates meet every `_orig` input and `_new` output samples: one period.
        self._periods_kept = math.ceil(reach / self._orig)
        self._reach = reach
        self._input = torch.empty(0)  # from period `_first` on
        self._first = 0
        self._done = 0  # periods handed out

    def push(self, samples: Tensor) -> Tensor:
        """Hand in the next samples [S]; returns those output samples that nothing later can change."""
        if self._orig == self._new:
            return samples
        self._input = torch.cat([self._input, samples])
        settled = self._first + (len(self._input) - self._reach) // self._orig
        if settled <= self._done:
            return samples[:0]
        out = self._from(self._done)[: (settled - self._done) * self._new]
        self._done = settled
        keep_from = max(0, settled - self._periods_kept)
        self._input = self._input[(keep_from - self._first) * self._orig :]
        self._first = keep_from
        return out

    def finish(self) -> Tensor:
        """The recording is over: returns the last output samples."""
        return self._from(self._done) if len(self._input) else self._input

    def _from(self, period: int) -> Tensor:
        return self._convert(self._input)[(period - self._first) * self._new :]


def _reach(orig: int, new: int) -> int:
    """Input samples that an output sample needs on either side."""
    return math.ceil(ZERO_CROSSINGS * orig / (min(orig, new) * ROLLOFF))


@lru_cache(maxsize=16)
def _converter(orig: int, new: int) -> Callable[[Tensor], Tensor]:
    """A function that resamples a waveform [S] as a whole; `orig` and `new` have no common divisor."""
    if orig == new:
        return lambda samples: samples
    reach = _reach(orig, new)
    if new * (orig + 2 * reach) <= MOST_TAPS:
        from torchaudio.transforms import Resample

        # Made in float32, the table is the one of `torchaudio.functional.resample` to the last bit.
        resample: Callable[[Tensor], Tensor] = Resample(
            orig, new, lowpass_filter_width=ZERO_CROSSINGS, rolloff=ROLLOFF, dtype=torch.float32
        )
        return resample
    return lambda samples: _resample_by_taps(samples, orig, new)


def _resample_by_taps(samples: Tensor, orig: int, new: int) -> Tensor:
    """The same filter as torchaudio's, its taps computed where they are needed instead of tabulated."""
    cutoff = min(orig, new) * ROLLOFF
    reach = _reach(orig, new)
    offsets = torch.arange(-reach, reach + 1)
    padded = F.pad(samples, (reach, reach + 1))
    outputs = -(-new * len(samples) // orig)
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
