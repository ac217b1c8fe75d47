"""`WindowStream`: pieces against the whole waveform, windows against frames of their samples alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.window_stream import Window, WindowStream
from tests.extras import Extra
from tests.reference import TRANSFORMERS_TOLERANCE, fbank

transformers = Extra("transformers")

FRAME, SHIFT = 400, 160  # samples at 16 kHz
MOST = 20  # frames in a window, small enough for many windows in little audio
EXTRACTOR = ASTFeatureExtractor(max_length=MOST, num_mel_bins=16)
# A frame's rounding depends on how many are computed together; seen to reach 1e-6.
TOLERANCE = 1e-5

repeatable = settings(deadline=None, derandomize=True, database=None)
sample_counts = st.integers(0, 12_000)
cuts = st.lists(st.integers(0, 12_000), max_size=12)


@st.composite
def lengths_and_hops(draw: st.DrawFn) -> tuple[int, int]:
    length = draw(st.integers(1, MOST))
    return length, draw(st.integers(1, length))


def waveform(samples: int) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))


def windows_of(pieces: list[Tensor], length: int | None = None, hop: int | None = None) -> list[Window]:
    stream = WindowStream(EXTRACTOR, length, hop)
    return [window for piece in pieces for window in stream.push(piece)] + list(stream.finish())


def spans(samples: int, length: int | None, hop: int | None) -> list[tuple[int, int, int]]:
    return [(w.start, w.length, w.new) for w in windows_of([waveform(samples)], length, hop)]


def samples_for(frames: int) -> int:
    return FRAME + (frames - 1) * SHIFT


@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        (0, 0),
        (399, 0),
        (400, 1),
        (559, 1),
        (560, 2),  # 400 samples, and 160 more
        (16_000, 98),  # (16000 - 400) / 160 = 97.5
        (160_000, 998),
        (164_079, 1023),
        (164_080, 1024),  # 400 + 1023 * 160
    ],
)
def test_num_frames_counts_whole_frames(samples: int, frames: int) -> None:
    assert ASTFeatureExtractor().num_frames(samples) == frames
    if frames:
        assert len(ASTFeatureExtractor().fbank(torch.zeros(samples))) == frames


@repeatable
@given(sample_counts, cuts, lengths_and_hops())
@example(6000, list(range(1, 1000)), (10, 5))  # sample by sample at first
@example(12_000, [399, 400, 401, 560], (MOST, MOST))
def test_pushing_in_pieces_gives_the_windows_of_the_whole(
    samples: int, cuts: list[int], length_and_hop: tuple[int, int]
) -> None:
    whole = waveform(samples)
    edges = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    pieces = [whole[start:end] for start, end in itertools.pairwise(edges)]
    expected = windows_of([whole], *length_and_hop)
    found = windows_of(pieces, *length_and_hop)
    assert [(w.start, w.length, w.new) for w in found] == [(w.start, w.length, w.new) for w in expected]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.content, theirs.content, rtol=0, atol=TOLERANCE)


@repeatable
@given(sample_counts, lengths_and_hops())
def test_a_window_equals_the_frames_of_its_samples_alone(
    samples: int, length_and_hop: tuple[int, int]
) -> None:
    whole = waveform(samples)
    for window in windows_of([whole], *length_and_hop):
        first = window.start * SHIFT
        alone = EXTRACTOR.fbank(whole[first : first + samples_for(window.length)])
        torch.testing.assert_close(window.content[: window.length], alone, rtol=0, atol=TOLERANCE)


@repeatable
@given(sample_counts, lengths_and_hops())
def test_every_frame_is_in_a_window_and_new_in_one_only(
    samples: int, length_and_hop: tuple[int, int]
) -> None:
    total = EXTRACTOR.num_frames(samples)
    covered: set[int] = set()
    for start, length, new in spans(samples, *length_and_hop):
        frames = set(range(start, start + length))
        assert new == len(frames - covered) > 0
        covered |= frames
    assert covered == set(range(total))


@repeatable
@given(sample_counts, lengths_and_hops())
@example(samples_for(40) - 1, (10, 10))
@example(samples_for(40), (10, 10))
@example(samples_for(41), (10, 10))
def test_windows_follow_by_hop_and_the_last_ends_with_the_recording(
    samples: int, length_and_hop: tuple[int, int]
) -> None:
    length, hop = length_and_hop
    total = EXTRACTOR.num_frames(samples)
    found = spans(samples, length, hop)
    if total <= length:
        assert found == ([(0, total, total)] if total else [])
    else:
        starts = [start for start, _, _ in found]
        assert starts[:-1] == [hop * number for number in range(len(starts) - 1)]
        assert 0 < starts[-1] - starts[-2] <= hop
        assert starts[-1] == total - length
        assert {held for _, held, _ in found} == {length}


@repeatable
@given(sample_counts, lengths_and_hops())
def test_what_a_window_does_not_hold_is_padding_up_to_max_length(
    samples: int, length_and_hop: tuple[int, int]
) -> None:
    for window in windows_of([waveform(samples)], *length_and_hop):
        assert window.content.shape == (MOST, 16)
        assert (window.content[: window.length] != 0).all()
        assert (window.content[window.length :] == 0).all()


def test_a_hop_of_a_window_tiles_and_the_last_one_reaches_back() -> None:
    assert spans(samples_for(25), length=10, hop=10) == [(0, 10, 10), (10, 10, 10), (15, 10, 5)]


def test_overlapping_windows_count_each_frame_once() -> None:
    assert spans(samples_for(18), length=10, hop=5) == [(0, 10, 10), (5, 10, 5), (8, 10, 3)]


def test_a_recording_of_exactly_its_windows_gets_no_further_one() -> None:
    assert spans(samples_for(20) + SHIFT - 1, length=10, hop=10) == [(0, 10, 10), (10, 10, 10)]
    assert spans(samples_for(20), length=10, hop=5) == [(0, 10, 10), (5, 10, 5), (10, 10, 5)]


def test_length_and_hop_are_a_whole_window_unless_given() -> None:
    assert spans(samples_for(2 * MOST), None, None) == [(0, MOST, MOST), (MOST, MOST, MOST)]
    assert spans(samples_for(20), 10, None) == spans(samples_for(20), 10, 10)


def test_a_window_leaves_with_the_sample_that_completes_it() -> None:
    stream = WindowStream(EXTRACTOR, length=10)
    whole = waveform(samples_for(10))
    assert list(stream.push(whole[:-1])) == []
    [window] = stream.push(whole[-1:])
    assert (window.start, window.length) == (0, 10)
    assert list(stream.finish()) == []


def test_nothing_shorter_than_a_frame_becomes_a_window() -> None:
    assert windows_of([waveform(200), waveform(199)]) == []
    assert spans(200, 10, 5) == []


def test_the_stream_counts_its_frames() -> None:
    stream = WindowStream(EXTRACTOR)
    assert stream.total_frames == 0
    for piece in waveform(samples_for(50) + 7).split(1000):
        list(stream.push(piece))
    assert stream.total_frames == 50


@pytest.mark.parametrize("waveforms", [False, True])
def test_the_stream_holds_no_more_than_a_window_and_a_piece(waveforms: bool) -> None:
    stream = WindowStream(EXTRACTOR, length=10, hop=5, waveforms=waveforms)
    for piece in waveform(200_000).split(1600):
        list(stream.push(piece))
        assert len(stream._track) <= 10 + 10
        assert len(stream._track._samples) < FRAME + (20 * SHIFT if waveforms else 0)


def test_silence_is_padded_like_sound() -> None:
    [window] = windows_of([torch.zeros(samples_for(3))])
    np.testing.assert_allclose(window.content[:3], np.log(1.1920929e-07), rtol=1e-6)
    assert (window.content[3:] == 0).all()


def test_a_short_window_is_filled_with_zeros_as_in_transformers_whatever_padding_value_says() -> None:
    settings = {"max_length": 128, "num_mel_bins": 16, "padding_value": -1.5, "do_normalize": False}
    short = waveform(samples_for(3))
    ours = ASTFeatureExtractor(**settings)(short, 16_000, "pt").input_values
    theirs = transformers.ASTFeatureExtractor(**settings)(short.numpy(), 16_000, "pt").input_values
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TRANSFORMERS_TOLERANCE)
    assert (ours[0, 3:] == 0).all()


def test_the_first_window_of_a_long_waveform_equals_the_truncated_input() -> None:
    extractor = ASTFeatureExtractor()
    long = waveform(samples_for(1024) + 50_000)
    [first] = WindowStream(extractor).push(long)
    window = extractor.normalize(first.content)
    truncated = extractor(long, sampling_rate=16_000, return_tensors="pt").input_values[0]
    torch.testing.assert_close(window, truncated, rtol=0, atol=TOLERANCE)
    by_hand = fbank(long)[:1024]
    torch.testing.assert_close(window, (by_hand + 4.2677393) / 9.1379948, rtol=0, atol=TOLERANCE)


def test_a_short_waveform_gives_the_padded_input() -> None:
    extractor = ASTFeatureExtractor()
    short = waveform(16_000)
    stream = WindowStream(extractor)
    assert list(stream.push(short)) == []
    [window] = stream.finish()
    padded = extractor(short, sampling_rate=16_000, return_tensors="pt").input_values[0]
    torch.testing.assert_close(extractor.normalize(window.content), padded, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("length", "hop"), [(10, 20), (MOST + 1, None), (-1, None), (None, -3)])
def test_windows_that_would_skip_or_drop_frames_are_refused(length: int | None, hop: int | None) -> None:
    with pytest.raises(UsageError, match="cannot be cut"):
        WindowStream(ASTFeatureExtractor(max_length=MOST, num_mel_bins=16), length, hop)


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 16_000), np.float32), 3.0])
def test_what_is_no_waveform_is_refused(nothing: object) -> None:
    with pytest.raises(UsageError, match="waveform"):
        ASTFeatureExtractor()(nothing, 16_000)


def test_a_tensor_that_wants_a_gradient_is_taken_as_it_is() -> None:
    samples = waveform(16_000)
    with_gradient = ASTFeatureExtractor()(samples.clone().requires_grad_(), 16_000, "pt").input_values
    assert torch.equal(with_gradient, ASTFeatureExtractor()(samples, 16_000, "pt").input_values)


def test_tensors_of_another_framework_are_refused() -> None:
    with pytest.raises(UsageError, match="no such return_tensors: tf"):
        ASTFeatureExtractor()(waveform(16_000), 16_000, return_tensors="tf")


# Waveforms, of which the engine's device makes the frames


@repeatable
@given(
    samples=st.integers(400, 40_000),
    length=st.integers(1, MOST),
    hop=st.integers(1, MOST),
    cuts=st.lists(st.integers(0, 40_000), max_size=5),
)
def test_windows_of_waveforms_are_the_windows_of_frames(
    samples: int, length: int, hop: int, cuts: list[int]
) -> None:
    extractor = ASTFeatureExtractor(max_length=MOST, num_mel_bins=16)
    waveform = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    bounds = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    pieces = [waveform[start:end] for start, end in itertools.pairwise(bounds)]

    def windows(*, waveforms: bool) -> list[Window]:
        stream = WindowStream(extractor, length, min(hop, length), waveforms=waveforms)
        return [window for piece in pieces for window in stream.push(piece)] + stream.finish()

    found, expected = windows(waveforms=True), windows(waveforms=False)
    assert [(one.start, one.length, one.new) for one in found] == [
        (one.start, one.length, one.new) for one in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.content.shape == (extractor.num_samples(MOST),)
        frames = extractor.padded_fbank(one.content[None], torch.tensor([one.length]))[0]
        torch.testing.assert_close(frames, other.content, rtol=0, atol=1e-4)


def test_a_batch_of_waveforms_is_padded_each_by_its_own_length() -> None:
    extractor = ASTFeatureExtractor(max_length=20)
    waveforms = [torch.randn(extractor.num_samples(length)) for length in (1, 7, 20)]
    batch = torch.stack([extractor.pad_waveform(waveform) for waveform in waveforms])
    found = extractor.padded_fbank(batch, torch.tensor([1, 7, 20]))
    expected = torch.stack([extractor.pad(extractor.fbank(waveform)) for waveform in waveforms])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 998, 1024])
def test_samples_and_frames_of_a_waveform_agree(frames: int) -> None:
    extractor = ASTFeatureExtractor()
    samples = extractor.num_samples(frames)
    assert (extractor.num_frames(samples), extractor.num_frames(samples - 1)) == (frames, frames - 1)
