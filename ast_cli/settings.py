"""What may be asked for, under which names, and what holds when nothing is said; written once, here.

Knows no torch, so that the command's help can show it at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from typing_extensions import TypedDict

from ast_cli.errors import UsageError

Attention = Literal["auto", "sdpa", "eager", "heads", "flash", "efficient", "cudnn", "math"]
EngineName = Literal["torch", "openvino"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]
TorchDtype = Literal["auto", "float32", "bfloat16", "float16"]
Scores = Literal["auto", "sigmoid", "softmax", "logits"]
Aggregation = Literal["mean", "max"]
Short = Literal["pad", "repeat", "crop"]
Per = Literal["file", "window"]
ClipFormat = Literal["wav", "flac"]
RawEncoding = Literal["s16le", "f32le"]
Threshold: TypeAlias = float | tuple[float | None, ...] | None

DEFAULT_BATCH_SIZE = 8
DEFAULT_EVENT_THRESHOLD = 0.5
NEAR_DUPLICATE = 0.98  # the least cosine between the vectors of two recordings that are nearly the same
# Live, a sound is reported a window later. Of 1, 2 and 3 s, 2 s is the shortest of which the labels are as
# good as those of longer ones; to crop the network gives as good ones as to pad, at a quarter of the cost.
LIVE_WINDOW_SECONDS = 2.0
LIVE_SHORT: Short = "crop"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How windows become events. Where no threshold is set, it is `DEFAULT_EVENT_THRESHOLD`.

    Attributes:
        hysteresis: An event begins at the threshold, and lasts while the score is at least this part of it.
        min_duration: Shorter events are left out, in seconds.
        max_gap: Events of a class that are at most so many seconds apart are one.
    """

    hysteresis: float = 0.5
    min_duration: float = 0.0
    max_gap: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.hysteresis <= 1:
            raise UsageError(f"hysteresis must be above 0 and at most 1, not {self.hysteresis}")
        for name in ("min_duration", "max_gap"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name.replace('_', '-')} must be 0 s or more, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Which labels of the scores are shown.

    Attributes:
        top_k: Labels for each recording and window; 0 for all.
        threshold: Labels scored below it are left out; None leaves out none. One for all classes, or one for
            each, where None leaves the class out.
        include: Show only these classes: by name, mid, index or glob; `Animal/**` is a class with all below
            it.
        exclude: Leave out these classes, named in the same way.
        rollup: Whether a class gets the highest score among itself and all classes below it in the tree.
        events: How events are found; None to find none.
    """

    top_k: int = 5
    threshold: Threshold = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rollup: bool = False
    events: EventSettings | None = None

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise UsageError(f"top_k must be 0 (all) or more, not {self.top_k}")
        for one in self.threshold if isinstance(self.threshold, tuple) else (self.threshold,):
            if one is not None and not math.isfinite(one):
                raise UsageError(f"threshold must be a finite number, not {one}")


@dataclass(frozen=True, slots=True)
class TagSettings(LabelSettings):
    """How recordings are processed, and which labels are shown.

    Attributes:
        aggregate: Windows -> recording: `mean`, each window weighed by the seconds it newly covers, or `max`.
        channel: Channel number from 1; None for the mean of all.
        window: Seconds in a window; None for the model's length.
        hop: Seconds from one window to the next; None for the window's length.
        short: A window shorter than the network's: `pad` it, as the reference does; `repeat` it until it is
            full; or `crop` the network to as many tokens as it needs.
        timeline: Whether to keep the labels of each window.
        keep_scores: Whether to keep all scores of each window.
    """

    aggregate: Aggregation = "mean"
    channel: int | None = None
    window: float | None = None
    hop: float | None = None
    short: Short = "pad"
    timeline: bool = False
    keep_scores: bool = False

    def __post_init__(self) -> None:
        LabelSettings.__post_init__(self)
        require_choice("aggregate", self.aggregate, get_args(Aggregation))
        require_choice("way with short clips", self.short, get_args(Short))


class TagOptions(TypedDict, total=False):
    """The fields of `TagSettings` as keyword arguments, for the type checker; a test holds them together."""

    top_k: int
    threshold: Threshold
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    rollup: bool
    events: EventSettings | None
    aggregate: Aggregation
    channel: int | None
    window: float | None
    hop: float | None
    short: Short
    timeline: bool
    keep_scores: bool


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How a checkpoint is opened and its network run; see `Tagger.from_pretrained`.

    Attributes:
        revision: Hub branch, tag or commit; the default branch if None.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: Number format of the network.
        attn: Attention.
        engine: What runs the network.
        compile: Whether torch compiles the network first.
        scores: What a score is; `auto` follows the checkpoint.
        offline: Never touch the network.
    """

    revision: str | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    attn: Attention = "auto"
    engine: EngineName = "torch"
    compile: bool = False
    scores: Scores = "auto"
    offline: bool = False

    def __post_init__(self) -> None:
        require_choice("scores", self.scores, get_args(Scores))


def in_words(scores: str) -> str:
    """What scores of this kind are called: `sigmoid scores`, but `logits`."""
    return scores if scores == "logits" else f"{scores} scores"


def require_choice(what: str, given: str, choices: Sequence[str]) -> None:
    """Raise UsageError unless `given` is one of `choices`."""
    if given not in choices:
        raise UsageError(f"no such {what}: {given}", f"Choose one of {', '.join(choices)}")
