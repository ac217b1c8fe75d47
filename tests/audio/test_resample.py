"""`StreamResampler` in pieces against `reference.resample` on the whole, and the sinc formula in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ast_cli.audio.resample import StreamResampler
from ast_cli.audio.sinc_filter import MOST_TAPS
from tests.reference import needs_torchaudio, resample

NEW = 16_000
COMMON_RATES = [
    4000,
    8000,
    11_025,
    12_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
    88_200,
    96_000,
    192_000,
]
# Their tables would be too large: 44,056 Hz is NTSC's, 22,254 Hz (rounded) the first Macintosh's.
ODD_RATES = [44_101, 44_056, 22_254, 15_999]
# float32 sums in another order; seen to reach 1e-6 for unit noise.
TOLERANCE = 1e-5
# torchaudio computes its tables in float32; for 11,025 Hz that moves samples of unit noise by 9e-5.
TABLE_TOLERANCE = 2e-4

repeatable = settings(deadline=None, derandomize=True, database=None, max_examples=60)
cuts = st.lists(st.integers(0, 30_000), max_size=8)


def noise(samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(0))


def tone(hertz: float, rate: int, seconds: float = 1.0) -> Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * hertz * time).float()


def in_pieces(waveform: Tensor, at: list[int], orig: int, new: int = NEW) -> Tensor:
    resampler = StreamResampler(orig, new)
    pieces = [resampler.push(piece) for piece in waveform.tensor_split(sorted(at))]
    return torch.cat([*pieces, resampler.finish()])


def by_formula(waveform: Tensor, orig: int, new: int = NEW, zero_crossings: int = 6) -> NDArray[np.float64]:
    """Windowed-sinc interpolation, one output sample after the other, straight from its definition."""
    samples = waveform.double().numpy()
    cutoff = 0.99 * min(orig, new)  # twice the highest frequency that is kept, in Hz
    outputs = []
    for n in range(math.ceil(len(samples) * new / orig)):
        reach = zero_crossings / cutoff * orig + 1
        first, last = math.ceil(n * orig / new - reach), math.floor(n * orig / new + reach)
        inputs = np.arange(max(first, 0), min(last, len(samples) - 1) + 1)
        time = (inputs / orig - n / new) * cutoff  # in zero crossings
        window = np.where(np.abs(time) < zero_crossings, np.cos(np.pi * time / zero_crossings / 2) ** 2, 0)
        outputs.append(np.sum(samples[inputs] * np.sinc(time) * window) * cutoff / orig)
    return np.array(outputs)


@pytest.mark.parametrize("rate", COMMON_RATES)
def test_blocks_of_seconds_equal_the_whole(rate: int) -> None:
    waveform = noise(round(2.35 * rate))
    whole = resample(waveform, rate, NEW)
    found = in_pieces(waveform, [rate, 2 * rate], rate)
    torch.testing.assert_close(found, whole, rtol=0, atol=TOLERANCE)


@repeatable
@given(st.sampled_from(COMMON_RATES), st.integers(1, 30_000), cuts)
@example(44_100, 5, [1, 2, 3, 4])
@example(44_100, 441, [440])
@example(11_025, 30_000, [0, 0, 30_000])
@example(4000, 20, list(range(20)))
def test_any_pieces_equal_the_whole(rate: int, samples: int, at: list[int]) -> None:
    waveform = noise(samples)
    whole = resample(waveform, rate, NEW)
    torch.testing.assert_close(in_pieces(waveform, at, rate), whole, rtol=0, atol=TOLERANCE)


@repeatable
@given(st.integers(4, 384).map(lambda n: 1000 * n), st.sampled_from([8000, 16_000, 24_000]), cuts)
def test_any_pieces_equal_the_whole_for_any_rates(orig: int, new: int, at: list[int]) -> None:
    waveform = noise(6000)
    whole = resample(waveform, orig, new)
    torch.testing.assert_close(in_pieces(waveform, at, orig, new), whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rate", [*COMMON_RATES, *ODD_RATES])
def test_single_samples_equal_the_whole(rate: int) -> None:
    waveform = noise(300)
    found = in_pieces(waveform, list(range(300)), rate)
    torch.testing.assert_close(found, in_pieces(waveform, [], rate), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("rate", "tolerance"),
    [(rate, TABLE_TOLERANCE) for rate in (8000, 11_025, 22_050, 44_100, 48_000)]
    + [(rate, TOLERANCE) for rate in ODD_RATES],
)
def test_samples_equal_the_formula(rate: int, tolerance: float) -> None:
    waveform = noise(3000)
    found = in_pieces(waveform, [1000, 1001], rate)
    np.testing.assert_allclose(found.numpy(), by_formula(waveform, rate), rtol=0, atol=tolerance)


@needs_torchaudio
def test_odd_rates_equal_torchaudio() -> None:
    waveform = noise(3000)
    whole = resample(waveform.double(), 44_056, NEW).float()  # with the large table, in float64
    torch.testing.assert_close(in_pieces(waveform, [1000], 44_056), whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rate", ODD_RATES)
def test_odd_rates_are_those_that_torchaudio_would_need_a_large_table_for(rate: int) -> None:
    common = math.gcd(rate, NEW)
    assert rate // common * (NEW // common) > MOST_TAPS


@pytest.mark.parametrize("rate", [44_101, 44_056])
def test_odd_rates_hold_in_the_second_second_too(rate: int) -> None:
    waveform = noise(2 * rate + 2000)  # beyond two periods, in which the rates meet once
    found = in_pieces(waveform, [rate // 2, rate + 3], rate)
    last = by_formula(waveform[rate:], rate)  # from one second on, at which both rates have a sample
    np.testing.assert_allclose(found[NEW + 100 :].numpy(), last[100:], rtol=0, atol=TOLERANCE)


@repeatable
@given(st.sampled_from(ODD_RATES), st.integers(1, 30_000), cuts)
def test_any_pieces_at_odd_rates_equal_the_whole(rate: int, samples: int, at: list[int]) -> None:
    waveform = noise(samples)
    whole = in_pieces(waveform, [], rate)
    assert len(whole) == math.ceil(samples * NEW / rate)
    torch.testing.assert_close(in_pieces(waveform, at, rate), whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rate", [4000, 11_025, 16_000, 22_050, 44_100, 48_000, 384_000, *ODD_RATES])
@pytest.mark.parametrize("samples", [1, 2, 159, 160, 161, 999, 12_345])
def test_the_length_is_rounded_up(rate: int, samples: int) -> None:
    assert len(in_pieces(noise(samples), [samples // 3], rate)) == math.ceil(samples * NEW / rate)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 44_101])
def test_nothing_becomes_nothing(rate: int) -> None:
    assert len(in_pieces(torch.empty(0), [], rate)) == 0
    assert len(StreamResampler(rate, NEW).finish()) == 0


def test_the_same_rate_changes_nothing() -> None:
    waveform = noise(10_000)
    assert torch.equal(in_pieces(waveform, [1, 5000], NEW), waveform)


@pytest.mark.parametrize("rate", [11_025, 22_050, 44_100, 48_000, 96_000, 384_000, *ODD_RATES])
@pytest.mark.parametrize("hertz", [50.0, 440.0, 3000.0])
def test_a_tone_keeps_its_frequency_phase_and_size(rate: int, hertz: float) -> None:
    found = in_pieces(tone(hertz, rate), [rate // 2], rate)
    expected = tone(hertz, NEW)
    middle = slice(200, NEW - 200)  # a tone that starts or ends suddenly holds other frequencies
    np.testing.assert_allclose(found[middle].numpy(), expected[middle].numpy(), rtol=0, atol=0.003)


@pytest.mark.parametrize(
    ("rate", "hertz", "most"),
    [(rate, 10_000.0, -43) for rate in (22_050, 22_254, 44_100, 44_101, 48_000, 96_000, 384_000)]
    # The filter has a side lobe just above 8 kHz.
    + [(rate, hertz, -50) for rate in (44_056, 44_100, 48_000, 384_000) for hertz in (12_000.0, 15_500.0)],
)
def test_a_tone_that_the_new_rate_cannot_hold_vanishes(rate: int, hertz: float, most: float) -> None:
    found = in_pieces(tone(hertz, rate), [rate // 2], rate)
    size = float(found[200:-200].square().mean().sqrt()) * 2**0.5
    assert 20 * math.log10(size) < most


@pytest.mark.parametrize("rate", [44_100, 44_101])
def test_what_is_kept_between_pieces_does_not_grow(rate: int) -> None:
    resampler = StreamResampler(rate, NEW)
    for piece in noise(5 * rate).split(5000):
        resampler.push(piece)
        assert len(resampler._input) <= 2 * rate + 10_000  # two periods of 44,101 Hz, and a piece


class LargestTensor(TorchDispatchMode):
    """Sees every tensor that is made, and keeps the size of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def test_a_rate_beyond_all_reason_costs_little_memory() -> None:
    # A damaged header may say so. An output sample then has 1.6 million taps, and there are 8 of them.
    waveform = noise(1_000_000)
    with LargestTensor() as largest:
        found = in_pieces(waveform, [], 2**31 - 1)
    assert len(found) == 8
    assert largest.bytes < 64e6
