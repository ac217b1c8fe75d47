"""Pictures of recordings: their size, their time axis, and what they show."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import InputError
from ast_cli.report.spectrogram import MOST_COLUMNS, _Columns, spectrogram
from tests.extras import Extra
from tests.report.stored import RATE, save_sound

Image = Extra("PIL.Image")


def picture(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head in ("data:image/webp;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_picture_has_a_column_for_each_frame_and_a_row_for_each_mel_bin(tmp_path: Path) -> None:
    drawn = spectrogram(str(save_sound(tmp_path / "a.wav", 2)))
    assert drawn is not None
    assert picture(drawn.uri).size == (198, 128)
    assert (drawn.seconds, drawn.duration) == (1.98, 2.0)
    assert len(drawn.uri) < 30_000


def test_time_runs_right_and_frequency_up(tmp_path: Path) -> None:
    time = np.arange(RATE) / RATE
    low, high = (0.3 * np.sin(2 * np.pi * pitch * time) for pitch in (200, 6000))
    soundfile.write(tmp_path / "a.wav", np.concatenate([low, high]), RATE)
    drawn = spectrogram(str(tmp_path / "a.wav"))
    assert drawn is not None
    bright = np.asarray(picture(drawn.uri).convert("L")).astype(int)
    loudest = bright[:, 20:80].mean(axis=1).argmax(), bright[:, 120:180].mean(axis=1).argmax()
    assert loudest[0] > 100
    assert loudest[1] < 30


@pytest.mark.parametrize("count", [1, MOST_COLUMNS, MOST_COLUMNS + 1, 5 * MOST_COLUMNS + 3])
def test_columns_are_the_means_of_their_frames(count: int) -> None:
    frames = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    columns = _Columns(3)
    for start in range(0, count, 1000):
        columns.push(frames[start : start + 1000])
    found = columns.finish()
    assert len(found) <= MOST_COLUMNS + 1
    each = columns.frames_each
    whole = count // each
    expected = frames[: whole * each].reshape(whole, each, 3).mean(axis=1)
    assert np.allclose(found[:whole], expected, atol=1e-5)
    assert len(found) == -(-count // each)


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(100), RATE)
    assert spectrogram(str(tmp_path / "short.wav")) is None
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(InputError):
        spectrogram(str(tmp_path / "no.wav"))


def test_silence_has_a_picture(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert spectrogram(str(tmp_path / "a.wav")) is not None
