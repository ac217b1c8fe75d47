"""The stages around the network, and the clips that they run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from ast_cli.bench.stages import (
    RATE,
    make_clip,
    sample_windows,
    time_stages,
    window_seconds,
    write_clip,
)
from ast_cli.features.extractor import ASTFeatureExtractor
from tests.random_checkpoint import random_config

NANO = ASTFeatureExtractor(max_length=128)


def test_a_clip_is_the_same_on_every_machine_and_no_other(tmp_path: Path) -> None:
    assert np.array_equal(make_clip(1.0, seed=3), make_clip(1.0, seed=3))
    assert not np.array_equal(make_clip(1.0, seed=3), make_clip(1.0, seed=4))
    write_clip(tmp_path / "clip.wav", 10.24)
    info = soundfile.info(tmp_path / "clip.wav")
    assert (info.samplerate, info.channels, info.frames) == (RATE, 2, 451_584)
    samples, _ = soundfile.read(tmp_path / "clip.wav")
    assert 0.05 < np.abs(samples).max() < 1  # loud, but not cut off


def test_a_window_is_as_long_as_the_network_takes() -> None:
    assert window_seconds(ASTFeatureExtractor()) == 10.24
    assert window_seconds(NANO) == 1.28


def test_windows_differ_and_are_full_but_for_their_end() -> None:
    windows = sample_windows(NANO, 3)
    assert windows.shape == (3, 128, 128)
    assert not torch.equal(windows[0], windows[1])
    assert (windows[:, :126] != 0).all()  # a clip of 1.28 s has 126 whole frames
    assert (windows[:, 126:] == 0).all()


def test_every_stage_but_the_model_is_timed() -> None:
    stages = time_stages(random_config(), NANO, 2)
    assert [*stages] == ["decode", "resample", "fbank", "aggregate"]
    for spread in stages.values():
        assert 0 < spread.q1 <= spread.median <= spread.q3
