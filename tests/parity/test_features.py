"""Our `ASTFeatureExtractor` against that of `transformers`, and its fbank against torchaudio's Kaldi one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ast_cli.errors import InputError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from tests.extras import Extra
from tests.random_checkpoint import save_random_checkpoint
from tests.reference import TRANSFORMERS_TOLERANCE, fbank

transformers = Extra("transformers")

RATE = 16000
WINDOW = 164_080  # samples that fill 1024 frames: 400 + 1023 * 160
# The same float32 operations in the same order: what differs is rounding, seen to reach 1e-7 at most. A wrong
# taper, mel filter or order of padding and normalising moves values by 1e-2 and more.
TOLERANCE = 1e-5


def seconds(duration: float) -> np.ndarray:
    return np.arange(int(duration * RATE)) / RATE


def noise(samples: int, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(samples).standard_normal(samples)


def tone(hertz: float, duration: float = 1.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * seconds(duration))


def vowel(pitch: float, *formants: float, duration: float = 1.0) -> np.ndarray:
    """A voice's buzz: harmonics of a gliding pitch, the louder the nearer they are to a formant."""
    time = seconds(duration)
    phase = 2 * np.pi * pitch * (time + 0.05 * np.sin(2 * np.pi * time) / (2 * np.pi))
    voice = np.zeros_like(time)
    for harmonic in range(1, int(7000 / pitch)):
        loudness = sum(1 / (1 + ((harmonic * pitch - formant) / 80) ** 2) for formant in formants)
        voice += loudness * np.sin(harmonic * phase)
    return 0.3 * voice / np.abs(voice).max()


def sentence(pitch: float, duration: float) -> np.ndarray:
    """Vowels with hisses and gaps between, as syllables have."""
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)]
    syllables = []
    for number in range(int(duration / 0.25) + 1):
        spoken = vowel(pitch * (1 + 0.1 * (number % 3)), *vowels[number % 4], duration=0.14)
        syllables += [spoken * np.hanning(len(spoken)), noise(960, 0.02), np.zeros(800)]
    return np.concatenate(syllables)[: int(duration * RATE)]


def chord(*notes: float, duration: float = 2.0) -> np.ndarray:
    """Plucked strings: each note with five fading overtones."""
    time = seconds(duration)
    strings = [
        np.sin(2 * np.pi * note * overtone * time) * np.exp(-overtone * time) / overtone
        for note in notes
        for overtone in range(1, 6)
    ]
    return 0.2 * np.sum(strings, axis=0)


def impulses(samples: int, *positions: int) -> np.ndarray:
    clicks = np.zeros(samples)
    clicks[list(positions)] = 1.0
    return clicks


WAVEFORMS: dict[str, Callable[[], np.ndarray]] = {
    # Frames begin and windows fill at exact numbers of samples: one less, exactly, one more.
    **{
        f"noise of {samples} samples": lambda samples=samples: noise(samples)
        for samples in (
            *(400, 401, 559, 560, 561, 719, 720, 1000, 4000, 8000, 15_999, 16_000, 16_001),
            *(48_000, 80_000, 160_000, WINDOW - 161, WINDOW - 160, WINDOW - 159),
            *(WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 160, 192_000),
        )
    },
    "the vowel of father": lambda: vowel(120, 730, 1090, 2440),
    "the vowel of see": lambda: vowel(210, 270, 2290, 3010),
    "the vowel of boot": lambda: vowel(95, 300, 870, 2240),
    "a child's vowel of bed": lambda: vowel(330, 690, 2610, 3570),
    "a sentence of 2.5 s": lambda: sentence(110, 2.5),
    "a high sentence of 5 s": lambda: sentence(230, 5.0),
    "a sentence of 10 s": lambda: sentence(140, 10.0),
    "a sentence of 12 s": lambda: sentence(140, 12.0),
    "C major": lambda: chord(261.63, 329.63, 392.00),
    "A minor": lambda: chord(220.00, 261.63, 329.63),
    "a diminished chord": lambda: chord(246.94, 293.66, 349.23, 415.30),
    "a bass note": lambda: chord(41.20, duration=4.0),
    "a high note": lambda: chord(2093.0),
    "three chords in a row": lambda: np.concatenate([chord(n, 1.25 * n, 1.5 * n) for n in (262, 349, 392)]),
    "a tone of 440 Hz": lambda: tone(440),
    "a tone below the lowest mel bin": lambda: tone(15),
    "a tone just below Nyquist": lambda: tone(7990),
    "a sweep": lambda: 0.5 * np.sin(2 * np.pi * (50 * seconds(2) + 1900 * seconds(2) ** 2)),
    "beats": lambda: tone(440) * (1 + tone(7)),
    "one frame of silence": lambda: np.zeros(400),
    "a second of silence": lambda: np.zeros(16_000),
    "12 s of silence": lambda: np.zeros(192_000),
    "silence, then noise": lambda: np.concatenate([np.zeros(8000), noise(8000)]),
    "DC": lambda: np.full(16_000, 0.5),
    "negative full-scale DC": lambda: np.full(16_000, -1.0),
    "noise on DC": lambda: noise(16_000, 0.01) + 0.9,
    "a clipped tone": lambda: np.clip(tone(440, level=5.0), -1, 1),
    "clipped noise": lambda: np.clip(noise(16_000, 3.0), -1, 1),
    "a square wave": lambda: np.sign(tone(100)),
    "an impulse at the start": lambda: impulses(16_000, 0),
    "an impulse in the middle": lambda: impulses(16_000, 8000),
    "an impulse at the very end": lambda: impulses(16_000, 15_999),
    "a train of impulses": lambda: impulses(16_000, *range(0, 16_000, 1600)),
    "every sample of another sign": lambda: np.tile([0.5, -0.5], 8000),
    "quiet noise": lambda: noise(16_000, 1e-3),
    "very quiet noise": lambda: noise(16_000, 1e-5),
    "noise below the energy floor": lambda: noise(16_000, 1e-9),
    "a quiet sentence": lambda: 1e-4 * sentence(110, 2.5),
    "noise above 1.0": lambda: noise(16_000, 4.0),
    "a tone above 1.0": lambda: tone(440, level=2.0),
    "16-bit numbers not scaled down": lambda: np.round(noise(16_000, 8000.0)),
}


def make(name: str) -> np.ndarray:
    return WAVEFORMS[name]().astype(np.float32)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_features_equal_those_of_transformers(name: str) -> None:
    waveform = make(name)
    ours = ASTFeatureExtractor()(waveform, sampling_rate=RATE, return_tensors="np").input_values
    theirs = transformers.ASTFeatureExtractor()(waveform, sampling_rate=RATE, return_tensors="np")
    assert ours.shape == theirs.input_values.shape == (1, 1024, 128)
    assert ours.dtype == theirs.input_values.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.input_values, rtol=0, atol=TRANSFORMERS_TOLERANCE)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_fbank_equals_that_of_torchaudio(name: str) -> None:
    waveform = torch.from_numpy(make(name))
    ours = ASTFeatureExtractor().fbank(waveform)
    theirs = fbank(waveform)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("rate", "mel_bins"), [(8000, 64), (22_050, 80), (44_100, 128), (48_000, 40)])
def test_fbank_equals_that_of_torchaudio_at_other_rates(rate: int, mel_bins: int) -> None:
    waveform = torch.from_numpy(noise(rate).astype(np.float32))
    ours = ASTFeatureExtractor(sampling_rate=rate, num_mel_bins=mel_bins).fbank(waveform)
    theirs = fbank(waveform, rate, mel_bins)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def test_a_batch_equals_its_waveforms_one_by_one() -> None:
    extractor = ASTFeatureExtractor()
    waveforms = [make(name) for name in ("a sentence of 2.5 s", "C major", "one frame of silence")]
    batch = extractor(waveforms, sampling_rate=RATE, return_tensors="np").input_values
    alone = [extractor(waveform, sampling_rate=RATE).input_values[0] for waveform in waveforms]
    np.testing.assert_array_equal(batch, alone)


def test_the_fbank_of_stacked_waveforms_equals_theirs_one_by_one() -> None:
    extractor = ASTFeatureExtractor()
    waveforms = torch.from_numpy(np.stack([make("C major"), make("A minor"), 0.01 * make("a high note")]))
    alone = torch.stack([extractor.fbank(waveform) for waveform in waveforms])
    torch.testing.assert_close(extractor.fbank(waveforms), alone, rtol=0, atol=TOLERANCE)


FIRST, SECOND = make("noise of 4000 samples"), make("noise of 4000 samples")[::-1].copy()


@pytest.mark.parametrize("return_tensors", [None, "np", "pt"])
@pytest.mark.parametrize(
    "raw_speech",
    [
        pytest.param(FIRST, id="an array"),
        pytest.param(FIRST.astype(np.float64), id="a float64 array"),
        pytest.param(FIRST.tolist(), id="a list of numbers"),
        pytest.param(tuple(FIRST.tolist()), id="a tuple of numbers"),
        pytest.param([FIRST, SECOND], id="a list of arrays"),
        pytest.param([FIRST, SECOND[:1000]], id="arrays of different lengths"),
        pytest.param([FIRST.tolist(), SECOND.tolist()], id="a list of lists"),
        pytest.param((FIRST, SECOND), id="a tuple of arrays"),
        pytest.param(np.stack([FIRST, SECOND]), id="a 2-D array"),
    ],
)
def test_every_kind_of_input_and_output_is_that_of_transformers(
    raw_speech: object, return_tensors: str | None
) -> None:
    ours = ASTFeatureExtractor(max_length=64)(raw_speech, sampling_rate=RATE, return_tensors=return_tensors)
    theirs = transformers.ASTFeatureExtractor(max_length=64)(
        raw_speech, sampling_rate=RATE, return_tensors=return_tensors
    )
    assert list(ours) == list(theirs) == ["input_values"]
    assert type(ours["input_values"]) is type(theirs["input_values"])
    assert type(ours["input_values"][0]) is type(theirs["input_values"][0])
    np.testing.assert_allclose(
        ours["input_values"], theirs["input_values"], rtol=0, atol=TRANSFORMERS_TOLERANCE
    )


@pytest.mark.parametrize("raw_speech", [torch.from_numpy(FIRST), [torch.from_numpy(FIRST)]])
def test_tensors_are_waveforms_too(raw_speech: object) -> None:
    extractor = ASTFeatureExtractor(max_length=64)
    from_tensors = extractor(raw_speech, sampling_rate=RATE, return_tensors="np").input_values
    np.testing.assert_array_equal(from_tensors, extractor(FIRST, sampling_rate=RATE).input_values)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_normalize": False},
        {"do_normalize": False, "max_length": 8},
        {"max_length": 128, "mean": -6.845978, "std": 5.5654526},
        {"max_length": 512, "mean": -6.6268077, "std": 5.358466},
        {"num_mel_bins": 64},
    ],
    ids=str,
)
def test_features_equal_those_of_transformers_with_other_settings(settings: dict) -> None:
    waveform = make("a sentence of 2.5 s")
    ours = ASTFeatureExtractor(**settings)(waveform, sampling_rate=RATE, return_tensors="pt")
    theirs = transformers.ASTFeatureExtractor(**settings)(waveform, sampling_rate=RATE, return_tensors="pt")
    torch.testing.assert_close(ours.input_values, theirs.input_values, rtol=0, atol=TRANSFORMERS_TOLERANCE)


def test_padding_is_normalised_as_transformers_does_it() -> None:
    padded = ASTFeatureExtractor()(make("a second of silence"), sampling_rate=RATE).input_values[0][-1]
    theirs = transformers.ASTFeatureExtractor()(make("a second of silence"), sampling_rate=RATE)
    np.testing.assert_allclose(padded, 4.2677393 / 9.1379948, rtol=1e-6)
    np.testing.assert_allclose(padded, theirs.input_values[0][-1], rtol=0, atol=TRANSFORMERS_TOLERANCE)


def test_defaults_are_those_of_transformers() -> None:
    ours, theirs = ASTFeatureExtractor().to_dict(), transformers.ASTFeatureExtractor().to_dict()
    assert ours == {name: theirs[name] for name in ours}


def test_a_wrong_sampling_rate_is_an_error_on_either_side() -> None:
    with pytest.raises(UsageError, match="44100 Hz, the model wants 16000 Hz"):
        ASTFeatureExtractor()(FIRST, sampling_rate=44_100)
    with pytest.raises(ValueError, match="44100"):
        transformers.ASTFeatureExtractor()(FIRST, sampling_rate=44_100)


def test_an_unnamed_sampling_rate_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="16000 Hz is assumed"):
        features = ASTFeatureExtractor()(FIRST)
    np.testing.assert_array_equal(
        features.input_values, ASTFeatureExtractor()(FIRST, sampling_rate=RATE).input_values
    )


@pytest.mark.parametrize("samples", [1, 399])
def test_a_waveform_of_less_than_a_frame_is_too_short(samples: int) -> None:
    with pytest.raises(InputError, match=f"{samples} samples .* do not fill one frame of 400") as caught:
        ASTFeatureExtractor()([FIRST, FIRST[:samples]], sampling_rate=RATE)
    assert caught.value.word == "too-short"


def test_several_channels_are_an_error() -> None:
    with pytest.raises(UsageError, match="one channel"):
        ASTFeatureExtractor()(np.zeros((2, 2, 16_000)), sampling_rate=RATE)


SPEECH_COMMANDS = {"max_length": 128, "mean": -6.845978, "std": 5.5654526, "do_normalize": False}


def test_what_we_save_transformers_loads(tmp_path: Path) -> None:
    ASTFeatureExtractor(**SPEECH_COMMANDS).save_pretrained(tmp_path)
    theirs = transformers.ASTFeatureExtractor.from_pretrained(tmp_path)
    assert {name: getattr(theirs, name) for name in SPEECH_COMMANDS} == SPEECH_COMMANDS
    automatic = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(automatic, transformers.ASTFeatureExtractor)


def test_what_transformers_saves_we_load(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    transformers.ASTFeatureExtractor(**SPEECH_COMMANDS).save_pretrained(tmp_path)
    assert ASTFeatureExtractor.from_pretrained(tmp_path) == ASTFeatureExtractor(**SPEECH_COMMANDS)
