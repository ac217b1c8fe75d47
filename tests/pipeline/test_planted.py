"""Sounds planted in a long quiet recording, found by the built-in model: each once, where it is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ast_cli import Tagger
from ast_cli.results import FileResult
from ast_cli.settings import EventSettings
from tests.reference import resample

CLIPS = Path(__file__).parents[2] / "examples" / "clips"
RATE = 16_000
THRESHOLD = 0.6  # below it the built-in model hears a drip in the first moment of a voice
PLANTED = ("birds.ogg", "speech-woman.ogg", "busy-signal.flac")


@pytest.fixture(scope="module")
def tiny() -> Tagger:
    return Tagger.from_pretrained("tiny", device="cpu")


def expected_labels() -> dict[str, set[str]]:
    with (CLIPS / "expected.csv").open(encoding="utf-8", newline="") as table:
        return {row["file"]: set(row["labels"].split(";")) for row in csv.DictReader(table)}


def read(name: str) -> np.ndarray:
    samples, rate = soundfile.read(CLIPS / name, dtype="float32", always_2d=True)
    mono: np.ndarray = resample(torch.from_numpy(samples.mean(1)), rate, RATE).numpy()
    return mono


def check_planted(tiny: Tagger, folder: Path, seconds: float, starts: tuple[float, ...], hop: float) -> None:
    recording = (1e-4 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)
    times = []
    for name, start in zip(PLANTED, starts, strict=True):
        clip = read(name)
        recording[round(start * RATE) :][: len(clip)] += clip
        times.append((start, start + len(clip) / RATE))
    soundfile.write(folder / "long.flac", recording, RATE)

    result = tiny.tag(
        folder / "long.flac", threshold=THRESHOLD, events=EventSettings(), hop=hop, exclude=("Silence",)
    )

    assert isinstance(result, FileResult)
    assert result.events is not None
    for name, (start, end) in zip(PLANTED, times, strict=True):
        labels = expected_labels()[name]
        its = [event for event in result.events if event.label in labels]
        assert its, name
        assert len({event.label for event in its}) == len(its), "one event for one sound"
        for event in its:
            assert abs(event.start - start) <= hop
            assert abs(event.end - end) <= hop
    right = set().union(*(expected_labels()[name] for name in PLANTED))
    assert {event.label for event in result.events} <= right


@pytest.mark.parametrize("hop", [5.0, 10.24])
def test_three_sounds_in_four_minutes(hop: float, tiny: Tagger, tmp_path: Path) -> None:
    check_planted(tiny, tmp_path, 240, (40.3, 104.9, 181.0), hop)


@pytest.mark.slow
def test_three_sounds_in_an_hour(tiny: Tagger, tmp_path: Path) -> None:
    check_planted(tiny, tmp_path, 3600, (700.3, 1834.9, 3011.0), hop=10.24)
