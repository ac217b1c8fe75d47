"""For each class, the threshold above which its scores are best believed: the one with the highest F1.

Written by `eval --calibrate` and read by `tag --threshold`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import UsageError
from ast_cli.scoring.labels import LabelSet
from ast_cli.text import did_you_mean, inert
from ast_cli.training.metrics import ScoreMatrix, TargetMatrix, require_scores
from ast_cli.training.tables import open_table, short

COLUMNS = ("index", "mid", "label", "threshold", "f1", "positives")


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """Where one class is best cut off.

    Attributes:
        threshold: A clip has the class if its score is this or more; None for a class without positives.
        f1: Harmonic mean of precision and recall there; None for a class without positives.
        positives: Clips that have the class: with few of them, the threshold says little.
    """

    threshold: float | None
    f1: float | None
    positives: int


def calibrate(scores: ScoreMatrix, targets: TargetMatrix) -> tuple[ClassThreshold, ...]:
    """The best threshold of every class, from scores and targets [N, C]; see `require_scores`."""
    require_scores(scores, targets)
    return tuple(best_threshold(scores[:, index], targets[:, index]) for index in range(scores.shape[1]))


def best_threshold(scores: NDArray[np.float32], targets: NDArray[np.bool_]) -> ClassThreshold:
    """The threshold with the highest F1, the higher one of equals, from scores and targets [N].

    Every score is tried. The threshold lies halfway to the next lower score, so that it depends on neither
    alone, and is a float32 as the scores are: no rounding puts it on the wrong side of one.
    """
    positives = int(targets.sum())
    if not positives:
        return ClassThreshold(None, None, 0)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    true_positives = np.cumsum(targets[order])
    # Clips of equal scores are above a threshold together or not at all.
    lasts = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    f1 = 2 * true_positives[lasts] / (lasts + 1 + positives)
    best = int(np.argmax(f1))
    score = ordered[lasts[best]]
    threshold = score
    if best + 1 < len(lasts):
        lower = ordered[lasts[best + 1]]
        middle = np.float32((float(score) + float(lower)) / 2)
        threshold = middle if lower < middle <= score else score
    return ClassThreshold(float(threshold), float(f1[best]), positives)


def write_thresholds(thresholds: Sequence[ClassThreshold], labels: LabelSet, stream: TextIO) -> None:
    """Write one row a class as CSV; a class without positives has an empty threshold."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    for index, one in enumerate(thresholds):
        # The shortest digits that mean the same float32.
        threshold = "" if one.threshold is None else str(np.float32(one.threshold))
        f1 = "" if one.f1 is None else f"{one.f1:.6f}"
        rows.writerow(
            (index, inert(labels.mids[index]), inert(labels.names[index]), threshold, f1, one.positives)
        )


def read_thresholds(path: Path, labels: LabelSet) -> tuple[float | None, ...]:
    """The threshold of every class of a model, from CSV with at least the columns label and threshold.

    Rows may be in any order. None where the cell is empty, as of a class without positives, or there is no
    row.

    Raises:
        UsageError: It cannot be read, a threshold is no number, or its classes are not the model's.
    """
    index_of = {inert(name): index for index, name in enumerate(labels.names)}
    index_of |= {name: index for index, name in enumerate(labels.names)}
    found: dict[int, float | None] = {}
    with open_table(path) as table:
        places = table.places(table.header(), ("label", "threshold"))
        for row in table:
            label, text = table.cells(row, places)
            if label not in index_of:
                raise UsageError(
                    f"{table.where}: the model has no class {short(label)!r}",
                    did_you_mean(label, labels.names) or "Calibrate this model: `ast-tag eval --calibrate`",
                )
            index = index_of[label]
            if index in found:
                raise UsageError(f"{table.where}: {short(label)!r} is there twice", "Remove one of the rows")
            found[index] = table.number(text, "threshold") if text else None
    return tuple(found.get(index) for index in range(len(labels)))
