"""A copy in noise, 10 dB below it, finds its original: in a rumble, and with `noise_masking` in any noise.

The clips are made here, or cut from the examples: none is alike another by more than its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ast_cli import Tagger
from ast_cli.scoring.embedding import Embedding
from ast_cli.scoring.search import nearest

RATE = 16_000
CLIPS = Path(__file__).parents[2] / "examples" / "clips"
WHITE, PINK, RUMBLE = 0, 3, 6  # how many dB the power falls in an octave; a rumble is as of wind and traffic
MASKING = 10.0

Clip = NDArray[np.float64]


@pytest.fixture(scope="module")
def tiny() -> Tagger:
    return Tagger.from_pretrained("tiny", device="cpu")


def band(samples: int, lowest: float, widest: float, generator: np.random.Generator) -> Clip:
    """A band of noise that begins below `lowest` Hz and is less than `widest` Hz wide."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    low, width = generator.uniform(0, lowest), generator.uniform(200, widest)
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    return np.fft.irfft(spectrum * ((low < hertz) & (hertz < low + width)), samples)


def chords(count: int, seconds: float) -> list[Clip]:
    """Each a chord that glides and beats, over a band of noise, all drawn anew."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * RATE)) / RATE
    clips = []
    for _ in range(count):
        pitches = generator.uniform(100, 3000, generator.integers(1, 4))
        glide = generator.uniform(-0.5, 0.5)
        tones = sum(np.sin(2 * np.pi * pitch * time * (1 + glide * time / 2 / seconds)) for pitch in pitches)
        beat = 1 + np.sin(2 * np.pi * generator.uniform(0.5, 20) * time)
        noise = band(len(time), 6000, 3000, generator)
        clip = tones * beat / 4 + generator.uniform(0, 2) * noise
        clips.append(0.3 * clip / np.abs(clip).max())
    return clips


def hisses(count: int, seconds: float) -> list[Clip]:
    """Each a band of noise that swells and ebbs, half of them with a hum: what a noise hides most easily."""
    generator = np.random.default_rng(1)
    time = np.arange(round(seconds * RATE)) / RATE
    clips = []
    for number in range(count):
        clip = band(len(time), 5000, 5000, generator)
        clip /= np.sqrt(np.mean(clip**2))
        clip *= 1 + generator.uniform(0, 0.9) * np.sin(2 * np.pi * generator.uniform(0.5, 15) * time)
        if number % 2:
            pitch = generator.uniform(80, 1500)
            clip += generator.uniform(0.2, 1.5) * sum(
                np.sin(2 * np.pi * pitch * part * time) / part for part in range(1, 6)
            )
        clips.append(0.05 * clip + 1e-4 * generator.standard_normal(len(time)))
    return clips


def cuts(count: int, seconds: float) -> list[Clip]:
    """From the example clips, each faster or slower and at another place, two in five over another."""
    generator = np.random.default_rng(2)
    sources = [
        (samples.mean(1), rate)
        for path in sorted(CLIPS.iterdir())
        if path.suffix in (".ogg", ".flac") and path.stem != "silence"
        for samples, rate in [soundfile.read(path, always_2d=True)]
    ]

    def cut() -> Clip:
        while True:
            samples, rate = sources[generator.integers(len(sources))]
            step = generator.uniform(0.7, 1.4) * rate / RATE
            length = round(seconds * RATE)
            start = generator.uniform(0, max(1.0, len(samples) - length * step))
            clip = np.interp(start + step * np.arange(length), np.arange(len(samples)), samples, right=0)
            if np.abs(clip).max() > 0.02:  # else it is a pause
                return clip / np.abs(clip).max()

    clips = []
    for _ in range(count):
        clip = cut()
        if generator.random() < 0.4:
            clip = clip + cut() * 10 ** (generator.uniform(-15, 0) / 20)
        clips.append(clip * 10 ** (generator.uniform(-20, -6) / 20))
    return clips


def noise_of(samples: int, fall: int, generator: np.random.Generator) -> Clip:
    """Noise of power one, of which the power falls by so many dB an octave."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (fall / 6)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, samples)
    return noise / np.sqrt(np.mean(noise**2))


def in_noise(clips: list[Clip], fall: int) -> list[Clip]:
    """Copies in noise that is 10 dB below them."""
    generator = np.random.default_rng(1)
    return [clip + noise_of(len(clip), fall, generator) * np.sqrt(np.mean(clip**2) / 10) for clip in clips]


def vectors(tiny: Tagger, folder: Path, clips: list[Clip], masking: float | None) -> NDArray[np.float32]:
    folder.mkdir()
    for number, clip in enumerate(clips):
        soundfile.write(folder / f"{number:04}.wav", clip, RATE, subtype="FLOAT")
    found = [*tiny.embed(folder, short="crop", noise_masking=masking)]
    assert all(isinstance(one, Embedding) for one in found)
    return np.concatenate([one.vectors for one in found])


def found_first(originals: NDArray[np.float32], copies: NDArray[np.float32]) -> int:
    """Of how many the copy finds the original first."""
    return sum(
        nearest(originals, copy, top_k=1)[0].tolist() == [number] for number, copy in enumerate(copies)
    )


def found_in_noise(tiny: Tagger, folder: Path, clips: list[Clip], fall: int, masking: float | None) -> int:
    originals = vectors(tiny, folder / "clean", clips, masking)
    return found_first(originals, vectors(tiny, folder / "noisy", in_noise(clips, fall), masking))


@pytest.mark.parametrize("make", [chords, cuts])
def test_a_copy_in_white_noise_finds_its_original(
    make: Callable[[int, float], list[Clip]], tiny: Tagger, tmp_path: Path
) -> None:
    assert found_in_noise(tiny, tmp_path, make(100, 1.0), WHITE, MASKING) >= 95


def test_a_copy_in_a_rumble_finds_its_original_without_masking(tiny: Tagger, tmp_path: Path) -> None:
    assert found_in_noise(tiny, tmp_path, chords(100, 1.0), RUMBLE, None) >= 95


@pytest.mark.slow
@pytest.mark.parametrize("make", [chords, hisses, cuts])
def test_a_copy_in_any_noise_finds_its_original_among_many(
    make: Callable[[int, float], list[Clip]], tiny: Tagger, tmp_path: Path
) -> None:
    clips = make(200, 1.0)
    originals = vectors(tiny, tmp_path / "clean", clips, MASKING)
    found = {
        fall: found_first(originals, vectors(tiny, tmp_path / str(fall), in_noise(clips, fall), MASKING))
        for fall in (WHITE, PINK, RUMBLE)
    }
    assert min(found.values()) >= 190, found
    assert found_first(originals, originals) == 200


@pytest.mark.slow
def test_a_copy_in_a_rumble_finds_its_original_among_many_without_masking(
    tiny: Tagger, tmp_path: Path
) -> None:
    assert found_in_noise(tiny, tmp_path, chords(500, 4.0), RUMBLE, None) >= 475
