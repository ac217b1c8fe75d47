"""Windows' scores -> a recording's labels, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ast_cli.errors import InputError, UsageError
from ast_cli.results import Facts, FileResult, Tag
from ast_cli.scoring.aggregate import Aggregate, to_scores
from ast_cli.scoring.labels import LabelSet
from ast_cli.scoring.selection import Selection
from ast_cli.settings import TagSettings

LABELS = LabelSet(("ant", "bee", "cat", "dog"), ("/a", "/b", "/c", "/d"))

# Start, length and new frames of a window, and its scores.
WindowNumbers = tuple[int, int, int, list[float]]

LONG: list[WindowNumbers] = [
    (0, 100, 100, [0.9, 0.1, 0.5, 0.25]),
    (100, 100, 100, [0.3, 0.3, 0.5, 0.25]),
    (150, 100, 50, [0.0, 0.8, 0.5, 0.75]),  # aligned to the end: half of it was heard before
]
LONG_FACTS = Facts(duration=2.519, frames=250, sample_rate=44_100, channels=2)


def aggregate(windows: list[WindowNumbers], facts: Facts = LONG_FACTS, **settings: object) -> FileResult:
    asked = TagSettings(**settings)
    whole = Aggregate("x.wav", Selection(LABELS, asked), asked)
    for start, length, new, scores in windows:
        whole.add(start, length, new, np.array(scores, np.float32))
    return whole.result(facts)


def scores_of(tags: tuple[Tag, ...]) -> dict[str, float]:
    return {tag.label: tag.score for tag in tags}


def tags_of(scores: list[float], **settings: object) -> list[tuple[int, str, float]]:
    tags = Selection(LABELS, TagSettings(**settings)).tags(np.array(scores, np.float32))
    return [(tag.rank, tag.label, pytest.approx(tag.score)) for tag in tags]


# Scores -> labels


@pytest.mark.parametrize("threshold", [None, -1.0])
def test_a_score_that_is_not_known_is_never_shown(threshold: float | None) -> None:
    expected = [(1, "dog", 0.5), (2, "bee", 0.25)]
    assert tags_of([math.nan, 0.25, math.nan, 0.5], threshold=threshold) == expected


def test_a_class_is_rolled_up_from_the_scores_that_are_known() -> None:
    settings = TagSettings(rollup=True, top_k=0)
    labels = LabelSet.from_names(["Dog", "Bark", "Yip", "Howl"])
    tags = Selection(labels, settings).tags(np.array([math.nan, 0.25, 0.5, math.nan], np.float32))
    assert [(tag.label, tag.score) for tag in tags] == [("Dog", 0.5), ("Yip", 0.5), ("Bark", 0.25)]


# Windows -> recording


def test_the_mean_weighs_a_window_by_what_it_newly_covers() -> None:
    # (100 · 0.9 + 100 · 0.3 + 50 · 0.0) / 250, and so on
    expected = {"ant": 0.48, "bee": 0.32, "cat": 0.5, "dog": 0.35}
    assert scores_of(aggregate(LONG).tags) == pytest.approx(expected)


def test_the_maximum_takes_the_highest_of_each_class() -> None:
    expected = {"ant": 0.9, "bee": 0.8, "cat": 0.5, "dog": 0.75}
    assert scores_of(aggregate(LONG, aggregate="max").tags) == pytest.approx(expected)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_one_window_gives_its_own_scores(how: str) -> None:
    scores = [0.123456789, 0.2, 0.999999, 1e-7]
    found = aggregate([(0, 7, 7, scores)], aggregate=how).tags
    assert [tag.score for tag in found] == sorted((float(np.float32(one)) for one in scores), reverse=True)


def test_the_mean_of_negative_logits_and_their_maximum() -> None:
    windows: list[WindowNumbers] = [(0, 10, 10, [-5, -1, 0, 3]), (10, 10, 10, [-7, -1, -2, 1])]
    mean, most = ({"ant": -6, "bee": -1, "cat": -1, "dog": 2}, {"ant": -5, "bee": -1, "cat": 0, "dog": 3})
    assert scores_of(aggregate(windows).tags) == mean
    assert scores_of(aggregate(windows, aggregate="max").tags) == most


def test_a_mean_over_very_many_windows_stays_exact() -> None:
    # 100,000 windows: a float32 sum of 1e-3 · 1024 would be off by 4e-4.
    windows: list[WindowNumbers] = [(0, 1024, 1024, [1e-3, 0.1, 0.7, 1.0])] * 100_000
    expected = {"ant": 1e-3, "bee": 0.1, "cat": 0.7, "dog": 1.0}
    assert scores_of(aggregate(windows).tags) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_score_that_is_not_finite_is_an_error(how: str, value: float, at: int) -> None:
    windows = [(start, length, new, [*scores]) for start, length, new, scores in LONG]
    windows[at][3][2] = value
    if how == "max" and value == -math.inf:
        assert scores_of(aggregate(windows, aggregate=how).tags)["cat"] == 0.5  # the other windows have more
        return
    with pytest.raises(InputError) as caught:
        aggregate(windows, aggregate=how, timeline=True)
    assert caught.value.word == "non-finite"


# Scores -> labels


def test_labels_come_with_rank_index_and_mid_highest_first() -> None:
    tags = Selection(LABELS, TagSettings(top_k=2)).tags(np.array([0.1, 0.4, 0.3, 0.2], np.float32))
    score = float(np.float32(0.4)), float(np.float32(0.3))
    assert tags == (Tag(1, 1, "/b", "bee", score[0]), Tag(2, 2, "/c", "cat", score[1]))


def test_equal_scores_come_in_the_order_of_the_classes() -> None:
    expected = [(1, "dog", 0.9), (2, "ant", 0.5), (3, "bee", 0.5), (4, "cat", 0.5)]
    assert tags_of([0.5, 0.5, 0.5, 0.9]) == expected
    assert tags_of([0.5, 0.5, 0.5, 0.9], top_k=2) == expected[:2]
    assert tags_of([0.0, 0.0, 0.0, 0.0], top_k=1) == [(1, "ant", 0.0)]


def test_equal_scores_among_many_classes_come_in_their_order() -> None:
    labels = LabelSet.from_names(f"class {index}" for index in range(500))
    scores = np.repeat(np.float32(0.5), 500)
    tags = Selection(labels, TagSettings(top_k=0)).tags(scores)
    assert [tag.index for tag in tags] == list(range(500))


@pytest.mark.parametrize(("top_k", "count"), [(0, 4), (1, 1), (3, 3), (4, 4), (5, 4), (1000, 4)])
def test_top_k_limits_the_labels_and_zero_means_all(top_k: int, count: int) -> None:
    assert len(tags_of([0.1, 0.2, 0.3, 0.4], top_k=top_k)) == count


def test_labels_below_the_threshold_are_left_out_and_those_at_it_stay() -> None:
    assert tags_of([0.25, 0.5, 0.125, 0.75], threshold=0.25) == [
        (1, "dog", 0.75),
        (2, "bee", 0.5),
        (3, "ant", 0.25),
    ]
    assert tags_of([0.25, 0.5, 0.125, 0.75], threshold=0.25, top_k=2) == [(1, "dog", 0.75), (2, "bee", 0.5)]
    assert tags_of([0.25, 0.5, 0.125, 0.75], threshold=0.8) == []


def test_each_class_may_have_a_threshold_of_its_own_and_one_without_is_left_out() -> None:
    thresholds = (0.25, 0.6, None, 0.7)
    assert tags_of([0.25, 0.5, 0.9, 0.75], threshold=thresholds) == [(1, "dog", 0.75), (2, "ant", 0.25)]
    assert tags_of([0.25, 0.5, 0.9, 0.75], threshold=thresholds, top_k=1) == [(1, "dog", 0.75)]


def test_a_threshold_of_zero_leaves_out_negative_logits_and_none_leaves_out_nothing() -> None:
    assert tags_of([-2, -1, 0, 1], threshold=0) == [(1, "dog", 1), (2, "cat", 0)]
    assert len(tags_of([-2, -1, 0, 1])) == 4


@pytest.mark.parametrize("settings", [{"top_k": -1}, {"aggregate": "median"}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TagSettings(**settings)


def test_logits_become_scores() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    torch.testing.assert_close(to_scores(logits, "sigmoid"), torch.tensor([[0.5, 0.75], [0.8, 0.5]]))
    torch.testing.assert_close(to_scores(logits, "softmax"), torch.tensor([[0.25, 0.75], [0.8, 0.2]]))
    assert torch.equal(to_scores(logits, "logits"), logits)


# Times and facts


def test_the_facts_are_passed_on() -> None:
    found = aggregate(LONG, Facts(2.519, 250, 44_100, 2, ("cut off",)))
    assert (found.file, found.duration, found.sample_rate, found.channels) == ("x.wav", 2.519, 44_100, 2)
    assert found.warnings == ("cut off",)


def test_windows_are_kept_only_if_asked_for() -> None:
    assert aggregate(LONG).windows == ()
    assert len(aggregate(LONG, timeline=True).windows) == 3


def test_the_windows_times_are_seconds_and_the_last_ends_with_the_audio() -> None:
    found = aggregate(LONG, timeline=True).windows
    assert [(window.start, window.end) for window in found] == [(0.0, 1.0), (1.0, 2.0), (1.5, 2.519)]


def test_the_windows_have_their_own_labels() -> None:
    found = aggregate(LONG, timeline=True, top_k=2, threshold=0.3).windows
    assert [[(tag.rank, tag.label) for tag in window.tags] for window in found] == [
        [(1, "ant"), (2, "cat")],
        [(1, "cat"), (2, "ant")],  # the bee has as much as the ant
        [(1, "bee"), (2, "dog")],
    ]


def test_a_short_recording_ends_where_its_audio_does() -> None:
    facts = Facts(duration=0.5, frames=48, sample_rate=16_000, channels=1)
    [window] = aggregate([(0, 48, 48, [0.1] * 4)], facts, timeline=True).windows
    assert (window.start, window.end) == (0.0, 0.5)


def test_times_are_free_of_binary_noise() -> None:
    assert 35 * 0.01 != 0.35  # what is to be avoided
    windows: list[WindowNumbers] = [(start, 1, 1, [0.1] * 4) for start in range(3000)]
    found = aggregate(windows, Facts(30.02, 3000, 16_000, 1), timeline=True).windows
    assert [repr(window.start) for window in found] == [
        repr(float(f"{n // 100}.{n % 100:02}")) for n in range(3000)
    ]
    assert [window.end for window in found[:-1]] == [window.start for window in found[1:]]


@pytest.mark.parametrize(
    ("duration", "frames", "heard"),
    [
        (1.0, 98, 0.995),  # 97 steps of 10 ms and a frame of 25
        (0.025, 1, 0.025),
        (0.0349375, 1, 0.025),
        (0.5, 48, 0.495),
        (0.49499, 48, 0.49499),  # resampling rounds up; what is not there is not heard
        (10.0, 998, 9.995),
    ],
)
def test_the_seconds_heard_are_those_of_whole_frames(duration: float, frames: int, heard: float) -> None:
    found = aggregate([(0, frames, frames, [0.1] * 4)], Facts(duration, frames, 16_000, 1))
    assert found.seconds_heard == pytest.approx(heard, abs=1e-12)
    assert found.seconds_heard <= found.duration
