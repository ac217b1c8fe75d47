"""Labelled clips as examples: what is heard of them, what is mixed in, and what cannot be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ast_cli.errors import InputError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.training import waveforms
from ast_cli.training.augment import Augmentation
from ast_cli.training.datasets import LabelledClip
from ast_cli.training.examples import AS_IT_IS
from ast_cli.training.waveforms import ClipExamples, read_waveform

EXTRACTOR = ASTFeatureExtractor(max_length=20)  # 3440 samples
WINDOW = 400 + 19 * 160
NOTHING = Augmentation(mixup=0, gain=0, roll=0, noise=0, tempo=0, pitch=0, tone=0, freq_mask=0, time_mask=0)


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clip(folder: Path, name: str, samples: int, label: int = 0, rate: int = 16_000) -> LabelledClip:
    noise = 0.1 * np.random.default_rng(len(name) + label).standard_normal(samples)
    soundfile.write(folder / name, noise, rate, subtype="FLOAT")
    return LabelledClip(str(folder / name), (label,))


def broken(folder: Path, name: str) -> LabelledClip:
    (folder / name).write_text("no recording")
    return LabelledClip(str(folder / name), (0,))


def samples_of(one: LabelledClip) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(one.file, dtype="float32")[0])


def test_a_clip_as_it_is_is_its_first_window(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "short.wav", 2000, 0), clip(tmp_path, "long.wav", 9000, 1)]
    source = ClipExamples(clips, 3, EXTRACTOR, Augmentation(noise=1.0))
    for index, one in enumerate(clips):
        example = source.example(index, AS_IT_IS, drawn(index))
        assert torch.equal(example.frames, EXTRACTOR.fbank(samples_of(one)[:WINDOW]))
        assert example.targets.tolist() == [index == 0, index == 1, 0]
        assert example.failed == ()
    assert len(source.example(1, AS_IT_IS, drawn()).frames) == 20


def test_without_augmentation_another_window_each_epoch_is_all_that_changes(tmp_path: Path) -> None:
    long = clip(tmp_path, "long.wav", 9000)
    source = ClipExamples([long], 1, EXTRACTOR)
    whole = samples_of(long)
    starts = set()
    for epoch in range(20):
        start = int(drawn(epoch).integers(9000 - WINDOW + 1))
        example = source.example(0, epoch, drawn(epoch))
        torch.testing.assert_close(example.frames, EXTRACTOR.fbank(whole[start : start + WINDOW]))
        starts.add(start)
    assert len(starts) == 20


def test_mixing_mixes_the_labels_too(tmp_path: Path) -> None:
    clips = [clip(tmp_path, f"{label}.wav", 4000, label) for label in range(2)]
    source = ClipExamples(clips, 2, EXTRACTOR, dataclasses.replace(NOTHING, mixup=1.0))
    targets = torch.stack([source.example(0, 0, drawn(seed)).targets for seed in range(30)])
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(30))
    mixed = targets[:, 1] > 0
    assert 5 < int(mixed.sum()) < 25  # it may be mixed with itself
    assert (targets[mixed] - 0.5).abs().max() < 0.4


def test_a_part_at_another_rate_is_cut_and_resampled(tmp_path: Path) -> None:
    whole = clip(tmp_path, "a.wav", 8000, rate=8000)
    part = LabelledClip(whole.file, (0,), 0.25, 0.75)
    assert len(read_waveform(whole, EXTRACTOR)) == 16_000
    assert len(read_waveform(part, EXTRACTOR)) == 8000


def test_of_a_long_recording_only_the_first_windows_are_read(tmp_path: Path) -> None:
    waveform = read_waveform(clip(tmp_path, "day.wav", 100_000), EXTRACTOR)
    assert len(waveform) == waveforms.LONGEST_WINDOWS * 20 * 160


def test_what_is_shorter_than_a_frame_is_no_clip(tmp_path: Path) -> None:
    assert len(read_waveform(clip(tmp_path, "a.wav", 400), EXTRACTOR)) == 400
    with pytest.raises(InputError, match="399 samples do not fill one frame"):
        read_waveform(clip(tmp_path, "b.wav", 399), EXTRACTOR)


# What cannot be read


def test_the_next_clip_stands_in_for_one_that_cannot_be_read(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "a.wav", 4000, 1), broken(tmp_path, "b.wav"), broken(tmp_path, "c.wav")]
    source = ClipExamples(clips, 2, EXTRACTOR)
    example = source.example(1, AS_IT_IS, drawn())
    assert [Path(file).name for file, _ in example.failed] == ["b.wav", "c.wav"]
    assert all("\n" not in cause and cause for _, cause in example.failed)
    assert torch.equal(example.frames, source.example(0, AS_IT_IS, drawn()).frames)
    assert example.targets.tolist() == [0, 1]


def test_one_that_cannot_be_mixed_in_is_named_too(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "a.wav", 4000), broken(tmp_path, "b.wav")]
    source = ClipExamples(clips, 1, EXTRACTOR, Augmentation(mixup=1.0))
    named = [source.example(0, 0, drawn(seed)).failed for seed in range(10)]
    assert {len(failed) for failed in named} == {0, 1}


def test_clips_in_a_row_that_cannot_be_read_end_it(tmp_path: Path) -> None:
    clips = [broken(tmp_path, f"{number}.wav") for number in range(3)]
    with pytest.raises(InputError, match=r"^3 clips in a row cannot be read, the first: .*/1\.wav: "):
        ClipExamples(clips, 1, EXTRACTOR).example(1, 0, drawn())
    many = clips * 10 + [clip(tmp_path, "good.wav", 4000)]
    with pytest.raises(InputError, match=r"^20 clips in a row"):
        ClipExamples(many, 1, EXTRACTOR).example(0, 0, drawn())
    assert ClipExamples(many, 1, EXTRACTOR).example(12, 0, drawn()).failed


# The cache


def test_a_clip_is_read_once(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "a.wav", 4000), broken(tmp_path, "b.wav")]
    source = ClipExamples(clips, 1, EXTRACTOR)
    before = [source.example(index, AS_IT_IS, drawn()) for index in range(2)]
    for one in clips:
        Path(one.file).unlink()
    after = [source.example(index, AS_IT_IS, drawn()) for index in range(2)]
    assert torch.equal(after[0].frames, before[0].frames)
    assert after[1].failed == before[1].failed


def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveforms, "CACHE_BYTES", 4 * 4000 + 100)
    clips = [clip(tmp_path, name, 4000) for name in ("a.wav", "bb.wav")]
    source = ClipExamples(clips, 1, EXTRACTOR)
    frames = [source.example(index, AS_IT_IS, drawn()).frames for index in range(2)]
    assert torch.equal(source.example(1, AS_IT_IS, drawn()).frames, frames[1])  # read again
    Path(clips[0].file).unlink()
    assert torch.equal(source.example(0, AS_IT_IS, drawn()).frames, frames[0])


def test_what_is_changed_is_not_what_is_kept(tmp_path: Path) -> None:
    source = ClipExamples([clip(tmp_path, "a.wav", 4000)], 1, EXTRACTOR, Augmentation(noise=1.0))
    before = source.example(0, AS_IT_IS, drawn()).frames
    source.example(0, 0, drawn())
    assert torch.equal(source.example(0, AS_IT_IS, drawn()).frames, before)
