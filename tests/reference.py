"""torchaudio, where it can be imported: what features and resampling are compared with."""

from __future__ import annotations

import pytest
from torch import Tensor

from ast_cli.audio import sinc_filter
from ast_cli.errors import EngineError
from ast_cli.reference import load_torchaudio

try:
    torchaudio = load_torchaudio()
except EngineError as error:
    torchaudio = None
    why = error.cause
else:
    why = ""

needs_torchaudio = pytest.mark.skipif(torchaudio is None, reason=why)

# transformers takes its features from torchaudio, and makes them with numpy in float64 where there is none:
# then there is less noise of rounding beside a loud tone.
TRANSFORMERS_TOLERANCE = 1e-5 if torchaudio else 2e-3


def fbank(waveform: Tensor, rate: int = 16_000, mel_bins: int = 128) -> Tensor:
    """torchaudio's frames of a waveform [S]; skips the test where there is none."""
    if torchaudio is None:
        pytest.skip(why)
    frames: Tensor = torchaudio.compliance.kaldi.fbank(
        waveform[None], sample_frequency=rate, window_type="hanning", num_mel_bins=mel_bins
    )
    return frames


def resample(waveform: Tensor, orig: int, new: int) -> Tensor:
    """By torchaudio where there is one; else by our filter, which test_sinc_filter.py holds to goldens."""
    by = torchaudio.functional if torchaudio else sinc_filter
    found: Tensor = by.resample(waveform, orig, new)
    return found
