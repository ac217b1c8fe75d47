"""Which clips are held out, and how often each is drawn."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict

import numpy as np

from ast_cli.errors import UsageError
from ast_cli.training.datasets import Dataset, LabelledClip


def split_for_training(
    data: Dataset, *, fold: str | None = None, part: float, seed: int
) -> tuple[Dataset, Dataset]:
    """What to learn from and what to validate on; never what the data sets apart as its test.

    What the data says goes first: the fold that is asked for, its splits `train` and `validation`, its last
    fold. Where it says nothing, `part` of each class is held out, chosen by `seed`.

    Raises:
        UsageError: The data has splits but none to train on, has no such fold, or is too small.
    """
    if data.splits and "train" not in data.splits:
        raise UsageError(
            f"the data has no split train, only {', '.join(data.splits)}", "Call what is to be learnt train"
        )
    learn = data.of_split("train") if data.splits else data
    if fold is None and "validation" in data.splits:
        return learn, data.of_split("validation")
    if fold is None and len(learn.folds) > 1:
        fold = learn.folds[-1]
    if fold is not None:
        return learn.without_fold(fold), learn.of_fold(fold)
    return hold_out(learn, part, seed)


def hold_out(data: Dataset, part: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split the clips so that each class gives the same part: those for training, and those held out.

    All clips of a recording stay on one side, or validation would see training audio. A recording of
    several labels counts for the rarest of them. A class with a single recording keeps it in training.

    Raises:
        UsageError: Nothing would be left on one side.
    """
    counts = data.counts
    labels_of: dict[str, set[int]] = defaultdict(set)
    for clip in data.clips:
        labels_of[clip.file].update(clip.labels)
    by_class: dict[int, list[str]] = defaultdict(list)
    for file, labels in labels_of.items():
        by_class[min(sorted(labels), key=lambda index: counts[index], default=-1)].append(file)
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for _, files in sorted(by_class.items()):
        count = min(len(files) - 1, max(1, round(part * len(files)))) if len(files) > 1 else 0
        held.update(files[number] for number in rng.permutation(len(files))[:count])
    if not held:
        raise UsageError(
            f"{len(data.clips)} clips are too few to hold some out for validation",
            "Give at least two recordings a class, or name other clips with --validation",
        )
    training = tuple(clip for clip in data.clips if clip.file not in held)
    validation = tuple(clip for clip in data.clips if clip.file in held)
    return dataclasses.replace(data, clips=training), dataclasses.replace(data, clips=validation)


def refuse_overlap(training: Dataset, validation: Dataset) -> None:
    """Raise UsageError if recordings are in both: the score would be of what was learned."""
    learnt = {os.path.realpath(clip.file) for clip in training.clips}
    both = [clip.file for clip in validation.clips if os.path.realpath(clip.file) in learnt]
    if both:
        raise UsageError(
            f"{len(both)} clips to validate on are of recordings to learn from, such as {both[0]}",
            "Take them out of one of the two",
        )


def balanced_weights(clips: tuple[LabelledClip, ...], classes: int) -> list[float]:
    """How likely each clip is drawn, so that each class is drawn as often.

    A clip weighs the sum of 1 / count over its classes, as in the original recipe for AudioSet; one without
    a label weighs as the lightest one.
    """
    counts = np.zeros(classes)
    for clip in clips:
        counts[list(clip.labels)] += 1
    weights = [float(sum(1 / counts[index] for index in clip.labels)) for clip in clips]
    lightest = min((weight for weight in weights if weight > 0), default=1.0)
    return [weight or lightest for weight in weights]
