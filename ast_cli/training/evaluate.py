"""A data set through a tagger -> scores -> metrics, as a JSON document or a table of classes.

Training and the command both come here. Knows no terminal.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import CheckpointError, InputError, UsageError
from ast_cli.outputs.json_writer import failure_document, model_document
from ast_cli.results import FileFailure, FileResult, Outcome, RunInfo, display_name
from ast_cli.scoring.labels import LabelSet
from ast_cli.text import inert
from ast_cli.training.datasets import Dataset, LabelledClip, read_dataset
from ast_cli.training.metrics import LEVEL, ClassMetrics, Metric, Metrics, confusion, measure
from ast_cli.training.scores import ScoredClips
from ast_cli.training.waveforms import open_clip

if TYPE_CHECKING:
    from ast_cli.tagger import Tagger

SCHEMA = "ast-eval/1"
ALL = "all"  # splits
FOLD = "{fold}"  # in the name of a model: one for each fold
CLASS_COLUMNS = ("index", "mid", "label", "positives", "AP", "AUC")


@dataclass(frozen=True)
class Evaluation:
    """What a model's scores are worth.

    Attributes:
        scored: The clips and their scores.
        metrics: Over all of them.
        folds: Over the clips of each fold, without intervals; empty unless asked for.
        confusion: [C, C], a row for each class, a column for what it was taken for; None where clips may have
            several labels.
        seed: Of the bootstrap.
    """

    scored: ScoredClips
    metrics: Metrics
    folds: Mapping[str, Metrics]
    confusion: NDArray[np.int64] | None
    seed: int

    @property
    def mean_of_folds(self) -> dict[str, Metric]:
        """The mean over the folds of each metric, by its name; empty without folds."""
        each = [metrics.by_name() for metrics in self.folds.values()]
        names = each[0] if each else {}
        return {name: Metric(math.fsum(one[name].value for one in each) / len(each)) for name in names}


def read_clips(
    source: Path,
    labels: Sequence[str],
    *,
    split: str | None = None,
    fold: str | None = None,
    audio: Path | None = None,
    classes: Path | None = None,
    files_needed: bool = True,
) -> tuple[Dataset, str | None]:
    """Read what a model with these class names shall be measured on; returns the data and the split chosen.

    `split` is `all`, or one of the data's; None for `test` where there is one, else `validation`, else all.
    What is returned for all is None. The other arguments are those of `read_dataset`.

    Raises:
        UsageError: The data cannot be read, or has no such split or fold.
    """
    read = partial(read_dataset, source, fold=fold, labels=labels, audio=audio, classes=classes)
    read = partial(read, files_needed=files_needed)
    if split not in (None, ALL):
        return read(split=split), split
    dataset = read()
    if split is None:
        split = next((name for name in ("test", "validation") if name in dataset.splits), ALL)
    return (dataset, None) if split == ALL else (read(split=split), split)


def models_by_fold(models: Sequence[str], folds: Sequence[str]) -> list[tuple[str | None, list[str]]]:
    """Each fold with the names of the models that score it: where one holds `{fold}`, each fold has its own.

    Without `{fold}`, the one pair is None and all models.

    Raises:
        UsageError: The names ask for folds, but there are none.
    """
    if not any(FOLD in model for model in models):
        return [(None, [*models])]
    if not folds:
        raise UsageError(f"--model names {FOLD}, but the clips have no folds to choose by", "Add --folds")
    return [(fold, [model.replace(FOLD, fold) for model in models]) for fold in folds]


def score_clips(
    tagger: Tagger,
    dataset: Dataset,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    on_heard: Callable[[float], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> ScoredClips:
    """Score every clip of data that was read with this tagger's labels; one that cannot be read is left out.

    Args:
        tagger: One model or an ensemble.
        dataset: The clips.
        batch_size: Windows in a forward pass; None for what the engine does best with.
        workers: Decoding threads; None for one a core.
        on_heard: Called with the seconds of audio that were newly scored.
        on_outcome: Called with each clip's result or failure, as they come.

    Raises:
        EngineError: The device cannot run the network.
    """
    if dataset.labels != tagger.labels.names:
        raise CheckpointError(
            "the models have not the same classes", "Scores can be compared only where all have the same"
        )
    rows: list[NDArray[np.float32] | None] = [None] * len(dataset.clips)
    failed: list[FileFailure] = []

    def outcomes() -> Iterator[tuple[int, Outcome]]:
        parts = [place for place, clip in enumerate(dataset.clips) if clip.is_part]
        whole = [place for place, clip in enumerate(dataset.clips) if not clip.is_part]
        files = (dataset.clips[place].file for place in whole)
        results = tagger.tag_many(files, top_k=0, batch_size=batch_size, workers=workers, on_heard=on_heard)
        yield from zip(whole, results, strict=True)
        for place in parts:
            outcome = _tag_part(tagger, dataset.clips[place])
            if on_heard is not None and isinstance(outcome, FileResult):
                on_heard(outcome.seconds_heard)
            yield place, outcome

    for place, outcome in outcomes():
        if isinstance(outcome, FileFailure):
            failed.append(outcome)
        else:
            row = np.empty(len(dataset.labels), np.float32)
            row[[tag.index for tag in outcome.tags]] = [tag.score for tag in outcome.tags]
            rows[place] = row
        if on_outcome is not None:
            on_outcome(outcome)
    return ScoredClips.of(dataset, rows, failed)


def score_folds(
    open_tagger: Callable[[list[str]], Tagger],
    models: Sequence[str],
    dataset: Dataset,
    *,
    folds: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    on_heard: Callable[[float], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> tuple[ScoredClips, RunInfo]:
    """Score every clip as `score_clips` does; where a model's name holds `{fold}`, each fold by its own.

    `open_tagger` opens models by their names, as `--model` has them, and `dataset` was read with the labels
    of these. `folds` says whether names may choose by the data's folds. Returned are the scores of all folds
    together, and the run, which names the models of all.

    Raises:
        UsageError: The names ask for folds, but there are none.
        EngineError: See `score_clips`.
    """
    parts, runs = [], []
    for fold, names in models_by_fold(models, dataset.folds if folds else ()):
        tagger = open_tagger(names)
        scored = score_clips(
            tagger,
            dataset if fold is None else dataset.of_fold(fold),
            batch_size=batch_size,
            workers=workers,
            on_heard=on_heard,
            on_outcome=on_outcome,
        )
        parts.append(scored)
        runs.append(tagger.run_info(batch_size=batch_size or "auto"))
    every_model = tuple(model for run in runs for model in run.models)
    return ScoredClips.together(parts), dataclasses.replace(runs[0], models=every_model)


def _tag_part(tagger: Tagger, clip: LabelledClip) -> Outcome:
    try:
        with open_clip(clip) as recording:
            blocks = list(recording.blocks)
            waveform = np.concatenate(blocks) if blocks else np.empty((0, recording.channels), np.float32)
            result = tagger.tag_waveform(waveform.T, recording.sample_rate, top_k=0)
            return dataclasses.replace(result, file=clip.name, warnings=tuple(recording.warnings))
    except InputError as error:
        return FileFailure.of(clip.name, error)


def evaluate(scored: ScoredClips, *, resamples: int = 0, seed: int = 0, by_fold: bool = False) -> Evaluation:
    """Measure scores, by a bootstrap of so many resamples, and each fold on its own if asked for.

    Raises:
        UsageError: There are no scores, or one is not a finite number.
        EngineError: scikit-learn is not installed.
    """
    metrics = measure(scored.scores, scored.targets, resamples=resamples, seed=seed)
    folds = sorted({fold for fold in scored.folds if fold is not None}, key=lambda fold: (len(fold), fold))
    return Evaluation(
        scored,
        metrics,
        {fold: measure(*scored.of_fold(fold), resamples=0) for fold in folds if by_fold},
        None if scored.multi_label else confusion(scored.scores, scored.targets),
        seed,
    )


def document(
    evaluation: Evaluation,
    *,
    run: RunInfo | None = None,
    dataset: Dataset | None = None,
    about: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The evaluation as JSON holds it; numbers that are not defined, or infinite, are null.

    `run` tells which model gave the scores, None for stored ones; `dataset` what was measured on, None where
    scores and targets were stored together; `about` what else to tell, such as the data's source and split.
    """
    missing = () if dataset is None else dataset.missing
    scored, metrics = evaluation.scored, evaluation.metrics
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "model": model_document(run.models) if run is not None else None,
        "settings": run.settings if run is not None else {},
        "data": {
            **(about or {}),
            "clips": metrics.clips + len(scored.failed) + len(scored.unscored) + len(missing),
            "scored": metrics.clips,
            "multi_label": scored.multi_label,
        },
        "metrics": {
            name: {end: _number(getattr(metric, end)) for end in ("value", "low", "high")}
            for name, metric in metrics.by_name().items()
        },
        "bootstrap": {"resamples": metrics.resamples, "level": LEVEL, "seed": evaluation.seed},
        "classes_without_positives": metrics.without_positives,
        "classes_without_negatives": metrics.without_negatives,
        "classes": [
            dict(zip(CLASS_COLUMNS, (*words, one.positives, _number(one.ap), _number(one.auc)), strict=True))
            for one, words in _named(evaluation)
        ],
    }
    if evaluation.folds:
        result["folds"] = [
            {
                "fold": fold,
                "clips": one.clips,
                "metrics": {name: _number(metric.value) for name, metric in one.by_name().items()},
            }
            for fold, one in evaluation.folds.items()
        ]
        result["mean_of_folds"] = {
            name: _number(metric.value) for name, metric in evaluation.mean_of_folds.items()
        }
    if evaluation.confusion is not None:
        result["confusion"] = evaluation.confusion.tolist()
    result["missing"] = [display_name(name) for name in (*missing, *scored.unscored)]
    result["failed"] = [failure_document(failure) for failure in scored.failed]
    result["unknown_labels"] = {} if dataset is None else dict(dataset.unknown)
    return result


def write_classes(evaluation: Evaluation, stream: TextIO) -> None:
    """One row a class as CSV; numbers that are not defined are empty."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(CLASS_COLUMNS)
    for one, (index, mid, label) in _named(evaluation):
        numbers = ("" if math.isnan(value) else f"{value:.6f}" for value in (one.ap, one.auc))
        rows.writerow((index, inert(mid), inert(label), one.positives, *numbers))


def _named(evaluation: Evaluation) -> Iterator[tuple[ClassMetrics, tuple[int, str, str]]]:
    """Each class with its index, mid and label."""
    labels = LabelSet.from_names(evaluation.scored.labels)
    for one in evaluation.metrics.classes:
        yield one, (one.index, labels.mids[one.index], labels.names[one.index])


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
