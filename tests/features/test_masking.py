"""The masking noise against white noise as it is: its spectrum, its level, and what it hides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.features.extractor import ENERGY_FLOOR, ASTFeatureExtractor
from ast_cli.features.masking import NoiseMasking

RATE = 16_000
EXTRACTOR = ASTFeatureExtractor()
TIME = np.arange(2 * RATE) / RATE


def fbank(waveform: NDArray[np.float64]) -> Tensor:
    return EXTRACTOR.fbank(torch.from_numpy(waveform.astype(np.float32)))


def white(power: float, seconds: float = 2, seed: int = 0) -> NDArray[np.float64]:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return samples * np.sqrt(power / np.mean(samples**2))


def estimated_power(frames: Tensor) -> float:
    return float((frames.exp() @ EXTRACTOR.power_weights()).mean())


def test_white_noise_has_these_energies_on_average() -> None:
    measured = fbank(white(1, seconds=60)).exp().mean(dim=0)
    heard = measured > 2 * ENERGY_FLOOR  # one filter lies between two bins and has no weight
    assert heard.sum() >= EXTRACTOR.num_mel_bins - 2
    expected = EXTRACTOR.white_noise()
    assert (expected[~heard] == 0).all()
    # The narrowest bands hold one bin: 6,000 frames of it, overlapping, are known to some percent.
    np.testing.assert_allclose(measured[heard], expected[heard], rtol=0.1)
    assert float((measured / expected)[heard].mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("hertz", [60, 440, 3000, 7000])
def test_the_power_of_a_waveform_is_told_by_its_frames(hertz: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * hertz * TIME)
    assert estimated_power(fbank(tone)) == pytest.approx(0.3**2 / 2, rel=0.1)
    assert estimated_power(fbank(white(0.01))) == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("snr", [0.0, 10.0, 30.0])
def test_the_noise_is_so_many_db_below_the_window(snr: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * TIME)
    masked = NoiseMasking(EXTRACTOR, snr)(fbank(tone))
    added = estimated_power(masked) / estimated_power(fbank(tone)) - 1
    assert 10 * np.log10(added) == pytest.approx(-snr, abs=0.05)
    far = masked[:, -20:].exp().mean(dim=0)  # from the tone, where nothing else is
    noise = EXTRACTOR.white_noise()[-20:] * 0.3**2 / 2 * 10 ** (-snr / 10)
    np.testing.assert_allclose(far, noise, rtol=0.1)


def test_a_noise_that_is_masked_changes_little() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * TIME)
    noisy = tone + white(0.3**2 / 2 / 100)
    mask = NoiseMasking(EXTRACTOR, 10)
    before = (fbank(noisy) - fbank(tone)).abs().mean()
    after = (mask(fbank(noisy)) - mask(fbank(tone))).abs().mean()
    assert after < before / 20


def test_a_louder_copy_is_masked_as_much_louder() -> None:
    clip = white(1) * (TIME < 1) + np.sin(2 * np.pi * 440 * TIME)
    mask = NoiseMasking(EXTRACTOR, 10)
    louder = mask(fbank(4 * clip)) - mask(fbank(clip))
    heard = EXTRACTOR.white_noise() > 0  # a filter without a weight stays at the floor
    np.testing.assert_allclose(louder[:, heard], np.log(16), atol=0.01)


def test_what_is_far_below_the_floor_changes_nothing() -> None:
    frames = fbank(white(0.01))
    torch.testing.assert_close(NoiseMasking(EXTRACTOR, 300)(frames), frames)


@pytest.mark.parametrize("waveform", [np.zeros(2 * RATE), np.eye(1, 2 * RATE, 999)[0], white(1)[:400]])
def test_silence_a_click_and_a_single_frame_stay_finite(waveform: NDArray[np.float64]) -> None:
    masked = NoiseMasking(EXTRACTOR, 0)(fbank(waveform))
    assert masked.isfinite().all()
    assert masked.shape == fbank(waveform).shape


@pytest.mark.parametrize("snr", [float("nan"), float("inf")])
def test_a_level_must_be_a_number(snr: float) -> None:
    with pytest.raises(UsageError, match="finite number of dB"):
        NoiseMasking(EXTRACTOR, snr)
