"""Thresholds: none is better, they lie between scores, and what is written is read again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ast_cli.errors import UsageError
from ast_cli.scoring.labels import LabelSet
from ast_cli.training.thresholds import (
    ClassThreshold,
    best_threshold,
    calibrate,
    read_thresholds,
    write_thresholds,
)
from tests.extras import Extra

sklearn_metrics = Extra("sklearn.metrics")

LABELS = LabelSet.from_names(("Speech", "Baby cry, infant cry", "Silence"))
clips = st.integers(1, 30)
few_values = st.sampled_from([np.float32(value) for value in (0, 0.1, 0.25, 0.5, 0.9)])
any_value = st.floats(0, 1, width=32)


def f1_at(threshold: float, scores: NDArray[np.float32], targets: NDArray[np.bool_]) -> float:
    above = scores >= np.float32(threshold)
    return 2 * (above & targets).sum() / (above.sum() + targets.sum())


@settings(deadline=None)
@given(st.data())
def test_no_other_threshold_is_better(data: st.DataObject) -> None:
    count = data.draw(clips)
    values = data.draw(st.sampled_from([few_values, any_value]))
    scores = data.draw(arrays(np.float32, count, elements=values))
    targets = data.draw(arrays(np.bool_, count))
    best = best_threshold(scores, targets)
    assert best.positives == targets.sum()
    if not best.positives:
        assert best == ClassThreshold(None, None, 0)
        return
    assert best.threshold is not None
    assert f1_at(best.threshold, scores, targets) == best.f1
    assert best.f1 == pytest.approx(sklearn_metrics.f1_score(targets, scores >= np.float32(best.threshold)))
    for other in scores:
        assert f1_at(other, scores, targets) <= best.f1
        # Of equals the higher one: no score above it does as well.
        assert (
            other <= best.threshold
            or f1_at(other, scores, targets) < best.f1
            or not (scores[scores < other] >= np.float32(best.threshold)).any()
        )


@pytest.mark.parametrize(
    ("scores", "targets", "threshold", "f1"),
    [
        ([0.75, 0.5, 0.25], [1, 0, 0], 0.625, 1.0),  # halfway between the right and the wrong ones
        ([0.75, 0.5, 0.25], [1, 1, 1], 0.25, 1.0),  # nothing lies below
        ([0.75, 0.5, 0.25, 0.0], [0, 1, 0, 0], 0.375, 2 / 3),
        ([0.5, 0.5, 0.0], [1, 0, 0], 0.25, 2 / 3),  # equal scores cannot be parted
        ([0.8, 0.6, 0.4, 0.2], [1, 0, 0, 1], 0.7, 2 / 3),  # as good as 0.2, and higher
    ],
)
def test_thresholds_by_hand(scores: list[float], targets: list[int], threshold: float, f1: float) -> None:
    best = best_threshold(np.array(scores, np.float32), np.array(targets, bool))
    assert (best.threshold, best.f1) == pytest.approx((threshold, f1))
    assert best.positives == sum(targets)


def test_neighbouring_numbers_are_still_parted() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    best = best_threshold(np.array([low, high]), np.array([False, True]))
    assert (best.threshold, best.f1) == (float(high), 1.0)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="not a finite number"):
        calibrate(np.array([[np.nan]], np.float32), np.array([[True]]))


# The file


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "thresholds.csv"
    path.write_text(text)
    return path


def test_what_is_written_is_read_again_to_the_last_digit(tmp_path: Path) -> None:
    scores = np.array([[0.123456789, 0.5, 0.7], [0.3, 0.4, 0.2]], np.float32)
    thresholds = calibrate(scores, np.array([[0, 1, 0], [1, 0, 0]], bool))
    stream = io.StringIO()
    write_thresholds(thresholds, LABELS, stream)
    assert stream.getvalue().splitlines() == [
        "index,mid,label,threshold,f1,positives",
        "0,/m/09x0r,Speech,0.2117284,1.000000,1",
        '1,/t/dd00002,"Baby cry, infant cry",0.45,1.000000,1',
        "2,/m/028v0c,Silence,,,0",
    ]
    read = read_thresholds(written(tmp_path, stream.getvalue()), LABELS)
    assert read[0] is not None
    assert np.float32(read[0]) == np.float32(thresholds[0].threshold)
    assert read[1:] == (0.45, None)


def test_the_same_is_written_whatever_a_class_is_called(tmp_path: Path) -> None:
    labels = LabelSet.from_names(("=1+1", "-"))
    stream = io.StringIO()
    write_thresholds([ClassThreshold(0.5, 1.0, 1), ClassThreshold(0.25, 1.0, 1)], labels, stream)
    assert "'=1+1" in stream.getvalue()
    assert read_thresholds(written(tmp_path, stream.getvalue()), labels) == (0.5, 0.25)


def test_rows_may_come_in_any_order_and_say_no_more_than_they_must(tmp_path: Path) -> None:
    text = 'label,threshold\nSilence,0.9\n"Baby cry, infant cry",\nSpeech,0.1\n'
    assert read_thresholds(written(tmp_path, text), LABELS) == (0.1, None, 0.9)


def test_a_class_without_a_row_has_no_threshold(tmp_path: Path) -> None:
    text = "label,threshold\nSpeech,0.5\n"
    assert [one for one in read_thresholds(written(tmp_path, text), LABELS) if one is not None] == [0.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lacks the columns label, threshold"),
        ("label,treshold\nSpeech,1\n", "Did you mean treshold?"),
        ("label,threshold\nSpeech,half\n", "line 2: threshold is 'half'"),
        ("label,threshold\nSpeech,nan\n", "line 2: threshold is 'nan'"),
        ("label,threshold\nSpeach,1\n", "line 2: the model has no class 'Speach'. Did you mean Speech?"),
        ("label,threshold\nSpeech,1\nSpeech,1\n", "line 3: 'Speech' is there twice"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_clear_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_thresholds(written(tmp_path, text), LABELS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_thresholds(tmp_path / "gone.csv", LABELS)
