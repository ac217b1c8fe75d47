"""Waveforms at any rate -> the model's rate, piece by piece, without seams.

Pieces give the samples that the whole recording would give: an output sample needs only a few input samples
around it, which are kept from piece to piece.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ast_cli.audio.sinc_filter import filter_reach, resample


class StreamResampler:
    """Resamples one recording, handed in piece by piece.

    Args:
        orig_rate: Of the recording, in Hz.
        new_rate: Wanted, in Hz.
    """

    def __init__(self, orig_rate: int, new_rate: int) -> None:
        common = math.gcd(orig_rate, new_rate)
        self._orig, self._new = orig_rate // common, new_rate // common
        reach = filter_reach(self._orig, self._new)
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
        return resample(self._input, self._orig, self._new)[(period - self._first) * self._new :]
