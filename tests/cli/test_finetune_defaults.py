"""What `finetune` learns as it comes: few short clips at 8 kHz, and sounds that are not quite like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.runner import ast_tag

RATE = 8000
# Resonances in Hz that begin and end a syllable: what is said is how they move, not how high the voice is.
SYLLABLES = {
    "wa": ((300, 700), (700, 1200)),
    "ya": ((300, 2200), (700, 1200)),
    "ay": ((700, 1200), (300, 2200)),
    "aw": ((700, 1200), (300, 700)),
    "oy": ((500, 900), (300, 2200)),
    "yo": ((300, 2200), (500, 900)),
}


def say(syllable: str, voice: float, rng: np.random.Generator) -> np.ndarray:
    """A syllable of 0.25 to 0.5 s by a voice whose throat is so much shorter; harmonics in two resonances."""
    samples = int(rng.uniform(0.25, 0.5) * RATE)
    part = np.linspace(0, 1, samples)
    pitch = voice * rng.uniform(110, 140) * (1 - 0.2 * part)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros(samples)
    for harmonic in range(1, 28):
        hertz = harmonic * pitch
        for start, end in zip(*SYLLABLES[syllable], strict=True):
            centre = voice * (start + (end - start) * part)
            sound += np.exp(-(((hertz - centre) / 120) ** 2)) * np.sin(harmonic * phase) * (hertz < RATE / 2)
    sound *= np.sin(np.pi * part) ** 0.5 * 10 ** (-rng.uniform(6, 20) / 20) / np.abs(sound).max()
    return sound + 0.003 * rng.standard_normal(samples)


def record(folder: Path, voices: tuple[float, ...], takes: int, seed: int) -> Path:
    """A folder a class, with so many takes of each voice."""
    rng = np.random.default_rng(seed)
    for syllable in SYLLABLES:
        (folder / syllable).mkdir(parents=True)
        for voice in voices:
            for take in range(takes):
                soundfile.write(folder / syllable / f"{voice}-{take}.wav", say(syllable, voice, rng), RATE)
    return folder


def accuracy(model: Path, data: Path) -> float:
    told = ast_tag("eval", data, "--model", model, "--bootstrap", "0", "--device", "cpu")
    assert told.code == 0, told.err
    return float(dict(line.split("\t")[:2] for line in told.out.splitlines())["accuracy"])


@pytest.mark.slow
def test_tiny_learns_syllables_of_voices_it_has_not_heard(tmp_path: Path) -> None:
    heard = record(tmp_path / "heard", (0.95, 1.0, 1.05), takes=12, seed=0)
    told = ast_tag("finetune", heard, "--model", "tiny", "--out", tmp_path / "out", "--device", "cpu")
    assert told.code == 0, told.err
    for voice in (1.0, 0.8, 1.25):
        other = record(tmp_path / f"voice {voice}", (voice,), takes=10, seed=1)
        assert accuracy(tmp_path / "out", other) >= 0.95, voice
