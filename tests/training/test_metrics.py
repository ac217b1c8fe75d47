"""Metrics against scikit-learn's, and against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ast_cli.errors import ExitCode, UsageError
from ast_cli.training import metrics
from ast_cli.training.metrics import confusion, d_prime, measure, weighted_ap_and_auc
from tests.extras import Extra

sklearn_metrics = Extra("sklearn.metrics")

# Four clips in the order of their scores for Speech, Dog and Music.
SCORES = np.array([[0.9, 0.5, 0.8], [0.7, 0.9, 0.7], [0.8, 0.1, 0.6], [0.1, 0.6, 0.5]], np.float32)
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0]], bool)


def chance(seed: int, clips: int = 60, classes: int = 7, values: int = 12) -> Any:
    """Scores with ties, and targets of which every class has some."""
    generator = np.random.default_rng(seed)
    targets = generator.random((clips, classes)) < 0.3
    targets[0], targets[1] = True, False
    scores = generator.integers(0, values, (clips, classes)) / values + 0.2 * targets
    return scores.astype(np.float32), targets


def test_four_clips_by_hand() -> None:
    found = measure(SCORES, TARGETS)
    # Speech ranks + + by hand: clips 0 (+), 2, 1 (+), 3: (1/1 + 2/3) / 2; 3 of its 4 pairs are in order.
    assert [one.ap for one in found.classes] == pytest.approx([5 / 6, 1, 1 / 3])
    assert [one.auc for one in found.classes] == pytest.approx([3 / 4, 1, 1 / 3])
    assert [one.positives for one in found.classes] == [2, 2, 1]
    assert found.map.value == pytest.approx(13 / 18)
    assert found.mauc.value == pytest.approx(25 / 36)
    assert found.accuracy.value == 3 / 4  # Music is taken for Speech
    assert found.d_prime.value == pytest.approx(0.7191, abs=1e-4)  # √2 · 0.5085, from a table of the normal
    assert (found.without_positives, found.without_negatives) == (0, 0)
    assert math.isnan(found.map.low)
    assert found.resamples == 0


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_scikit_learns(seed: int) -> None:
    scores, targets = chance(seed)
    found = measure(scores, targets)
    assert found.map.value == pytest.approx(
        sklearn_metrics.average_precision_score(targets, scores, average="macro"), rel=1e-12
    )
    assert found.mauc.value == pytest.approx(
        sklearn_metrics.roc_auc_score(targets, scores, average="macro"), rel=1e-12
    )


def test_single_label_metrics_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 5, 80)
    targets = np.eye(5, dtype=bool)[classes]
    scores = generator.random((80, 5)).astype(np.float32) + targets.astype(np.float32) / 2
    taken_for = scores.argmax(axis=1)
    assert measure(scores, targets).accuracy.value == sklearn_metrics.accuracy_score(classes, taken_for)
    assert (
        confusion(scores, targets).tolist() == sklearn_metrics.confusion_matrix(classes, taken_for).tolist()
    )


def test_confusion_keeps_classes_that_nobody_has() -> None:
    scores = np.array([[0, 1, 0], [0, 1, 0]], np.float32)
    targets = np.array([[1, 0, 0], [0, 1, 0]], bool)
    assert confusion(scores, targets).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("mauc", "expected"),
    [
        (0.5, 0.0),
        (0.8413447460685429, math.sqrt(2)),  # Φ(1)
        (0.15865525393145707, -math.sqrt(2)),
        (0.975, math.sqrt(2) * 1.959964),
        (1.0, math.inf),
        (0.0, -math.inf),
    ],
)
def test_d_prime_of_a_known_auc(mauc: float, expected: float) -> None:
    assert d_prime(mauc) == pytest.approx(expected, abs=1e-6)


def test_d_prime_of_nothing_is_nothing() -> None:
    assert math.isnan(d_prime(math.nan))


def test_scores_that_tell_nothing_have_an_auc_of_one_half() -> None:
    found = measure(np.zeros((10, 2), np.float32), np.arange(20).reshape(10, 2) % 5 == 0)
    assert (found.mauc.value, found.d_prime.value) == (0.5, 0.0)


def test_classes_without_positives_or_negatives_are_left_out_and_counted() -> None:
    scores, targets = chance(0, classes=4)
    targets[:, 1], targets[:, 2] = False, True
    found = measure(scores, targets)
    assert (found.without_positives, found.without_negatives) == (1, 1)
    assert [math.isnan(one.ap) for one in found.classes] == [False, True, False, False]
    assert [math.isnan(one.auc) for one in found.classes] == [False, True, True, False]
    assert found.classes[2].ap == pytest.approx(1)
    there = [0, 2, 3]
    assert found.map.value == pytest.approx(
        sklearn_metrics.average_precision_score(targets[:, there], scores[:, there])
    )
    there = [0, 3]
    assert found.mauc.value == pytest.approx(
        sklearn_metrics.roc_auc_score(targets[:, there], scores[:, there])
    )


def test_clips_without_a_label_do_not_count_in_accuracy() -> None:
    scores = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert measure(scores, np.array([[1, 0], [0, 0], [1, 1]], bool)).accuracy.value == 1
    assert math.isnan(measure(scores, np.zeros((3, 2), bool)).accuracy.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    scores = SCORES.copy()
    scores[2, 1] = bad
    with pytest.raises(UsageError, match="score of clip 2 for class 1") as caught:
        measure(scores, TARGETS)
    assert caught.value.exit_code == ExitCode.USAGE


def test_no_clip_is_refused() -> None:
    with pytest.raises(UsageError, match="no recording has scores"):
        measure(SCORES[:0], TARGETS[:0])
    with pytest.raises(ValueError, match=r"should both be \[N, C\]"):
        measure(SCORES, TARGETS[:2])


# Intervals


@pytest.mark.parametrize("seed", range(20))
def test_weights_mean_the_same_as_to_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    [scores], [targets] = (each.T for each in chance(seed, clips=30, classes=1, values=1 + seed))
    weights = generator.integers(0, 3, (30, 6)).astype(np.float32)
    aps, aucs = weighted_ap_and_auc(scores, targets, weights)
    for weight, ap, auc in zip(weights.T, aps, aucs, strict=True):
        assert ap == pytest.approx(
            sklearn_metrics.average_precision_score(targets, scores, sample_weight=weight)
        )
        assert auc == pytest.approx(sklearn_metrics.roc_auc_score(targets, scores, sample_weight=weight))


def test_weights_that_leave_no_positive_or_no_negative() -> None:
    scores, targets = np.array([3, 2, 1], np.float32), np.array([1, 0, 0], bool)
    aps, aucs = weighted_ap_and_auc(scores, targets, np.array([[0, 2, 1], [1, 0, 1], [1, 0, 0]], np.float32))
    assert np.isnan(aps).tolist() == [True, False, False]
    assert np.isnan(aucs).tolist() == [True, True, False]


def test_intervals_hold_the_value_and_follow_the_seed() -> None:
    scores, targets = chance(1, clips=300)
    found = measure(scores, targets, resamples=100, seed=1)
    for metric in found.by_name().values():
        assert metric.low < metric.value < metric.high
    assert found.resamples == 100
    assert measure(scores, targets, resamples=100, seed=1) == found
    assert measure(scores, targets, resamples=100, seed=2) != found


def test_the_interval_of_a_share_is_the_textbooks() -> None:
    """For accuracy p of N clips, about p ± 1.96·√(p(1 − p)/N)."""
    scores = np.tile(np.array([1, 0], np.float32), (400, 1))
    targets = np.array([[True, False]] * 300 + [[False, True]] * 100)
    accuracy = measure(scores, targets, resamples=2000).accuracy
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (accuracy.low, accuracy.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.004)


def test_what_is_perfect_stays_so_in_every_resample() -> None:
    targets = np.eye(3, dtype=bool)[np.arange(30) % 3]
    found = measure(targets.astype(np.float32), targets, resamples=20)
    for metric in (found.map, found.mauc, found.accuracy):
        assert (metric.value, metric.low, metric.high) == (1, 1, 1)
    assert found.d_prime.low == math.inf


def test_resamples_come_in_pieces_and_fewer_where_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets = chance(2)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 60 * 7)
    found = measure(scores, targets, resamples=50)
    assert found.map.low < found.map.value < found.map.high
    monkeypatch.setattr(metrics, "MOST_CELLS", scores.size * 30)
    assert measure(scores, targets, resamples=50).resamples == 30
    monkeypatch.setattr(metrics, "MOST_CELLS", scores.size)
    assert measure(scores, targets, resamples=50).resamples == 20
    assert measure(scores, targets, resamples=5).resamples == 5
