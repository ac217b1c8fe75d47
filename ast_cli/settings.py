"""What may be asked for, under which names, and what holds when nothing is said; written once, here.

Knows no torch, so that the command's help can show it at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ast_cli.errors import UsageError

Attention = Literal["sdpa", "eager", "flash", "efficient", "cudnn", "math"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Scores = Literal["auto", "sigmoid", "softmax", "logits"]
Aggregation = Literal["mean", "max"]
Threshold: TypeAlias = float | tuple[float | None, ...] | None

DEFAULT_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class TagSettings:
    """What is asked of the scores.

    Attributes:
        top_k: Labels for each recording and window; 0 for all.
        threshold: Labels scored below it are left out; None leaves out none. One for all classes, or one for
            each, where None leaves the class out.
        aggregate: Windows -> recording: `mean`, each window weighed by the seconds it newly covers, or `max`.
        channel: Channel number from 1; None for the mean of all.
        window: Seconds in a window; None for the model's length.
        hop: Seconds from one window to the next; None for the window's length.
        timeline: Whether to keep the labels of each window.
    """

    top_k: int = 5
    threshold: Threshold = None
    aggregate: Aggregation = "mean"
    channel: int | None = None
    window: float | None = None
    hop: float | None = None
    timeline: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise UsageError(f"top_k must be 0 (all) or more, not {self.top_k}")
        for one in self.threshold if isinstance(self.threshold, tuple) else (self.threshold,):
            if one is not None and not math.isfinite(one):
                raise UsageError(f"threshold must be a finite number, not {one}")
        require_choice("aggregate", self.aggregate, get_args(Aggregation))


def require_choice(what: str, given: str, choices: Sequence[str]) -> None:
    """Raise UsageError unless `given` is one of `choices`."""
    if given not in choices:
        raise UsageError(f"no such {what}: {given}", f"Choose one of {', '.join(choices)}")
