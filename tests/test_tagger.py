"""`Tagger` against `transformers` on the same checkpoint, window by window, and against itself one by one."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

import ast_cli
from ast_cli import FileFailure, FileResult, Tagger
from ast_cli.audio.decode import open_recording
from ast_cli.errors import CheckpointError, ConfigError, InputError, UsageError
from ast_cli.features.window_stream import Window, WindowStream
from ast_cli.networks.processor import fastest_attention
from ast_cli.results import Tag
from ast_cli.scoring.selection import Selection
from ast_cli.settings import TagSettings
from tests.extras import Extra
from tests.random_checkpoint import random_config, save_random_checkpoint
from tests.reference import resample

transformers = Extra("transformers")

RATE = 16_000
T, FRAME, SHIFT = 128, 400, 160  # frames in a window of the checkpoint; samples in a frame and between two
WINDOW = FRAME + (T - 1) * SHIFT  # samples that fill one window
# float32 sums in another order; seen to reach 1.2e-7 on scores.
TOLERANCE = 1e-5

Waveform = NDArray[np.float32]
Scores = NDArray[np.float64]


# Recordings and what is expected of them


def sound(seconds: float, seed: int = 0, rate: int = RATE) -> Waveform:
    """Noise that swells and fades, so that every window is different."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    loudness = 0.02 + 0.2 * np.sin(2 * np.pi * (0.3 + 0.1 * seed) * time) ** 2
    return (loudness * generator.standard_normal(len(time))).astype(np.float32)


def write(path: Path, samples: Waveform, rate: int = RATE) -> str:
    soundfile.write(path, samples, rate, format="WAV", subtype="FLOAT")
    return str(path)


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Callable[[Waveform], Scores]:
    """The scores that `transformers` gives to what fits into one window."""
    extractor = transformers.ASTFeatureExtractor.from_pretrained(checkpoint)
    model = transformers.ASTForAudioClassification.from_pretrained(checkpoint).eval()

    def scores(waveform: Waveform) -> Scores:
        inputs = extractor(waveform, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).logits[0].sigmoid().double().numpy()

    return scores


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Recordings of one to nine windows, in no order of length; the longest has two blocks."""
    folder = tmp_path_factory.mktemp("mixed")
    seconds = [2.0, 0.5, 11.3, 0.03, 1.295, 5.0, 1.31, 0.9]
    return [write(folder / f"{n}.wav", sound(length, seed=n)) for n, length in enumerate(seconds)]


@pytest.fixture(scope="module")
def one_by_one(tagger: Tagger, mixed: list[str]) -> list[FileResult]:
    return [next(tagger.tag_many([path], batch_size=1, top_k=0, timeline=True)) for path in mixed]


def scores_of(tags: tuple[Tag, ...]) -> Scores:
    """All scores in the order of the classes; wants `top_k=0`."""
    assert sorted(tag.index for tag in tags) == list(range(len(tags)))
    return np.array([tag.score for tag in sorted(tags, key=lambda tag: tag.index)])


def assert_close(found: Scores, expected: Scores) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def assert_same_results(found: list[FileResult], expected: list[FileResult]) -> None:
    """The same recordings and times, and the same scores but for rounding."""
    assert [one.file for one in found] == [one.file for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.duration, one.seconds_heard) == (other.duration, other.seconds_heard)
        assert_close(scores_of(one.tags), scores_of(other.tags))
        for window, other_window in zip(one.windows, other.windows, strict=True):
            assert (window.start, window.end) == (other_window.start, other_window.end)
            assert_close(scores_of(window.tags), scores_of(other_window.tags))


def spans(samples: int, length: int = T, hop: int = T) -> list[tuple[int, int]]:
    """First frame and new frames of each window, worked out from the contract."""
    frames = 1 + (samples - FRAME) // SHIFT
    starts = list(range(0, max(frames - length, 0) + 1, hop))
    if starts[-1] + length < frames:
        starts.append(frames - length)  # the last one is aligned to the end
    ends = [min(start + length, frames) for start in starts]
    return [(start, end - before) for start, end, before in zip(starts, ends, [0, *ends], strict=False)]


def cut(waveform: Waveform, start: int, length: int = T) -> Waveform:
    return waveform[start * SHIFT : start * SHIFT + FRAME + (length - 1) * SHIFT]


def threads_of_jobs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


# Against transformers


@pytest.mark.parametrize("samples", [FRAME, FRAME + 1, 8000, 16_000, WINDOW - 1, WINDOW, WINDOW + SHIFT - 1])
def test_a_short_recording_has_the_scores_of_transformers(
    tagger: Tagger, reference: Callable[[Waveform], Scores], tmp_path: Path, samples: int
) -> None:
    waveform = sound(2)[:samples]
    result = tagger.tag(write(tmp_path / "x.wav", waveform), top_k=0)
    assert_close(scores_of(result.tags), reference(waveform))
    assert (result.duration, result.sample_rate, result.channels) == (samples / RATE, RATE, 1)


@pytest.mark.parametrize("samples", [WINDOW + SHIFT, 2 * RATE, 80_123, 12 * RATE])
def test_a_long_recording_has_the_weighed_mean_of_its_windows(
    tagger: Tagger, reference: Callable[[Waveform], Scores], tmp_path: Path, samples: int
) -> None:
    waveform = sound(12)[:samples]
    alone = [(reference(cut(waveform, start)), new) for start, new in spans(samples)]
    assert len(alone) > 1
    result = tagger.tag(write(tmp_path / "x.wav", waveform), top_k=0, timeline=True)
    for window, (scores, _) in zip(result.windows, alone, strict=True):
        assert_close(scores_of(window.tags), scores)
    expected = sum(scores * new for scores, new in alone) / sum(new for _, new in alone)
    assert_close(scores_of(result.tags), expected)
    most = tagger.tag(write(tmp_path / "x.wav", waveform), top_k=0, aggregate="max")
    assert_close(scores_of(most.tags), np.max([scores for scores, _ in alone], axis=0))


def test_recordings_of_mixed_lengths_have_the_scores_of_transformers(
    tagger: Tagger, reference: Callable[[Waveform], Scores], mixed: list[str]
) -> None:
    for result in tagger.tag_many(mixed, batch_size=3, top_k=0):
        waveform, _ = soundfile.read(result.file, dtype="float32")
        alone = [(reference(cut(waveform, start)), new) for start, new in spans(len(waveform))]
        assert_close(scores_of(result.tags), sum(s * new for s, new in alone) / sum(new for _, new in alone))


@pytest.mark.parametrize(
    ("window", "hop"), [(None, 0.5), (0.64, None), (0.64, 0.32), (0.5, 0.13), (1.28, 1.27)]
)
def test_windows_of_another_length_and_hop_are_those_of_their_samples_alone(
    tagger: Tagger,
    reference: Callable[[Waveform], Scores],
    tmp_path: Path,
    window: float | None,
    hop: float | None,
) -> None:
    waveform = sound(3.21)
    length = T if window is None else round(100 * window)
    expected = spans(len(waveform), length, length if hop is None else round(100 * hop))
    path = write(tmp_path / "x.wav", waveform)
    result = tagger.tag(path, top_k=0, timeline=True, window=window, hop=hop)
    for found, (start, _) in zip(result.windows, expected, strict=True):
        assert found.start == start / 100
        assert_close(scores_of(found.tags), reference(cut(waveform, start, length)))
    assert [found.end for found in result.windows[:-1]] == [
        (start + length) / 100 for start, _ in expected[:-1]
    ]
    assert result.windows[-1].end == 3.21
    weighed = sum(scores_of(w.tags) * new for w, (_, new) in zip(result.windows, expected, strict=True))
    assert_close(scores_of(result.tags), weighed / sum(new for _, new in expected))


def test_other_channels_and_rates_are_mixed_and_resampled_first(
    tagger: Tagger, reference: Callable[[Waveform], Scores], tmp_path: Path
) -> None:
    stereo = np.stack([sound(1, 1, 44_100), sound(1, 2, 44_100)], axis=1)
    path = write(tmp_path / "x.wav", stereo, 44_100)

    def at_16_khz(waveform: Waveform) -> Waveform:
        return resample(torch.from_numpy(waveform), 44_100, RATE).numpy()

    for channel, expected in (
        (None, stereo.mean(axis=1)),
        (1, stereo[:, 0].copy()),
        (2, stereo[:, 1].copy()),
    ):
        result = tagger.tag(path, top_k=0, channel=channel)
        assert_close(scores_of(result.tags), reference(at_16_khz(expected)))
        assert (result.duration, result.sample_rate, result.channels) == (1.0, 44_100, 2)


def test_recordings_differ_enough_to_be_told_apart(one_by_one: list[FileResult]) -> None:
    for one, other in itertools.combinations(one_by_one, 2):
        assert np.abs(scores_of(one.tags) - scores_of(other.tags)).max() > 100 * TOLERANCE


# Many recordings


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_any_batch_size_and_workers_give_the_same_results_in_the_order_of_the_inputs(
    tagger: Tagger, mixed: list[str], one_by_one: list[FileResult], batch_size: int, workers: int
) -> None:
    options = {"batch_size": batch_size, "workers": workers, "top_k": 0, "timeline": True}
    found = list(tagger.tag_many(mixed, **options))
    assert_same_results(found, one_by_one)
    backwards = list(tagger.tag_many(reversed(mixed), **options))
    assert_same_results(backwards, one_by_one[::-1])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_single_windows_give_identical_results_for_any_workers(
    tagger: Tagger, mixed: list[str], one_by_one: list[FileResult], workers: int
) -> None:
    found = list(tagger.tag_many(mixed, batch_size=1, workers=workers, top_k=0, timeline=True))
    assert found == one_by_one


def test_windows_of_different_recordings_share_full_batches(
    tagger: Tagger, mixed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = tagger.engines[0]._run
    monkeypatch.setattr(tagger.engines[0], "_run", lambda *batch: sizes.append(len(batch[0])) or run(*batch))
    list(tagger.tag_many(mixed, batch_size=4))
    total = sum(len(spans(soundfile.info(path).frames)) for path in mixed)
    assert sizes == [4] * (total // 4) + ([total % 4] if total % 4 else [])


def test_decoding_threads_compute_alone_and_nobody_elses_threads_change(
    tagger: Tagger, mixed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    push = WindowStream.push

    def watched(stream: WindowStream, samples: torch.Tensor) -> list[Window]:
        seen.append(torch.get_num_threads())
        return push(stream, samples)

    monkeypatch.setattr(WindowStream, "push", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        list(tagger.tag_many(mixed))
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (torch.get_num_threads(), later) == (3, [3])
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_every_batch_runs_side_by_side_whatever_decoding_threads_do(
    checkpoint: Path, mixed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        tagger = Tagger.from_pretrained(checkpoint)
        [engine] = tagger.engines
        forward, running = engine._forward, set[str]()

        def watched(windows: torch.Tensor) -> torch.Tensor:
            name = threading.current_thread().name
            running.add(name)
            assert torch.get_num_threads() == (2 if name == "MainThread" else 1)
            return forward(windows)

        monkeypatch.setattr(engine, "_forward", watched)
        list(tagger.tag_many(mixed * 3, batch_size=2, workers=2))
    finally:
        torch.set_num_threads(before)
    in_the_pool = {name for name in running if name.startswith("window")}
    assert len(in_the_pool) == 2
    assert running - in_the_pool <= {"MainThread"}  # at most the last window, which is alone


def test_a_list_that_comes_slowly_has_its_results_at_once(
    tagger: Tagger, mixed: list[str], one_by_one: list[FileResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each path is there only after the result of the one before it, though no batch is ever full."""
    monkeypatch.setattr("ast_cli.pipeline.pipeline.IDLE_SECONDS", 0.01)
    arrived = [threading.Event() for _ in mixed]

    def slowly() -> Iterator[str]:
        for number, path in enumerate(mixed):
            assert number == 0 or arrived[number - 1].wait(30), "its result waited for the next path"
            yield path

    found: list[FileResult] = []
    for event, outcome in zip(
        arrived, tagger.tag_many(slowly(), batch_size=100, top_k=0, timeline=True), strict=True
    ):
        found.append(outcome)
        event.set()
    assert_same_results(found, one_by_one)


def test_folders_are_walked(tagger: Tagger, mixed: list[str], one_by_one: list[FileResult]) -> None:
    found = list(tagger.tag_many([Path(mixed[0]).parent], top_k=0, timeline=True))
    assert_same_results(found, one_by_one)


def test_nothing_gives_nothing(tagger: Tagger) -> None:
    assert list(tagger.tag_many([])) == []


def test_paths_may_be_endless(tagger: Tagger, mixed: list[str]) -> None:
    endless = tagger.tag_many(itertools.cycle(mixed), batch_size=2, workers=2)
    found = [outcome.file for outcome in itertools.islice(endless, 20)]
    endless.close()
    assert found == list(itertools.islice(itertools.cycle(mixed), 20))


def test_leaving_early_ends_the_threads(tagger: Tagger, mixed: list[str]) -> None:
    outcomes = tagger.tag_many(itertools.cycle(mixed), batch_size=1, workers=3)
    next(outcomes)
    assert len(threads_of_jobs()) > 0
    outcomes.close()
    assert threads_of_jobs() == []


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_seconds_reported_as_heard_sum_up_to_the_frames(
    tagger: Tagger, mixed: list[str], batch_size: int
) -> None:
    heard: list[float] = []
    list(tagger.tag_many(mixed, batch_size=batch_size, hop=0.5, on_heard=heard.append))
    frames = sum(1 + (soundfile.info(path).frames - FRAME) // SHIFT for path in mixed)
    assert sum(heard) == pytest.approx(frames / 100)
    duration = sum(soundfile.info(path).duration for path in mixed)
    assert duration - 0.025 * len(mixed) <= sum(heard) <= duration


# Failures


@pytest.fixture
def with_failures(tmp_path: Path, mixed: list[str]) -> tuple[list[str], dict[str, str]]:
    """Good recordings with bad ones before, between and after them, and the bad ones' words."""
    half_way = sound(14.0, seed=20)
    half_way[12 * RATE] = np.nan  # in its second block, when the windows of the first are on their way
    loud = sound(4.0, seed=21)
    loud[3 * RATE] = 1e30  # finite, but its energy is not
    header_only = soundfile.SoundFile(tmp_path / "header.wav", "w", RATE, 1, "FLOAT")
    header_only.close()
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("only some text")
    (tmp_path / "empty folder").mkdir()
    words = {
        str(tmp_path / "missing.wav"): "not-found",
        str(tmp_path / "zero.wav"): "empty",
        write(tmp_path / "half way.wav", half_way): "non-finite",
        write(tmp_path / "loud.wav", loud): "non-finite",
        str(tmp_path / "header.wav"): "empty",
        str(tmp_path / "text.wav"): "unsupported-format",
        str(tmp_path / "empty folder"): "no-audio",
        write(tmp_path / "short.wav", sound(0.02)): "too-short",
    }
    paths = [path for pair in itertools.zip_longest(words, mixed) for path in pair if path is not None]
    return paths, words


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (1, 3), (3, 2), (8, 4), (100, 2)])
def test_failures_keep_their_places_and_change_nothing_else(
    tagger: Tagger,
    mixed: list[str],
    one_by_one: list[FileResult],
    with_failures: tuple[list[str], dict[str, str]],
    batch_size: int,
    workers: int,
) -> None:
    paths, words = with_failures
    found = list(tagger.tag_many(paths, batch_size=batch_size, workers=workers, top_k=0, timeline=True))
    assert [outcome.file for outcome in found] == paths
    assert {bad.file: bad.error for bad in found if isinstance(bad, FileFailure)} == words
    good = [outcome for outcome in found if isinstance(outcome, FileResult)]
    assert_same_results(good, one_by_one)
    if batch_size == 1:
        assert good == one_by_one


def test_a_recording_that_fails_half_way_was_on_its_way(
    tagger: Tagger, with_failures: tuple[list[str], dict[str, str]]
) -> None:
    paths, _ = with_failures
    [path] = [path for path in paths if "half way" in path]
    heard: list[float] = []
    [failure] = tagger.tag_many([path], batch_size=2, on_heard=heard.append)
    assert isinstance(failure, FileFailure)
    assert "12.000 s" in failure.message
    assert 0 < sum(heard) < 12
    heard.clear()
    list(tagger.tag_many([path], batch_size=100, on_heard=heard.append))
    assert heard == []  # its windows were still waiting when it failed, and no time is lost on them


def test_only_failures_are_delivered_too(tagger: Tagger, tmp_path: Path) -> None:
    missing = [str(tmp_path / f"{n}.wav") for n in range(10)]
    assert [(one.file, one.error) for one in tagger.tag_many(missing)] == [
        (path, "not-found") for path in missing
    ]


def test_an_error_of_the_network_ends_the_threads(
    tagger: Tagger, mixed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise ZeroDivisionError

    monkeypatch.setattr(tagger.engines[0], "logits", fail)
    with pytest.raises(ZeroDivisionError):
        list(tagger.tag_many(itertools.cycle(mixed)))
    assert threads_of_jobs() == []


def test_tag_raises_what_tag_many_yields(
    tagger: Tagger, with_failures: tuple[list[str], dict[str, str]]
) -> None:
    _, words = with_failures
    for path, word in words.items():
        with pytest.raises(InputError) as caught:
            tagger.tag(path)
        assert caught.value.word == ("unreadable" if word == "no-audio" else word)  # `tag` walks no folder


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"workers": 0}, {"top_k": -1}, {"aggregate": "median"}]
)
def test_options_that_make_no_sense_are_refused_before_the_first_recording(
    tagger: Tagger, options: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        tagger.tag_many([], **options)


def test_a_channel_that_a_recording_lacks_fails_that_recording(tagger: Tagger, tmp_path: Path) -> None:
    mono = write(tmp_path / "mono.wav", sound(1))
    stereo = write(tmp_path / "stereo.wav", np.stack([sound(1, 1), sound(1, 2)], axis=1))
    failed, tagged = tagger.tag_many([mono, stereo], channel=2)
    assert (failed.file, failed.error) == (mono, "no-such-channel")
    assert tagged.tags == tagger.tag_waveform(sound(1, 2), RATE).tags


@pytest.mark.parametrize("audio", [True, False])
def test_a_header_that_promises_gigabytes_gives_what_is_there(
    tagger: Tagger, tmp_path: Path, audio: bool
) -> None:
    path = Path(write(tmp_path / "x.wav", sound(2)))
    wav = bytearray(path.read_bytes())
    at = wav.index(b"data") + 4
    wav[at : at + 4] = (1_500_000_000).to_bytes(4, "little")
    path.write_bytes(wav if audio else wav[: at + 4])
    [outcome] = tagger.tag_many([path])
    if audio:
        assert outcome.duration == 2.0
        assert outcome.tags == tagger.tag_waveform(sound(2), RATE).tags
        [warning] = outcome.warnings
        assert "1500000000 bytes" in warning
    else:
        assert outcome.error == "empty"


# Labels, scores and models


def test_labels_are_limited_by_top_k_and_threshold(tagger: Tagger, mixed: list[str]) -> None:
    everything = tagger.tag(mixed[0], top_k=0)
    scores = np.float32(scores_of(everything.tags))
    assert len(everything.tags) == 527
    for options in ({}, {"top_k": 3}, {"threshold": 0.3, "top_k": 0}, {"threshold": 2.0}):
        found = tagger.tag(mixed[0], **options).tags
        assert found == Selection(tagger.labels, TagSettings(**options)).tags(scores)
    assert len(tagger.tag(mixed[0]).tags) == 5
    assert everything.tags[0].label in tagger.labels.names
    assert everything.tags[0].mid.startswith("/")


@pytest.mark.parametrize("scores", ["sigmoid", "softmax", "logits"])
def test_the_kind_of_scores_can_be_chosen(
    checkpoint: Path, reference: Callable[[Waveform], Scores], scores: str
) -> None:
    waveform = sound(1)
    sigmoid = reference(waveform)
    logits = np.log(sigmoid / (1 - sigmoid))
    expected = {"sigmoid": sigmoid, "softmax": np.exp(logits) / np.exp(logits).sum(), "logits": logits}
    tagger = Tagger.from_pretrained(checkpoint, device="cpu", scores=scores)
    found = scores_of(tagger.tag_waveform(waveform, RATE, top_k=0).tags)
    np.testing.assert_allclose(
        found, expected[scores], rtol=0, atol=1e-4 if scores == "logits" else TOLERANCE
    )
    assert tagger.scores == scores


@pytest.mark.parametrize(
    ("labels", "problem", "expected"),
    [
        (527, None, "sigmoid"),  # AudioSet's
        (3, None, "softmax"),
        (3, "multi_label_classification", "sigmoid"),
        (527, "single_label_classification", "softmax"),
    ],
)
def test_the_kind_of_scores_follows_the_checkpoint(
    tmp_path: Path, labels: int, problem: str | None, expected: str
) -> None:
    save_random_checkpoint(tmp_path, random_config(labels=labels, problem_type=problem))
    assert Tagger.from_pretrained(tmp_path, device="cpu").scores == expected


def test_an_ensemble_gives_the_mean_of_the_scores(
    checkpoint: Path, tagger: Tagger, mixed: list[str], one_by_one: list[FileResult], tmp_path: Path
) -> None:
    other_path = save_random_checkpoint(tmp_path / "other", seed=1)
    other = Tagger.from_pretrained(other_path, device="cpu")
    both = Tagger.from_pretrained([checkpoint, other_path], device="cpu")
    for path, first, found in zip(mixed, one_by_one, both.tag_many(mixed, top_k=0), strict=True):
        second = scores_of(other.tag(path, top_k=0).tags)
        assert np.abs(second - scores_of(first.tags)).max() > 0.1
        assert_close(scores_of(found.tags), (scores_of(first.tags) + second) / 2)


def test_every_model_of_an_ensemble_normalises_by_its_own_numbers(checkpoint: Path, tmp_path: Path) -> None:
    other_path = save_random_checkpoint(tmp_path / "other")
    features = other_path / "preprocessor_config.json"
    features.write_text(features.read_text().replace("-4.2677393", "-6.5").replace("4.5689974", "3.5"))
    alone = [
        scores_of(Tagger.from_pretrained(path, device="cpu").tag_waveform(sound(1), RATE, top_k=0).tags)
        for path in (checkpoint, other_path)
    ]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    for order in ([checkpoint, other_path], [other_path, checkpoint]):
        both = Tagger.from_pretrained(order, device="cpu").tag_waveform(sound(1), RATE, top_k=0)
        assert_close(scores_of(both.tags), np.mean(alone, axis=0))


@pytest.mark.parametrize(
    "differently",
    [{"labels": 3}, {"frames": 256}, {"problem_type": "single_label_classification"}],
    ids=["classes", "length", "scores"],
)
def test_checkpoints_that_do_not_fit_together_are_refused(
    checkpoint: Path, tmp_path: Path, differently: dict[str, object]
) -> None:
    other = save_random_checkpoint(tmp_path / "other", random_config(**differently))
    with pytest.raises(CheckpointError, match=r"differ in (classes|window length|scores)"):
        Tagger.from_pretrained([checkpoint, other], device="cpu")


def test_checkpoints_of_another_sampling_rate_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = save_random_checkpoint(tmp_path / "other")
    features = other / "preprocessor_config.json"
    features.write_text(features.read_text().replace("16000", "8000"))
    with pytest.raises(CheckpointError, match="differ in sampling rate"):
        Tagger.from_pretrained([checkpoint, other], device="cpu")


def test_a_class_that_is_spelled_otherwise_does_not_change_the_scores(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"0": "Speech"', '"0": "Speech "'))
    tagger = Tagger.from_pretrained(tmp_path, device="cpu")
    assert tagger.scores == "sigmoid"
    assert not tagger.scores_are_guessed
    assert tagger.labels.mids[:2] == ("", "/m/05zppz")


def test_classes_that_nobody_knows_are_guessed_to_exclude_each_other(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path, random_config(labels=3))
    tagger = Tagger.from_pretrained(tmp_path, device="cpu")
    assert (tagger.scores, tagger.scores_are_guessed) == ("softmax", True)


def test_the_result_names_its_scores(tagger: Tagger, mixed: list[str]) -> None:
    assert tagger.tag(mixed[0]).scores == "sigmoid"


def test_a_single_path_need_not_be_in_a_list(tagger: Tagger, mixed: list[str]) -> None:
    [result] = tagger.tag_many(mixed[0])
    assert result.file == mixed[0]


def test_a_run_that_nobody_finishes_ends_with_the_program(checkpoint: Path, mixed: list[str]) -> None:
    code = (
        "import sys; from ast_cli import Tagger\n"
        "results = Tagger.from_pretrained(sys.argv[1], device='cpu').tag_many(sys.argv[2:] * 50)\n"
        "print(next(results).file)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(checkpoint), *mixed],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == mixed[0]


def test_the_same_classes_in_another_order_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = save_random_checkpoint(tmp_path / "other")
    config = other / "config.json"
    text = config.read_text()
    assert '"0": "Speech"' in text
    config.write_text(text.replace('"0": "Speech"', '"0": "Dog"').replace('"74": "Dog"', '"74": "Speech"'))
    with pytest.raises(CheckpointError, match="differ"):
        Tagger.from_pretrained([checkpoint, other], device="cpu")


def test_features_of_another_length_than_the_networks_are_refused(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    features = tmp_path / "preprocessor_config.json"
    features.write_text(features.read_text().replace('"max_length": 128', '"max_length": 1024'))
    with pytest.raises(ConfigError, match=r"1024 . 128.*128 . 128"):
        Tagger.from_pretrained(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "arguments",
    [
        {"scores": "percent"},
        {"attn_implementation": "fast"},
        {"dtype": "float8"},
        {"device": "abacus"},
        {"source": []},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_that_have_no_such_value_are_refused(
    checkpoint: Path, arguments: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        Tagger.from_pretrained(**({"source": checkpoint} | arguments))


def test_what_results_were_made_with_can_be_told(checkpoint: Path, tagger: Tagger) -> None:
    info = tagger.run_info(batch_size=3)
    [model] = info.models
    assert (model.id, model.scores, model.labels) == (str(checkpoint), "sigmoid", 527)
    assert len(model.sha256) == 64
    made_with = {"ast_tag": ast_cli.__version__, "torch": torch.__version__, "engine": "torch"}
    assert info.settings == made_with | {
        "device": "cpu",
        "dtype": "float32",
        "attn": fastest_attention(),
        "batch_size": 3,
    }
    for part in (str(checkpoint), "sigmoid", fastest_attention(), "float32", "cpu"):
        assert part in tagger.description


# Windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1.29}, "longer than the 1.28 s of the model"),
        ({"hop": 1.29}, "longer than the window"),
        ({"window": 0.5, "hop": 0.51}, "longer than the window"),
        ({"window": 0.0}, "window must be at least 0.01 s"),
        ({"hop": -1.0}, "hop must be at least 0.01 s"),
        ({"window": float("nan")}, "window must be at least 0.01 s"),
        ({"hop": float("inf")}, "hop must be at least 0.01 s and finite"),
    ],
)
def test_windows_and_hops_that_cannot_be_are_refused_at_once(
    tagger: Tagger, options: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tagger.tag_many([], **options)
    with pytest.raises(UsageError, match=message):
        tagger.tag_waveform(sound(1), RATE, **options)


def test_the_shortest_window_and_hop_are_one_frame(tagger: Tagger) -> None:
    result = tagger.tag_waveform(sound(0.1), RATE, window=0.01, hop=0.01, timeline=True)
    assert [window.start for window in result.windows] == [n / 100 for n in range(8)]
    assert result.windows[-1].end == 0.1


def test_windows_cover_everything_and_reach_from_start_to_end(one_by_one: list[FileResult]) -> None:
    for result in one_by_one:
        assert result.windows[0].start == 0
        assert result.windows[-1].end == result.duration
        for before, after in itertools.pairwise(result.windows):
            assert before.start < after.start <= before.end < after.end
        assert result.duration - 0.01 < result.seconds_heard <= result.duration


def test_without_a_timeline_there_are_no_windows(tagger: Tagger, mixed: list[str]) -> None:
    assert tagger.tag(mixed[2]).windows == ()
    assert all(outcome.windows == () for outcome in tagger.tag_many(mixed[:3]))


# Waveforms in memory


def test_a_waveform_has_the_result_of_its_file(tagger: Tagger, tmp_path: Path) -> None:
    for rate, seconds in ((RATE, 1), (RATE, 12), (44_100, 2), (44_101, 2)):
        waveform = sound(seconds, rate=rate)
        expected = tagger.tag(write(tmp_path / "x.wav", waveform, rate), top_k=0, timeline=True)
        found = tagger.tag_waveform(waveform, rate, top_k=0, timeline=True)
        assert found.file == ""
        assert (found.duration, found.sample_rate) == (expected.duration, rate)
        assert_close(scores_of(found.tags), scores_of(expected.tags))
        assert len(found.windows) == len(expected.windows)


def as_read_only(waveform: Waveform) -> Waveform:
    waveform = waveform.copy()
    waveform.flags.writeable = False
    return waveform


@pytest.mark.parametrize(
    "kind",
    [
        torch.from_numpy,
        lambda waveform: torch.from_numpy(waveform).requires_grad_(),
        lambda waveform: torch.from_numpy(waveform).double(),
        lambda waveform: waveform.astype(np.float64),
        lambda waveform: waveform.astype(">f4"),
        lambda waveform: waveform[::-1].copy()[::-1],
        lambda waveform: np.repeat(waveform, 2)[::2],
        as_read_only,
        lambda waveform: waveform[None],
        lambda waveform: torch.from_numpy(waveform)[None],
        lambda waveform: waveform.tolist(),
    ],
    ids=[
        *("tensor", "trained tensor", "double tensor", "float64", "big-endian", "backwards", "strided"),
        *("read-only", "one channel", "tensor of one channel", "list"),
    ],
)
def test_any_kind_of_floats_is_a_waveform(tagger: Tagger, kind: Callable[[Waveform], object]) -> None:
    expected = tagger.tag_waveform(sound(1), RATE, top_k=0)
    found = tagger.tag_waveform(kind(sound(1)), RATE, top_k=0)
    assert (found.duration, found.channels) == (1.0, 1)
    assert_close(scores_of(found.tags), scores_of(expected.tags))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_channels_come_before_samples_and_are_mixed(
    tagger: Tagger, kind: Callable[[Waveform], object]
) -> None:
    stereo = np.stack([sound(1, 1), sound(1, 2)])
    mixed = tagger.tag_waveform(kind(stereo), RATE, top_k=0)
    assert mixed.channels == 2
    expected = tagger.tag_waveform(stereo.mean(axis=0), RATE, top_k=0)
    assert_close(scores_of(mixed.tags), scores_of(expected.tags))
    second = tagger.tag_waveform(kind(stereo), RATE, channel=2)
    assert second.tags == tagger.tag_waveform(stereo[1], RATE).tags


def test_half_precision_waveforms_are_taken(tagger: Tagger) -> None:
    expected = scores_of(tagger.tag_waveform(sound(1), RATE, top_k=0).tags)
    for waveform in (sound(1).astype(np.float16), torch.from_numpy(sound(1)).bfloat16()):
        found = scores_of(tagger.tag_waveform(waveform, RATE, top_k=0).tags)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)


def test_the_caller_keeps_an_unchanged_waveform(tagger: Tagger) -> None:
    waveform = sound(2)
    tagger.tag_waveform(waveform, RATE)
    assert np.array_equal(waveform, sound(2))


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(RATE, np.int16),
        torch.zeros(RATE, dtype=torch.int16),
        np.zeros(RATE, bool),
        np.zeros(RATE, np.complex64),
        np.zeros((1, 2, RATE), np.float32),
        np.zeros((0, RATE), np.float32),
        np.float32(0),
        "clip.wav",
    ],
    ids=["int16", "int16 tensor", "bool", "complex", "three axes", "no channels", "a number", "a path"],
)
def test_what_is_no_waveform_is_refused(tagger: Tagger, waveform: object) -> None:
    with pytest.raises(UsageError, match=r"a waveform is \[S\] or \[channels, S\] of floats"):
        tagger.tag_waveform(waveform, RATE)


@pytest.mark.parametrize("rate", [0, -16_000])
def test_a_rate_below_one_is_refused(tagger: Tagger, rate: int) -> None:
    with pytest.raises(UsageError, match="1 Hz"):
        tagger.tag_waveform(sound(1), rate)


@pytest.mark.parametrize(
    ("waveform", "rate", "word"),
    [
        (np.zeros(0), RATE, "empty"),
        (np.zeros((2, 0)), RATE, "empty"),
        (np.zeros(1), RATE, "too-short"),
        (np.zeros(FRAME - 1), RATE, "too-short"),
        (np.zeros(1000), 48_000, "too-short"),
        (np.array([0.0] * 500 + [np.nan]), RATE, "non-finite"),
        (np.full(500, 1e300), RATE, "non-finite"),  # more than float32 holds
        (np.full(500, 1e30) * (-1) ** np.arange(500), RATE, "non-finite"),  # its energy is more
    ],
)
def test_waveforms_that_cannot_be_tagged_have_their_word(
    tagger: Tagger, waveform: Waveform, rate: int, word: str
) -> None:
    with pytest.raises(InputError) as caught:
        tagger.tag_waveform(waveform, rate)
    assert caught.value.word == word


def test_silence_has_a_result(tagger: Tagger, reference: Callable[[Waveform], Scores]) -> None:
    silence = np.zeros(RATE, np.float32)
    assert_close(scores_of(tagger.tag_waveform(silence, RATE, top_k=0).tags), reference(silence))


def test_a_network_in_half_precision_refuses_no_ordinary_sound(checkpoint: Path) -> None:
    for dtype in ("bfloat16", "float16"):
        half = Tagger.from_pretrained(checkpoint, device="cpu", dtype=dtype)
        loud = np.sign(sound(1)).astype(np.float32)
        assert len(half.tag_waveform(loud, RATE).tags) == 5


def test_a_fault_of_the_tool_costs_one_recording_and_not_the_others(
    tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(tmp_path / name) for name in ("one.wav", "two.wav", "three.wav")]
    for name in names:
        soundfile.write(name, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)

    def faulty(path: str) -> object:
        if path == names[1]:
            raise ZeroDivisionError("by nothing")
        return open_recording(path)

    monkeypatch.setattr("ast_cli.pipeline.windows.open_recording", faulty)
    one, two, three = tagger.tag_many(names)
    assert isinstance(one, FileResult)
    assert isinstance(three, FileResult)
    assert isinstance(two, FileFailure)
    assert two.error == "internal-error"
    assert two.message.startswith("ZeroDivisionError: by nothing.")


def test_what_is_wrong_with_a_recording_is_said_with_its_name(tagger: Tagger) -> None:
    with pytest.raises(InputError, match=r"^nope\.wav: "):
        tagger.tag("nope.wav")


@pytest.mark.parametrize(
    "options", [{}, {"hop": 0.3}, {"short": "crop"}, {"short": "repeat"}, {"window": 0.7}]
)
def test_an_engine_that_extracts_frames_itself_gives_the_same_scores(
    checkpoint: Path, mixed: list[str], monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    """As engines on CUDA do, where the host would be too slow."""

    def scores(tagger: Tagger) -> list[list[float]]:
        outcomes = tagger.tag_many(mixed, batch_size=4, top_k=0, **options)
        return [[tag.score for tag in sorted(one.tags, key=lambda tag: tag.index)] for one in outcomes]

    tagger = Tagger.from_pretrained(checkpoint)
    expected = scores(tagger)
    [engine] = tagger.engines
    given: set[bool] = set()
    forward = engine._forward

    def watched(windows: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        given.add(lengths is not None)
        return forward(windows, lengths)

    monkeypatch.setattr(engine, "takes_waveforms", True)
    monkeypatch.setattr(engine, "_forward", watched)
    np.testing.assert_allclose(scores(tagger), expected, rtol=0, atol=1e-5)
    assert given == {options.get("short") != "repeat"}


@pytest.mark.parametrize(
    "given", [np.zeros(16_000, np.float32), torch.zeros(16_000), 3], ids=["numpy", "torch", "int"]
)
def test_samples_in_place_of_names_are_told_where_to_go(given: object, checkpoint: Path) -> None:
    tagger = Tagger.from_pretrained(checkpoint, device="cpu")
    for call in (tagger.tag, tagger.tag_many, tagger.embed, lambda one: tagger.tag_many([one])):
        with pytest.raises(UsageError, match=r"name is no \w+\. Samples are for tag_waveform"):
            list(call(given))
