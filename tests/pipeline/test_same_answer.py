"""The same recordings have the same scores however they are tagged; the laws of windows and of their mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ast_cli import FileFailure, FileResult, Tagger
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.window_stream import Window, WindowStream
from ast_cli.results import Facts, Outcome
from ast_cli.scoring.aggregate import Aggregate
from ast_cli.scoring.labels import LabelSet
from ast_cli.scoring.selection import Selection
from ast_cli.settings import Aggregation, TagSettings
from tests.cli.runner import ast_tag

RATE = 16_000
TOLERANCE = 1e-5  # of float32 sums in another order; seen to reach 1.2e-7 on scores
SECONDS = (
    0.026,
    0.1,
    0.3,
    0.5,
    0.9,
    1.27,
    1.28,
    1.295,
    1.31,
    1.5,
    1.9,
    2.0,
    2.56,
    2.7,
    3.3,
    4.1,
    5.0,
    6.6,
    8.2,
    11.3,
)
WAYS = [
    {},
    {"hop": 0.5},
    {"window": 0.64, "hop": 0.2, "short": "repeat"},
    {"window": 0.64, "short": "crop"},
    {"short": "repeat", "aggregate": "max"},
    {"short": "crop", "hop": 1.0},
]


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """From one frame to nine windows, at three rates, in no order of length; and one that is none."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for number, seconds in enumerate(random.permutation(SECONDS)):
        rate = (RATE, 44_100, 8000)[number % 3]
        time = np.arange(round(seconds * rate) + rate // 40) / rate  # a frame more, so that none is too short
        loudness = 0.02 + 0.2 * np.sin(2 * np.pi * (0.3 + 0.1 * number) * time) ** 2
        soundfile.write(folder / f"{number:02}.wav", loudness * random.standard_normal(len(time)), rate)
    (folder / "07x.wav").write_text("no recording")
    return sorted(map(str, folder.iterdir()))


def key(outcomes: Sequence[Outcome]) -> list[tuple[object, ...]]:
    """All that must not differ by anything: recordings, failures, times."""
    return [
        (one.file, one.error)
        if isinstance(one, FileFailure)
        else (
            one.file,
            one.duration,
            one.seconds_heard,
            [(window.start, window.end) for window in one.windows],
        )
        for one in outcomes
    ]


def scores(outcomes: Sequence[Outcome]) -> np.ndarray:
    """All scores by class, of recordings and windows; wants `top_k=0`."""
    results = [one for one in outcomes if isinstance(one, FileResult)]
    return np.array(
        [
            [tag.score for tag in sorted(one.tags, key=lambda tag: tag.index)]
            for result in results
            for one in (result, *result.windows)
        ]
    )


def assert_same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    assert key(found) == key(expected)
    np.testing.assert_allclose(scores(found), scores(expected), rtol=0, atol=TOLERANCE)


# However they are tagged


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_batch_size_workers_and_order_change_no_answer(
    tagger: Tagger, recordings: list[str], way: dict[str, object]
) -> None:
    options = {"top_k": 0, "timeline": True, **way}
    alone = {path: next(tagger.tag_many([path], batch_size=1, workers=1, **options)) for path in recordings}
    assert len(scores([*alone.values()])) > len(recordings) + 20  # windows, too
    random = np.random.default_rng(0)
    for batch_size, workers in ((2, 1), (7, 3), (1000, 2)):
        order = [recordings[place] for place in random.permutation(len(recordings))]
        found = list(tagger.tag_many(order, batch_size=batch_size, workers=workers, **options))
        assert_same(found, [alone[path] for path in order])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_answers_of_other_windows_are_others(
    tagger: Tagger, recordings: list[str], way: dict[str, object]
) -> None:
    """Or the test above would tell nothing."""
    paths = recordings[:3]
    found, *others = (
        list(tagger.tag_many(paths, top_k=0, **one)) for one in (way, *(w for w in WAYS if w != way))
    )
    assert all(np.abs(scores(found) - scores(other)).max() > 100 * TOLERANCE for other in others)


@pytest.mark.parametrize("out", ["tags.csv", "tags.json", "tags.jsonl"])
def test_single_windows_give_the_same_file_for_any_workers(
    checkpoint: Path, recordings: list[str], tmp_path: Path, out: str
) -> None:
    texts = set()
    for workers in (1, 2, 5):
        path = tmp_path / str(workers) / out
        path.parent.mkdir()
        options = ("--batch-size", "1", "--workers", str(workers), "--timeline", "--hop", "0.7")
        done = ast_tag("tag", *recordings, "--model", str(checkpoint), "--out", path, *options)
        assert done.code == 1, done.err  # one is no recording
        texts.add(path.read_bytes())
    assert len(texts) == 1


@pytest.mark.parametrize("broken_at", [0, 1, 7, 12, 20])
@pytest.mark.parametrize("out", ["tags.csv", "tags.json"])
def test_a_run_that_goes_on_gives_the_file_of_one_that_never_stopped(
    checkpoint: Path, recordings: list[str], tmp_path: Path, out: str, broken_at: int
) -> None:
    """Broken off by a recording that is not there yet; single windows, so that no rounding differs."""
    late = tmp_path / "late.wav"
    good = [path for path in recordings if "07x" not in path]
    names = [*good[:broken_at], str(late), *good[broken_at:]]
    options = ("--batch-size", "1", "--timeline", "--model", str(checkpoint))
    broken = ast_tag("tag", *names, "--out", tmp_path / out, "--fail-fast", *options)
    assert broken.code == 1
    assert not (tmp_path / out).exists()
    late.write_bytes(Path(good[0]).read_bytes())
    resumed = ast_tag("tag", *names, "--out", tmp_path / out, "--resume", *options)
    assert resumed.code == 0
    assert f"{broken_at} skipped" in resumed.err
    whole = ast_tag("tag", *names, "--out", tmp_path / f"whole-{out}", *options)
    assert whole.code == 0
    assert (tmp_path / out).read_bytes() == (tmp_path / f"whole-{out}").read_bytes()


# The laws of windows

MEL = 8


def cut(samples: int, length: int, hop: int, pieces: Sequence[int]) -> tuple[list[Window], int]:
    """The windows of so many samples, handed in in pieces that end there; and the number of frames."""
    extractor = ASTFeatureExtractor(max_length=40, num_mel_bins=MEL)
    stream = WindowStream(extractor, length, hop)
    waveform = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    ends = sorted({min(end, samples) for end in (*pieces, samples)})
    windows = [
        window
        for start, end in zip([0, *ends], ends, strict=False)
        for window in stream.push(waveform[start:end])
    ]
    return [*windows, *stream.finish()], extractor.num_frames(samples)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 30_000),
    st.integers(1, 40).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length))),
    st.lists(st.integers(0, 30_000), max_size=4),
)
def test_windows_hold_every_frame_and_count_each_once(
    samples: int, length_and_hop: tuple[int, int], pieces: list[int]
) -> None:
    length, hop = length_and_hop
    windows, frames = cut(samples, length, hop, pieces)
    assert {
        place for window in windows for place in range(window.start, window.start + window.length)
    } == set(range(frames))
    assert sum(window.new for window in windows) == frames
    assert all(window.new > 0 for window in windows)
    *others, last = windows or [None]
    assert [window.start for window in others] == [hop * number for number in range(len(others))]
    if last is not None:
        assert last.start + last.length == frames
        assert last.length == min(length, frames)
        assert last.start <= hop * len(others)
    assert all(window.length == length for window in others)
    assert all(len(window.content) == 40 for window in windows)


@settings(deadline=None, max_examples=50)
@given(st.integers(400, 30_000), st.lists(st.integers(0, 30_000), max_size=6))
def test_windows_do_not_depend_on_how_the_recording_was_handed_in(samples: int, pieces: list[int]) -> None:
    whole, _ = cut(samples, 30, 20, [])
    in_pieces, _ = cut(samples, 30, 20, pieces)
    assert [(one.start, one.length, one.new) for one in in_pieces] == [
        (one.start, one.length, one.new) for one in whole
    ]
    for one, other in zip(in_pieces, whole, strict=True):
        torch.testing.assert_close(one.content, other.content, rtol=0, atol=1e-4)


# The laws of the mean

CLASSES = 4


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 1024),
            arrays(np.float32, CLASSES, elements=st.floats(0, 1, width=32)),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["mean", "max"]),
)
def test_the_score_of_a_recording_is_the_mean_weighed_by_new_frames_or_the_highest(
    windows: list[tuple[int, np.ndarray]], how: Aggregation
) -> None:
    labels = LabelSet.from_names([f"class {number}" for number in range(CLASSES)])
    asked = TagSettings(top_k=0, aggregate=how)
    aggregate = Aggregate("x.wav", Selection(labels, asked), asked)
    for number, (new, each) in enumerate(windows):
        aggregate.add(number, 1024, new, each)
    found = {tag.index: tag.score for tag in aggregate.result(Facts(10.0, 1000, RATE, 1)).tags}
    for index in range(CLASSES):
        column = [float(each[index]) for _, each in windows]
        weighed = sum(new * score for (new, _), score in zip(windows, column, strict=True))
        expected = max(column) if how == "max" else weighed / sum(new for new, _ in windows)
        assert found[index] == pytest.approx(expected, abs=1e-6)
