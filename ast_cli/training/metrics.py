"""Scores and targets -> the field's metrics: mAP, mAUC, d′, accuracy, confusion, with their intervals.

Average precision and AUC of a class are scikit-learn's. Bootstrap intervals are percentiles over resampled
clips, moved so that the resamples' mean is the value itself: a positive that is drawn twice stands beside
itself in the ranking, so that resamples alone would promise too much. Their numbers come from weights on
clips that are sorted once: for 200 resamples of AudioSet's 20,000 clips that takes 20 seconds, where
scikit-learn's own `sample_weight` takes half an hour. Knows only arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import UsageError
from ast_cli.extras import require_extra

ScoreMatrix = NDArray[np.float32]  # [N, C]
TargetMatrix = NDArray[np.bool_]  # [N, C]

FEWEST_RESAMPLES = 20
MOST_CELLS = 4_000_000_000  # clips × classes × resamples: about 20 seconds
CELLS_AT_ONCE = 1 << 24  # clips × resamples: 64 MiB of weights
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Metric:
    """A number and where it may truly lie.

    Attributes:
        value: NaN where it is not defined: no class has both positives and negatives, or no clip a label.
        low: Lower end of the bootstrap interval; NaN where none was drawn.
        high: Its upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How one class is told from the others.

    Attributes:
        index: Of the class.
        positives: Clips that have it.
        ap: Average precision; NaN without positives.
        auc: Area under the ROC curve; NaN without positives or without negatives.
    """

    index: int
    positives: int
    ap: float
    auc: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """What scores are worth.

    Attributes:
        clips: Their number, N.
        map: Mean of the classes' average precisions.
        mauc: Mean of their AUCs.
        d_prime: √2·Φ⁻¹(mAUC); infinite where mAUC is 1.
        accuracy: Clips whose highest score is (one of) their labels; clips without a label do not count.
        classes: One entry a class.
        resamples: How many the intervals are from; 0 without intervals.
    """

    clips: int
    map: Metric
    mauc: Metric
    d_prime: Metric
    accuracy: Metric
    classes: tuple[ClassMetrics, ...]
    resamples: int = 0

    @property
    def without_positives(self) -> int:
        """Classes that no clip has; they count in no mean."""
        return sum(one.positives == 0 for one in self.classes)

    @property
    def without_negatives(self) -> int:
        """Classes that every clip has; they have no AUC."""
        return sum(one.positives == self.clips for one in self.classes)

    def by_name(self) -> dict[str, Metric]:
        """The metrics under the names the field gives them."""
        return {"mAP": self.map, "mAUC": self.mauc, "d_prime": self.d_prime, "accuracy": self.accuracy}


def measure(scores: ScoreMatrix, targets: TargetMatrix, *, resamples: int = 0, seed: int = 0) -> Metrics:
    """Compute every metric, and its bootstrap interval if resamples are asked for.

    Args:
        scores: [N, C]; higher is likelier. Only their order counts.
        targets: [N, C], whether a clip has a class.
        resamples: Of the bootstrap; 0 for no intervals. Fewer are drawn, but at least `FEWEST_RESAMPLES`,
            where clips × classes × resamples exceeds `MOST_CELLS`; the result says how many.
        seed: Of the resampling.

    Raises:
        UsageError: There is no clip, or a score is not a finite number.
        EngineError: scikit-learn is not installed.
    """
    require_scores(scores, targets)
    classes = tuple(
        _measure_class(index, scores[:, index], targets[:, index]) for index in range(scores.shape[1])
    )
    right = _top1_is_right(scores, targets)
    values = np.array(
        [
            _mean([one.ap for one in classes]),
            _mean([one.auc for one in classes]),
            _mean(right[targets.any(axis=1)].tolist()),
        ]
    )
    if resamples:
        most = MOST_CELLS // scores.size
        resamples = max(min(resamples, most), min(resamples, FEWEST_RESAMPLES))
        ends = _intervals(values, _resampled(scores, targets, right, resamples, seed))
    else:
        ends = np.full((len(values), 2), math.nan)
    average_precision, mauc, accuracy = (
        Metric(float(value), float(low), float(high)) for value, (low, high) in zip(values, ends, strict=True)
    )
    return Metrics(
        clips=len(scores),
        map=average_precision,
        mauc=mauc,
        d_prime=Metric(d_prime(mauc.value), d_prime(mauc.low), d_prime(mauc.high)),
        accuracy=accuracy,
        classes=classes,
        resamples=resamples,
    )


def require_scores(scores: ScoreMatrix, targets: TargetMatrix) -> None:
    """Check that scores can be measured.

    Raises:
        UsageError: There is no clip, or a score is not a finite number.
        ValueError: The two arrays have different shapes.
    """
    if scores.shape != targets.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} should both be [N, C]")
    if not scores.size:
        raise UsageError("no recording has scores", "Check that the data set names recordings that are there")
    finite = np.isfinite(scores)
    if not finite.all():
        clip, index = np.argwhere(~finite)[0]
        raise UsageError(
            f"the score of clip {clip} for class {index}, both counted from 0, is not a finite number",
            "Score the clips anew",
        )


def d_prime(mauc: float) -> float:
    """√2·Φ⁻¹(mAUC): how far apart two normal distributions with this AUC are, in standard deviations."""
    if math.isnan(mauc) or mauc in (0.0, 1.0):
        return math.nan if math.isnan(mauc) else math.copysign(math.inf, mauc - 0.5)
    return math.sqrt(2) * NormalDist().inv_cdf(mauc)


def confusion(scores: ScoreMatrix, targets: TargetMatrix) -> NDArray[np.int64]:
    """[C, C] from scores and targets [N, C], one a clip: a row is a class, a column what it was taken for."""
    count = scores.shape[1]
    cells = targets.argmax(axis=1) * count + scores.argmax(axis=1)
    return np.bincount(cells, minlength=count * count).reshape(count, count)


def _measure_class(index: int, scores: NDArray[np.float32], targets: NDArray[np.bool_]) -> ClassMetrics:
    require_extra("train", "sklearn")
    from sklearn.metrics import average_precision_score, roc_auc_score

    positives = int(targets.sum())
    ap = float(average_precision_score(targets, scores)) if positives else math.nan
    auc = float(roc_auc_score(targets, scores)) if 0 < positives < len(targets) else math.nan
    return ClassMetrics(index, positives, ap, auc)


def _top1_is_right(scores: ScoreMatrix, targets: TargetMatrix) -> NDArray[np.bool_]:
    """[N], whether a clip has the class it scores highest."""
    right: NDArray[np.bool_] = np.take_along_axis(targets, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    return right


def _mean(values: list[float]) -> float:
    """The mean of what is defined."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _intervals(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low and high [K, 2] around values [K] from those of the resamples [K, R]; all within 0 and 1."""
    tail = (1 - LEVEL) / 2
    ends = np.full((len(values), 2), math.nan)
    for place, (value, each) in enumerate(zip(values, drawn, strict=True)):
        defined = each[~np.isnan(each)]
        if len(defined):
            ends[place] = np.quantile(defined - defined.mean(), (tail, 1 - tail)) + value
    return ends.clip(0, 1)


def _weights(clips: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each clip is drawn, [N, resamples], in pieces."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // clips)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = generator.multinomial(clips, np.full(clips, 1 / clips), size=count)
        yield np.ascontiguousarray(drawn.T, dtype=np.float32)


def _resampled(
    scores: ScoreMatrix, targets: TargetMatrix, right: NDArray[np.bool_], resamples: int, seed: int
) -> NDArray[np.float64]:
    """mAP, mAUC and accuracy of each resample, [3, resamples]."""
    pieces = []
    for weights in _weights(len(scores), resamples, seed):
        aps, aucs = (np.full((scores.shape[1], weights.shape[1]), math.nan) for _ in range(2))
        for index in np.flatnonzero(targets.any(axis=0)):
            aps[index], aucs[index] = weighted_ap_and_auc(scores[:, index], targets[:, index], weights)
        with np.errstate(invalid="ignore"):  # a resample in which nothing is defined gives NaN
            means = [np.nansum(each, axis=0) / (~np.isnan(each)).sum(axis=0) for each in (aps, aucs)]
            labelled = weights[targets.any(axis=1)].sum(axis=0, dtype=np.float64)
            pieces.append([*means, weights[right].sum(axis=0, dtype=np.float64) / labelled])
    return np.concatenate(pieces, axis=1)


def weighted_ap_and_auc(
    scores: NDArray[np.float32], targets: NDArray[np.bool_], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision and AUC of one class where each clip counts as often as its weight says.

    From scores [N], targets [N], at least one true, and weights [N, R], one column a resample: [R] and [R],
    NaN where the weights leave no positive, or no negative for the AUC. Sums are taken only between the
    scores that positives have, since nothing else changes either number.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    is_positive = targets[order]
    # Groups of equal scores: the clips of one are above a threshold together or not at all.
    group = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    starts = np.searchsorted(group, np.unique(group[is_positive]), side="left")
    ends = np.searchsorted(group, group[starts], side="right")
    # Row 2k + 1 of the sums is a group with a positive, row 2k what lies between it and the group above.
    bounds = np.stack([np.concatenate([[0], ends[:-1]]), starts], axis=1).reshape(-1)
    above = weights[order[: ends[-1]]]
    sums = np.add.reduceat(above, np.minimum(bounds, len(above) - 1), axis=0).astype(np.float64)
    # `reduceat` gives the first row instead of nothing where two bounds are equal.
    sums[:-1][bounds[:-1] == bounds[1:]] = 0
    between, within = sums[0::2], sums[1::2]
    places = np.flatnonzero(is_positive)
    first_of_group = np.searchsorted(places, starts)
    positives = np.add.reduceat(weights[order[places]], first_of_group, axis=0).astype(np.float64)
    total = weights.sum(axis=0, dtype=np.float64)
    all_positives = positives.sum(axis=0)
    true_positives, retrieved = np.cumsum(positives, axis=0), np.cumsum(between + within, axis=0)
    negatives = within - positives
    negatives_above = np.cumsum(between + negatives, axis=0) - negatives
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(retrieved > 0, true_positives / retrieved, 0)
        ap = (positives * precision).sum(axis=0) / all_positives
        all_negatives = total - all_positives
        below = all_negatives - negatives_above - negatives / 2
        auc = (positives * below).sum(axis=0) / (all_positives * all_negatives)
    return ap, auc
