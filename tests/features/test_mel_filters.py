"""The mel filters: torchaudio's to the last bit where it can be imported, and its goldens everywhere."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.mel_filters import LOWEST_HZ, mel_edges, mel_filters, mel_shift
from tests.golden.torchaudio_values import TORCHAUDIO
from tests.reference import needs_torchaudio, torchaudio

RATES = [1000, 4000, 7350, 8000, 11_025, 12_000, 12_345, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
RATES += [88_200, 96_000, 192_000]
BINS = [4, 16, 23, 40, 64, 80, 127, 128, 200, 256]
# Other processors round logarithms otherwise, by the last bit of up to 2,840 mel, 11 of which are one weight.
GOLDEN_TOLERANCE = 1e-4


@needs_torchaudio
@pytest.mark.parametrize("rate", RATES)
def test_the_filters_are_those_of_torchaudio_to_the_last_bit(rate: int) -> None:
    fitting = 1 << (int(0.025 * rate) - 1).bit_length()
    for bins, fft_length in product(BINS, {256, 512, 1024, fitting}):
        expected, _ = torchaudio.compliance.kaldi.get_mel_banks(
            bins, fft_length, float(rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0
        )
        found = mel_filters(bins, fft_length, rate)
        assert found.is_contiguous()
        assert found.dtype == torch.float32
        expected = F.pad(expected, (0, 1)).T.contiguous()
        assert torch.equal(found.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("name", [name for name in TORCHAUDIO if name.startswith("mel ")])
def test_the_filters_hold_what_torchaudio_gave(name: str) -> None:
    rate, fft_length, bins = map(int, name.split()[1:])
    places, weights = TORCHAUDIO[name]
    found = mel_filters(bins, fft_length, rate).numpy().ravel()[places.astype(int)]
    np.testing.assert_allclose(found, weights, rtol=0, atol=GOLDEN_TOLERANCE)


def test_frames_are_those_that_torchaudio_gave() -> None:
    waveform = 0.1 * np.random.default_rng(0).standard_normal(720, dtype=np.float32)
    found = ASTFeatureExtractor().fbank(torch.from_numpy(waveform))
    np.testing.assert_allclose(found.numpy(), TORCHAUDIO["frames"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("rate", "bins"), [(16_000, 128), (48_000, 40)])
def test_each_filter_peaks_between_its_edges(rate: int, bins: int) -> None:
    edges = mel_edges(bins, rate)
    assert len(edges) == bins + 1
    weights = mel_filters(bins, 1 << 15, rate).numpy()  # so fine that every filter has many frequencies
    peaks = weights.argmax(axis=0) * rate / (1 << 15)
    assert (edges[:-1] < peaks).all()
    assert (peaks < edges[1:]).all()
    assert weights.max() <= 1
    assert weights.max(axis=0).min() > 0.9


def test_a_pitch_of_one_moves_no_bin_and_a_higher_one_takes_from_lower_bins() -> None:
    places = torch.arange(128.0)
    torch.testing.assert_close(mel_shift(1.0, 128, 16_000), places, rtol=0, atol=1e-4)
    assert (mel_shift(1.1, 128, 16_000) < places).all()
