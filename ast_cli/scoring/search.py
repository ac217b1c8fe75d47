"""Which vectors are nearest to one, and which are nearest to each other: exact cosines, block by block.

Every vector is compared, so that nothing is missed: a million of 768 numbers take a fraction of a second.
Pairs cost the square of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import ResultsError, UsageError
from ast_cli.settings import NEAR_DUPLICATE

ROWS_AT_ONCE = 2**15
TILE = 2048  # rows and columns of the products for pairs: 16 MB
DECIMALS = 6  # of cosines, as they are shown: they count as equal beyond
REMEDY = "Make the file again with `ast-tag embed`"


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of rows, nearest first.

    Attributes:
        first: [P].
        second: [P], behind the first.
        cosine: [P].
        total: How many there are, of which these are the nearest.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosine: NDArray[np.float32]
    total: int


def nearest(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    *,
    top_k: int,
    threshold: float | None = None,
    is_unit: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows of [R, D] nearest to a query [D], nearest first, and their cosines; of equal ones the first.

    At most `top_k` (0: all), none with a smaller cosine than `threshold`. `is_unit` says that all rows have
    length one.

    Raises:
        ResultsError: A vector holds what is no finite number, or they are of other length than the query.
        UsageError: `threshold` is no cosine.
    """
    _require_cosine(threshold)
    if vectors.shape[1] != len(query):
        raise ResultsError(f"vectors of {vectors.shape[1]} numbers, not of {len(query)}", REMEDY)
    query = _unit(query[None])[0]
    cosines = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        block = vectors[start : start + ROWS_AT_ONCE]
        cosines[start : start + len(block)] = (block if is_unit else _unit(block)) @ query
    _require_finite(cosines)
    cosines.clip(-1, 1, out=cosines)
    near = np.arange(len(cosines)) if threshold is None else np.flatnonzero(cosines >= threshold)
    # Of equal vectors, products differ in their last bits, as the rows lie in a block.
    return (rows := _largest(cosines[near].round(DECIMALS), top_k, near)), cosines[rows]


def near_duplicates(
    vectors: NDArray[np.float32],
    recording: NDArray[np.int64],
    *,
    threshold: float = NEAR_DUPLICATE,
    top_k: int = 0,
    is_unit: bool = False,
) -> Pairs:
    """The pairs of rows of [R, D] that have at least this cosine and are of different recordings [R].

    At most `top_k` (0: all), the nearest. `is_unit` says that all rows have length one.

    Raises:
        ResultsError: A vector holds what is no finite number.
        UsageError: `threshold` is no cosine.
    """
    _require_cosine(threshold)
    firsts, seconds = np.empty(0, np.int64), np.empty(0, np.int64)
    cosines = np.empty(0, np.float32)
    total = 0
    for top in range(0, len(vectors), TILE):
        above = _tile(vectors, top, is_unit=is_unit)
        for left in range(top, len(vectors), TILE):
            tile = above @ _tile(vectors, left, is_unit=is_unit).T
            _require_finite(tile)
            rows, columns = np.nonzero(tile >= threshold)
            found = tile[rows, columns].clip(-1, 1)
            rows, columns = rows + top, columns + left
            wanted = (rows < columns) & (recording[rows] != recording[columns])
            total += int(wanted.sum())
            firsts = np.concatenate([firsts, rows[wanted]])
            seconds = np.concatenate([seconds, columns[wanted]])
            cosines = np.concatenate([cosines, found[wanted]])
            if top_k and len(cosines) > top_k:
                best = _largest(cosines, top_k)
                firsts, seconds, cosines = firsts[best], seconds[best], cosines[best]
    order = np.lexsort((seconds, firsts, -cosines))
    return Pairs(firsts[order], seconds[order], cosines[order], total)


def _largest(
    values: NDArray[np.float32], most: int, names: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The places of the largest values, or their names, largest first; all if `most` is 0."""
    places = np.arange(len(values))
    if 0 < most < len(values):
        least = np.partition(values, -most)[-most]
        # Of values equal to the least, the first are taken, until there are enough.
        larger, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
        places = np.concatenate([larger, equal[: most - len(larger)]])
    places = places[np.lexsort((places, -values[places]))]
    return places if names is None else names[places]


def _tile(vectors: NDArray[np.float32], start: int, *, is_unit: bool) -> NDArray[np.float32]:
    rows = vectors[start : start + TILE]
    return rows if is_unit else _unit(rows)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("rd,rd->r", rows, rows))[:, None]
    unit: NDArray[np.float32] = np.divide(rows, np.where(lengths > 0, lengths, 1), dtype=np.float32)
    return unit


def _require_finite(cosines: NDArray[np.float32]) -> None:
    if not np.isfinite(cosines).all():
        raise ResultsError("some vectors hold what is no finite number", REMEDY)


def _require_cosine(threshold: float | None) -> None:
    if threshold is not None and not -1 <= threshold <= 1:
        raise UsageError(f"a cosine is from -1 to 1, not {threshold}")
