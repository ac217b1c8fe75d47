"""How a network is trained: every number of the recipe, each with its default, written once."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias, get_args

from ast_cli.errors import UsageError
from ast_cli.settings import TorchDtype, require_choice

Optimizer: TypeAlias = Literal["auto", "adamw", "muon"]
Size: TypeAlias = Literal["tiny", "small", "base"]
Schedule: TypeAlias = Literal["cosine", "linear", "constant"]

LR, LR_WIDTH = 3e-5, 768  # of the backbone, in fine-tuning; narrower networks bear and need more
UNSETTLED_FACTOR = 2.0  # how much more a network bears that is from scratch, or narrow enough for Muon
HEAD_FACTOR = 4.0  # a new classifier has to learn more than the backbone
WIDEST_FOR_MUON = 384  # `auto` leaves wider networks, which come trained for long, to AdamW
PATIENCE = 10  # epochs
MOST_WARP = 0.5  # part by which tempo and pitch may change; at 1 a clip would have no end
EMA_STEPS, SLOWEST_EMA = 20.0, 0.999  # the average forgets over a 20th of the steps


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training clips.
        batch_size: Clips in a forward pass of one process.
        accumulate: Forward passes in a step.
        lr: Learning rate of the backbone at its highest; None for one that suits its width.
        head_lr: Learning rate of the classifier at its highest; None for `HEAD_FACTOR` times `lr`.
        warmup: Part of all steps in which the rates climb from 0.
        schedule: How the rates fall to 0 after that, or that they stay.
        weight_decay: Decoupled, on matrices only.
        optimizer: `adamw`, or `muon` for the matrices of the blocks and AdamW for the rest, which learns
            faster from few clips and in small networks; `auto` goes by the width.
        clip_norm: Gradients are scaled down to this norm; 0 leaves them alone.
        ema: Decay a step of the running average of the weights that is validated and kept; 0 keeps the
            weights themselves, None goes by the number of steps.
        patchout: Part of the patches that a forward pass in training leaves out (arXiv 2110.05069).
        whole_from: Part of all steps after which no patch is left out any more.
        column_weight: Weight of the loss on when each class sounds, for examples that know it.
        keep: Whether the checkpoint with the best validation score (the lowest loss among equals) or the last
            one is kept.
        patience: Epochs without a better score after which training stops; 0 goes on to the end. None stops
            after `PATIENCE` epochs in which neither the score nor, at the same score, the loss got better:
            few validation clips are soon all told apart, long before the network knows others.
        dtype: Number format of the forward pass; weights stay float32.
        seed: Of everything that chance decides.
        save_minutes: How often the state that `resume` goes on from is saved.
    """

    epochs: int = 20
    batch_size: int = 32
    accumulate: int = 1
    lr: float | None = None
    head_lr: float | None = None
    warmup: float = 0.05
    schedule: Schedule = "cosine"
    weight_decay: float = 0.01
    optimizer: Optimizer = "auto"
    clip_norm: float = 1.0
    ema: float | None = None
    patchout: float = 0.0
    whole_from: float = 0.8
    column_weight: float = 0.0
    keep: Literal["best", "last"] = "best"
    patience: int | None = None
    dtype: TorchDtype = "auto"
    seed: int = 0
    save_minutes: float = 10.0

    def __post_init__(self) -> None:
        _require(self, ("epochs", "batch_size", "accumulate"), 1)
        _require(self, ("warmup", "patchout", "whole_from"), 0, 1)
        if self.patchout == 1:
            raise UsageError("patchout must be below 1, not 1.0")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise UsageError(f"ema must be 0 or more and below 1, not {self.ema}")
        _require(self, ("weight_decay", "clip_norm", "column_weight", "save_minutes", "seed"), 0)
        _require(self, () if self.patience is None else ("patience",), 0)
        for name in ("lr", "head_lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name.replace('_', '-')} must be above 0, not {value}")
        require_choice("optimizer", self.optimizer, get_args(Optimizer))
        require_choice("schedule", self.schedule, get_args(Schedule))
        require_choice("dtype", self.dtype, get_args(TorchDtype))
        if self.optimizer == "muon" and self.dtype == "float16":
            # float16's gradients are scaled, and accelerate scales them back for one optimiser only.
            raise UsageError("muon does not train in float16", "Use --dtype bfloat16 or float32")

    def fitted(self, hidden_size: int, *, fresh: bool = False) -> TrainSettings:
        """The same with what was left open filled in for a network: its rates and its optimiser.

        Args:
            hidden_size: The network's width.
            fresh: Whether it starts from scratch; then the backbone has as much to learn as the classifier.
        """
        lr = self.lr
        if lr is None:
            unsettled = fresh or hidden_size <= WIDEST_FOR_MUON
            lr = LR * (LR_WIDTH / hidden_size) ** 2 * (UNSETTLED_FACTOR if unsettled else 1)
        head_lr = self.head_lr
        if head_lr is None:
            head_lr = lr if fresh else lr * HEAD_FACTOR
        optimizer = self.optimizer
        if optimizer == "auto":
            fits = hidden_size <= WIDEST_FOR_MUON and self.dtype != "float16"
            optimizer = "muon" if fits else "adamw"
        return replace(self, lr=lr, head_lr=head_lr, optimizer=optimizer)

    @property
    def highest_rates(self) -> tuple[float, float]:
        """The learning rates of backbone and classifier of fitted settings."""
        assert self.lr is not None
        assert self.head_lr is not None
        return self.lr, self.head_lr

    def ema_decay(self, steps: int) -> float:
        """The decay of the running average in a run of so many steps; 0 for no average."""
        return max(0.0, min(SLOWEST_EMA, 1 - EMA_STEPS / steps)) if self.ema is None else self.ema

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps` as a part of the highest."""
        warmup = round(self.warmup * steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))

    def differences(self, other: TrainSettings) -> list[str]:
        """The names of the settings that differ and change what is learnt."""
        names = (item.name for item in fields(self) if item.name != "save_minutes")
        return [name for name in names if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class AugmentationSettings:
    """What may happen to a clip, and how strongly.

    Attributes:
        mixup: Part of the clips that are mixed with another one; their targets are mixed alike.
        freq_mask: Most mel bins that a mask covers.
        time_mask: Most of a clip that a mask covers, as a part of its frames.
        tempo: Largest change of tempo, as a part of it; the pitch stays.
        pitch: Largest change of pitch and resonances, as a part of it; the tempo stays.
        tone: Largest change of level of a part of the spectrum, in dB, as microphones and rooms make it.
        gain: Largest change of level, in dB.
        roll: Longest shift in time, in seconds, and at most a tenth of the clip; what leaves at one end comes
            in at the other.
        noise: Part of the clips that get white noise.
    """

    mixup: float = 0.5
    freq_mask: int = 16
    time_mask: float = 0.15
    tempo: float = 0.2
    pitch: float = 0.2
    tone: float = 6.0
    gain: float = 6.0
    roll: float = 0.1
    noise: float = 0.25

    def __post_init__(self) -> None:
        _require(self, ("mixup", "time_mask", "noise"), 0, 1)
        _require(self, ("tempo", "pitch"), 0, MOST_WARP)
        _require(self, ("freq_mask", "gain", "roll", "tone"), 0, sys.float_info.max)


def _require(settings: object, names: tuple[str, ...], least: int, most: float = math.inf) -> None:
    for name in names:
        value = getattr(settings, name)
        if not least <= value <= most:
            wanted = f"{least} to {most}" if most <= 1 else f"{least} or more"
            raise UsageError(f"{name.replace('_', '-')} must be {wanted}, not {value}")
