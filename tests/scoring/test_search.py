"""The nearest vectors and pairs against all cosines, worked out at once in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ast_cli.errors import ResultsError, UsageError
from ast_cli.scoring import search
from ast_cli.scoring.embedding import unit_length
from ast_cli.scoring.search import near_duplicates, nearest


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is searched here takes several."""
    monkeypatch.setattr(search, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(search, "TILE", 7)


def vectors(count: int = 50, width: int = 8, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32) * 3


def all_cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)

    return unit(one) @ unit(other).T


@pytest.mark.parametrize("is_unit", [False, True])
@pytest.mark.parametrize("top_k", [1, 5, 49, 50, 60, 0])
def test_the_nearest_are_those_of_the_largest_cosines(top_k: int, is_unit: bool) -> None:
    rows, query = vectors(), vectors(1, seed=1)[0]
    expected = all_cosines(rows, query[None])[:, 0]
    found, cosines = nearest(unit_length(rows) if is_unit else rows, query, top_k=top_k, is_unit=is_unit)
    assert found.tolist() == np.argsort(-expected)[: top_k or None].tolist()
    np.testing.assert_allclose(cosines, expected[found], atol=1e-6)


def test_of_equal_ones_the_first_come_first() -> None:
    rows = np.tile(np.eye(2, dtype=np.float32), (4, 1))
    found, cosines = nearest(rows, np.array([1, 0], np.float32), top_k=3)
    assert (found.tolist(), cosines.tolist()) == ([0, 2, 4], [1, 1, 1])


def test_what_is_less_alike_is_left_out() -> None:
    found, cosines = nearest(
        np.eye(3, dtype=np.float32), np.array([3, 4, 0], np.float32), top_k=0, threshold=0.7
    )
    assert (found.tolist(), cosines.tolist()) == ([1], pytest.approx([0.8]))
    assert len(nearest(np.eye(3, dtype=np.float32), np.ones(3, np.float32), top_k=5, threshold=0.9)[0]) == 0


def test_a_vector_of_zeros_is_like_nothing() -> None:
    rows = np.array([[0, 0], [-1, 0], [1, 0]], np.float32)
    assert nearest(rows, np.array([1, 0], np.float32), top_k=0)[1].tolist() == [1, 0, -1]
    assert nearest(rows, np.zeros(2, np.float32), top_k=0)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("top_k", [0, 1, 3, 1000])
def test_pairs_are_those_above_the_threshold(top_k: int) -> None:
    rows, recording = vectors(), np.arange(50) // 2
    cosines = all_cosines(rows, rows)
    every = [
        (first, second)
        for first in range(50)
        for second in range(first + 1, 50)
        if cosines[first, second] >= 0.6 and recording[first] != recording[second]
    ]
    every.sort(key=lambda pair: -cosines[pair])
    found = near_duplicates(rows, recording, threshold=0.6, top_k=top_k)
    assert [*zip(found.first.tolist(), found.second.tolist(), strict=True)] == every[: top_k or None]
    assert found.total == len(every) > 3
    np.testing.assert_allclose(found.cosine, [cosines[pair] for pair in every[: top_k or None]], atol=1e-6)


def test_there_may_be_no_pair() -> None:
    assert near_duplicates(np.eye(20, dtype=np.float32), np.arange(20)).total == 0


def test_numbers_that_are_not_finite_are_an_error_with_a_remedy() -> None:
    rows = vectors()
    rows[30, 2] = np.nan
    with pytest.raises(ResultsError, match="no finite number"):
        nearest(rows, rows[0], top_k=1)
    with pytest.raises(ResultsError, match="no finite number"):
        near_duplicates(rows, np.arange(50))


def test_vectors_of_another_length_are_an_error() -> None:
    with pytest.raises(ResultsError, match="of 8 numbers, not of 9"):
        nearest(vectors(), vectors(1, 9)[0], top_k=1)


@pytest.mark.parametrize("threshold", [1.1, -2, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="from -1 to 1"):
        nearest(vectors(), vectors(1)[0], top_k=1, threshold=threshold)
