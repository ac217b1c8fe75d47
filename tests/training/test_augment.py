"""What may happen to a clip, each kind alone, and that it is drawn from the handed generator alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.training.augment import Augmentation, mix

NOTHING = {
    "mixup": 0.0,
    "gain": 0.0,
    "roll": 0.0,
    "noise": 0.0,
    "tempo": 0.0,
    "pitch": 0.0,
    "tone": 0.0,
    "freq_mask": 0,
    "time_mask": 0.0,
}
RATE = 1000

repeatable = settings(deadline=None, derandomize=True, database=None)


def only(**chance: float) -> Augmentation:
    return Augmentation(**NOTHING | chance)  # type: ignore[arg-type]


def wave(samples: int = 1000) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(0))


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_changes_nothing() -> None:
    frames = torch.randn(30, 128)
    assert torch.equal(only().vary(wave(), RATE, drawn()), wave())
    assert torch.equal(only().warp(frames, RATE, drawn()), frames)
    assert torch.equal(only().mask(frames, drawn()), frames)


@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_comes_from_the_generator(seed: int) -> None:
    augmentation, frames = Augmentation(noise=1.0), torch.randn(30, 128)

    def varied(seed: int) -> list[Tensor]:
        return [
            augmentation.vary(wave(), RATE, drawn(seed)),
            augmentation.warp(frames, RATE, drawn(seed)),
            augmentation.mask(frames, drawn(seed)),
        ]

    one = varied(seed)
    torch.rand(7)
    assert all(torch.equal(a, b) for a, b in zip(one, varied(seed), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, varied(seed + 10), strict=True))


def test_gain_stays_within_its_decibels() -> None:
    factors = [only(gain=6.0).vary(wave(), RATE, drawn(seed))[0] / wave()[0] for seed in range(200)]
    levels = [20 * math.log10(float(factor)) for factor in factors]
    assert -6 <= min(levels) < -5
    assert 5 < max(levels) <= 6


def test_roll_brings_in_at_one_end_what_leaves_at_the_other() -> None:
    shifts = set()
    for seed in range(300):
        rolled = only(roll=0.005).vary(torch.arange(100.0), RATE, drawn(seed))
        first = int(rolled[0])
        assert torch.equal(rolled, torch.arange(100.0).roll(-first))
        shifts.add(first - 100 if first > 50 else first)
    assert shifts == set(range(-5, 6))  # 5 ms at 1 kHz


def test_noise_of_a_known_strength_on_a_part_of_the_clips() -> None:
    added = [only(noise=0.3).vary(wave(), RATE, drawn(seed)) - wave() for seed in range(300)]
    noisy = [float(one.square().mean()) for one in added if one.abs().max() > 0]
    assert 0.2 < len(noisy) / 300 < 0.4
    ratios = [10 * math.log10(float(wave().square().mean()) / power) for power in noisy]
    assert 14 < min(ratios) < 20
    assert 45 < max(ratios) < 51


def test_silence_stays_silence() -> None:
    silence = torch.zeros(100)
    assert torch.equal(Augmentation(noise=1.0).vary(silence, RATE, drawn()), silence)


def test_tempo_goes_through_the_frames_in_other_steps() -> None:
    frames = torch.arange(50.0).unsqueeze(1) + torch.tensor([0.0, 100.0])
    steps = []
    for seed in range(200):
        warped = only(tempo=0.2).warp(frames, RATE, drawn(seed))
        step = float(warped[1, 0])
        assert len(warped) == round(50 / step)
        expected = (torch.arange(len(warped)) * step).clamp(max=49)  # past the end, the end
        torch.testing.assert_close(warped, expected.unsqueeze(1) + torch.tensor([0.0, 100.0]))
        steps.append(step)
    assert 0.8 <= min(steps) < 0.82
    assert 1.18 < max(steps) <= 1.2


@pytest.mark.parametrize("hertz", [500, 1000, 3000])
def test_pitch_moves_a_tone_to_where_its_new_frequency_is(hertz: int) -> None:
    extractor = ASTFeatureExtractor()

    def loudest_bin(hertz: float, pitch: float = 0.0, seed: int = 0) -> int:
        frames = extractor.fbank((2 * math.pi * hertz * torch.arange(8000) / 16_000).sin())
        return int(only(pitch=pitch).warp(frames, 16_000, drawn(seed)).mean(dim=0).argmax())

    factors = [1 + drawn(seed).uniform(-0.3, 0.3) for seed in range(20)]
    found = [loudest_bin(hertz, 0.3, seed) for seed in range(20)]
    expected = [loudest_bin(hertz * factor) for factor in factors]
    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) <= 1
    assert max(expected) - min(expected) > 10


def test_tone_raises_and_lowers_parts_of_the_spectrum() -> None:
    frames = torch.randn(7, 128)
    levels = []
    for seed in range(200):
        change = only(tone=6.0).warp(frames, RATE, drawn(seed)) - frames
        torch.testing.assert_close(change, change[:1].expand(7, -1), rtol=0, atol=1e-5)  # in all frames alike
        levels.append(change[0] * 10 / math.log(10))  # frames are natural logarithms of power
    every = torch.stack(levels)
    assert -6 <= every.min() < -5.5
    assert 5.5 < every.max() <= 6.001
    bends = every.diff(n=2, dim=1).abs() > 1e-3
    assert bends.sum(dim=1).max() <= 2 * 4  # straight between six levels: a bend at four, between two bins


def test_a_single_frame_may_be_warped() -> None:
    for seed in range(20):
        assert Augmentation(tempo=0.5).warp(torch.randn(1, 128), RATE, drawn(seed)).shape[0] in (1, 2)


@repeatable
@given(st.integers(1, 40), st.integers(1, 128), st.integers(0, 200), st.floats(0, 1), st.integers(0, 99))
def test_masks_are_one_run_of_bins_and_one_of_frames(
    count: int, mel_bins: int, freq_mask: int, time_mask: float, seed: int
) -> None:
    frames = torch.ones(count, mel_bins)
    masked = only(freq_mask=freq_mask, time_mask=time_mask).mask(frames, drawn(seed))
    assert torch.equal(frames, torch.ones(count, mel_bins))  # what was handed in stays
    rows, columns = (masked == 0).all(dim=1), (masked == 0).all(dim=0)
    if not rows.all():
        assert torch.equal(masked == 0, rows.unsqueeze(1) | columns)
        assert int(columns.sum()) <= freq_mask
        assert runs(columns) <= 1
    if not columns.all():
        assert int(rows.sum()) <= round(time_mask * count)
        assert runs(rows) <= 1


def runs(flags: Tensor) -> int:
    return int((torch.cat([torch.tensor([False]), flags]).int().diff() == 1).sum())


def test_masks_reach_their_largest_and_every_place() -> None:
    masks = only(freq_mask=3, time_mask=0.5)
    masked = [masks.mask(torch.ones(6, 5), drawn(seed)) == 0 for seed in range(300)]
    assert {int(one.all(dim=0).sum()) for one in masked} == {0, 1, 2, 3}
    assert {int(one.all(dim=1).sum()) for one in masked} == {0, 1, 2, 3}
    assert torch.stack(masked).any(dim=0).all()


def test_mixup_by_hand() -> None:
    one, other = torch.tensor([1.0, 2.0, 3.0, 6.0, 3.0]), torch.tensor([0.0, 4.0])
    weight = float(drawn(3).beta(10, 10))
    waveform, targets = mix((one, torch.tensor([1.0, 0.0])), (other, torch.tensor([0.0, 1.0])), drawn(3))
    repeated = torch.tensor([0.0, 4.0, 0.0, 4.0, 0.0])
    expected = weight * (one - 3.0) + (1 - weight) * (repeated - 1.6)
    torch.testing.assert_close(waveform, expected)
    torch.testing.assert_close(targets, torch.tensor([weight, 1 - weight]))
    assert len(mix((other, targets), (one, targets), drawn())[0]) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mixup", 1.1), ("time_mask", -0.1), ("noise", 2.0)),
        *(("freq_mask", -1), ("gain", float("inf")), ("roll", -1.0), ("tone", -1.0)),
        *(("tempo", 0.6), ("pitch", 0.6)),
    ],
)
def test_chance_that_cannot_be(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')} must be"):
        Augmentation(**{name: value})  # type: ignore[arg-type]
