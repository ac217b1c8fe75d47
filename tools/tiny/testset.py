"""The test of the built-in model: recordings of sounds that its training never heard, alone and mixed.

    TEST/single.csv, TEST/single/*.flac      one sound each
    TEST/mixture.csv, TEST/mixture/*.flac    two or three at once, added up as waveforms

Other voices, another sound font, other seeds and rooms than in training; both tables are what `ast-tag eval`
reads.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from bank import jobs_for, place_sounds, with_parents
from classes import KINDS, TEST_SHARE
from sounds import LONGEST, SAMPLE_RATE, Sound, seconds, to_peak

MIXTURES = 800
LEAST_NOISE_DB, MOST_NOISE_DB = -75.0, -35.0  # of a background, against full scale


def make_test(folder: Path, seed: int, processes: int) -> None:
    """Render the test's recordings and their tables."""
    counts = {kind: round(count * TEST_SHARE) for kind, count in KINDS.items() if kind != "unlabelled"}
    with ProcessPoolExecutor(processes) as pool:
        sounds = [sound for made in pool.map(place_sounds, jobs_for(counts, "test", seed)) for sound in made]
    rng = np.random.default_rng((seed, 2))
    _write(folder, "single", ((_alone(sound, rng), sound.labels) for sound in sounds))
    loud = [sound for sound in sounds if "Silence" not in sound.labels]
    _write(folder, "mixture", (_mixture(loud, rng) for _ in range(MIXTURES)))


def _alone(sound: Sound, rng: np.random.Generator) -> np.ndarray:
    if "Silence" in sound.labels:
        return sound.waveform
    return _with_background(sound.waveform * 10 ** (rng.uniform(-25, 0) / 20), rng)


def _mixture(sounds: Sequence[Sound], rng: np.random.Generator) -> tuple[np.ndarray, tuple[str, ...]]:
    """Two or three sounds that overlap somewhere, and all their labels."""
    parts = [sounds[number] for number in rng.choice(len(sounds), int(rng.choice([2, 2, 3])), replace=False)]
    longest = max(len(part.waveform) for part in parts)
    length = min(seconds(LONGEST), round(longest * rng.uniform(1.0, 1.3)))
    mixture = np.zeros(length)
    for part in parts:
        waveform = part.waveform[:length] * 10 ** (rng.uniform(-8, 0) / 20)
        start = int(rng.integers(length - len(waveform) + 1))
        mixture[start : start + len(waveform)] += waveform
    mixture = to_peak(mixture, float(rng.uniform(0.1, 0.9)))
    return _with_background(mixture, rng), tuple(label for part in parts for label in part.labels)


def _with_background(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level = 10 ** (rng.uniform(LEAST_NOISE_DB, MOST_NOISE_DB) / 20)
    return np.clip(waveform + level * rng.standard_normal(len(waveform)), -1, 1)


def _write(folder: Path, name: str, clips: Iterator[tuple[np.ndarray, tuple[str, ...]]]) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("file", "labels"))
        for number, (waveform, labels) in enumerate(clips):
            file = Path(name) / f"{number:05}.flac"
            soundfile.write(folder / file, waveform, SAMPLE_RATE, subtype="PCM_16")
            table.writerow((file, ";".join(sorted(with_parents(labels)))))
