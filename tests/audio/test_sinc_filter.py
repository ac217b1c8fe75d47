"""The resampling filter: torchaudio's to the last bit where it can be imported, its goldens everywhere."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from ast_cli.audio.sinc_filter import MOST_TAPS, ROLLOFF, ZERO_CROSSINGS, filter_reach, resample, sinc_filter
from tests.golden.torchaudio_values import TORCHAUDIO
from tests.reference import needs_torchaudio, torchaudio

RATES = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000]
ODD = [(other, 16_000) for other in (1000, 4000, 7350, 384_000)]
PAIRS = [*permutations(RATES, 2), *ODD, *((new, orig) for orig, new in ODD)]
TOO_LARGE = [(12_345, 16_000), (16_000, 12_345)]  # whose table would have more than `MOST_TAPS`
# Other processors round sines otherwise, by the last bit of a weight of at most 1.
GOLDEN_TOLERANCE = 1e-6


def noise(samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == torch.float32
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))


def without_common_divisor(orig: int, new: int) -> tuple[int, int]:
    common = math.gcd(orig, new)
    return orig // common, new // common


@needs_torchaudio
@pytest.mark.parametrize(("orig", "new"), PAIRS)
def test_the_table_is_that_of_torchaudio_to_the_last_bit(orig: int, new: int) -> None:
    table, reach = torchaudio.functional.functional._get_sinc_resample_kernel(
        orig, new, math.gcd(orig, new), ZERO_CROSSINGS, ROLLOFF, dtype=torch.float32
    )
    pair = without_common_divisor(orig, new)
    assert reach == filter_reach(*pair)
    assert_same_bits(sinc_filter(*pair), table[:, 0])


@needs_torchaudio
@pytest.mark.parametrize(("orig", "new"), PAIRS)
def test_samples_are_those_of_torchaudio_to_the_last_bit(orig: int, new: int) -> None:
    for samples in (1, 2, 100, 999, orig // 8):
        waveform = noise(samples)
        assert_same_bits(resample(waveform, orig, new), torchaudio.functional.resample(waveform, orig, new))


@needs_torchaudio
@pytest.mark.parametrize(("orig", "new"), TOO_LARGE)
def test_rates_without_a_table_equal_torchaudio(orig: int, new: int) -> None:
    pair = without_common_divisor(orig, new)
    assert pair[1] * (pair[0] + 2 * filter_reach(*pair)) > MOST_TAPS
    waveform = noise(5000)
    expected = torchaudio.functional.resample(waveform.double(), orig, new).float()
    torch.testing.assert_close(resample(waveform, orig, new), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TORCHAUDIO if name.startswith("filter ")])
def test_the_table_holds_what_torchaudio_gave(name: str) -> None:
    orig, new = map(int, name.split()[1:])
    places, weights = TORCHAUDIO[name]
    found = sinc_filter(*without_common_divisor(orig, new)).numpy().ravel()[places.astype(int)]
    np.testing.assert_allclose(found, weights, rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("name", [name for name in TORCHAUDIO if name.startswith("resampled ")])
def test_noise_becomes_what_torchaudio_made_of_it(name: str) -> None:
    orig, new = map(int, name.split()[1:])
    waveform = torch.from_numpy(TORCHAUDIO["noise"])
    found = resample(waveform, orig, new)
    assert len(found) == math.ceil(len(waveform) * new / orig)
    np.testing.assert_allclose(found[:50].numpy(), TORCHAUDIO[name], rtol=0, atol=5 * GOLDEN_TOLERANCE)


def test_of_a_long_waveform_the_last_sample_is_kept() -> None:
    # torchaudio rounds 192,037.007 to float32, and so loses the sample of which this is the beginning.
    assert len(resample(torch.zeros(88_217), 88_200, 192_000)) == 192_038


def test_a_table_made_in_inference_mode_serves_training() -> None:
    sinc_filter.cache_clear()
    with torch.inference_mode():
        resample(noise(100), 44_100, 16_000)
    waveform = noise(100).requires_grad_()
    resample(waveform, 44_100, 16_000).sum().backward()
    assert waveform.grad is not None
