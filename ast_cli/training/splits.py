"""Which clips are held out, and how often each is drawn."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np

from ast_cli.errors import UsageError
from ast_cli.training.datasets import Dataset, LabelledClip


def hold_out(data: Dataset, part: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split the clips so that each class gives the same part of them.

    A clip of several labels counts for the rarest of them. A class with a single clip keeps it in training.

    Returns:
        What is for training, and what is held out; both in the order of `data`.

    Raises:
        UsageError: Nothing would be left on one side.
    """
    counts = data.counts
    by_class: dict[int, list[int]] = defaultdict(list)
    for number, clip in enumerate(data.clips):
        by_class[min(clip.labels, key=lambda index: counts[index], default=-1)].append(number)
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for _, numbers in sorted(by_class.items()):
        count = min(len(numbers) - 1, max(1, round(part * len(numbers)))) if len(numbers) > 1 else 0
        held.update(int(number) for number in rng.permutation(numbers)[:count])
    if not held:
        raise UsageError(
            f"{len(data.clips)} clips are too few to hold some out for validation",
            "Give at least two clips a class, or name other clips with --validation",
        )
    numbered = list(enumerate(data.clips))
    training = tuple(clip for number, clip in numbered if number not in held)
    validation = tuple(clip for number, clip in numbered if number in held)
    return dataclasses.replace(data, clips=training), dataclasses.replace(data, clips=validation)


def by_split(data: Dataset) -> tuple[Dataset, Dataset] | None:
    """The data's own training and validation clips; None if it does not name both."""
    if not {"train", "validation"} <= set(data.splits):
        return None
    return data.of_split("train"), data.of_split("validation")


def balanced_weights(clips: tuple[LabelledClip, ...], classes: int) -> list[float]:
    """How likely each clip is drawn, so that each class is heard as often.

    A clip weighs the sum of 1 / count over its classes, as in the original recipe for AudioSet; one without
    a label weighs as the lightest one.
    """
    counts = np.zeros(classes)
    for clip in clips:
        counts[list(clip.labels)] += 1
    weights = [float(sum(1 / counts[index] for index in clip.labels)) for clip in clips]
    lightest = min((weight for weight in weights if weight > 0), default=1.0)
    return [weight or lightest for weight in weights]
