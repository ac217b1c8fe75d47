"""Why a label: which patches of a window speak for it, by occlusion, by gradients or by attention alone.

Heat lies on the grid of patches, [frequency patches, time patches], and is zero where no patch holds audio.
How far it can be believed is measured with it: the score that is lost when the hottest tenth of the patches
is taken away, beside what tenths drawn at random lose. Knows nothing of files and pictures.

What is taken away is replaced by silence, or by padding. Padding is zero before it is normalized, which as
log-mel energy is far louder than most sounds: in a quiet place it is a sound of its own, and may cost a score
more there than the loss of what the label was given for.

Shapes: L labels, F frequency patches, P time patches, T frames, M mel bins, N tokens, H heads, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.engines.torch_engine import TorchEngine
from ast_cli.errors import InputError, UsageError
from ast_cli.explain.patches import Grid, Spot, largest_spot
from ast_cli.features.extractor import ENERGY_FLOOR, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.settings import require_choice
from ast_cli.tagger import Tagger

Method = Literal["occlusion", "gradient", "rollout"]
Fill = Literal["silence", "padding"]

BLOCK_PARTS = (4, 16)  # of frequency and time: occlusion takes away one of these at a time
FINE_PARTS = (8, 32)
SILENCE = math.log(ENERGY_FLOOR)
FILLS = {"silence": SILENCE, "padding": 0.0}  # log-mel energies
STRONGEST = 0.1  # of the patches that hold audio
RANDOM_TENTHS = 8
LOUDEST_SILENCE = SILENCE + 1e-3  # of samples that are all zero, but for rounding
SPECIAL_TOKENS = 2  # cls and distillation, before those of the patches


@dataclass(frozen=True)
class LabelHeat:
    """Why one label.

    Attributes:
        index: Of the class.
        mid: AudioSet's machine id; empty where the checkpoint's labels have none.
        label: The class name.
        score: Of the window.
        heat: [F, P]; what speaks for the label is above zero, and what speaks against it, below. In log-odds
            that are lost without the patch, for occlusion; for the others, of no unit.
        lost: Score that is lost without the hottest tenth.
        random: Score that is lost without a tenth drawn at random, the mean of `RANDOM_TENTHS`.
        spot: Where the largest connected part of the hottest tenth lies.
    """

    index: int
    mid: str
    label: str
    score: float
    heat: NDArray[np.float32]
    lost: float
    random: float
    spot: Spot


@dataclass(frozen=True)
class Explanation:
    """Why a window has its labels.

    Attributes:
        method: One of `Method`.
        grid: Where patches lie.
        frames: [T, M], the log-mel energies of the window, padding included.
        labels: In the order that they were asked for, or by score.
        fill: One of `Fill`.
        passes: Forward passes through the network, backward ones included.
        scores: `sigmoid` or `softmax`.
    """

    method: Method
    grid: Grid
    frames: NDArray[np.float32]
    labels: tuple[LabelHeat, ...]
    fill: Fill
    passes: int
    scores: str

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Heat [L, F, P] and spectrogram [T, M] with their axes in seconds and Hz, and the labels [L]."""
        rows, columns = self.grid.shape
        times = np.array([self.grid.seconds(column) for column in range(columns)])
        bands = np.array([self.grid.hertz(row) for row in range(rows)])
        starts = self.grid.start + np.arange(len(self.frames)) / FRAMES_PER_SECOND
        return {
            "heat": np.stack([one.heat for one in self.labels]),
            "patch_start_s": times[:, 0],
            "patch_end_s": times[:, 1],
            "patch_low_hz": bands[:, 0],
            "patch_high_hz": bands[:, 1],
            "heard_patches": np.array(self.grid.with_audio),
            "log_mel": self.frames,
            "frame_start_s": starts,
            "mel_edges_hz": self.grid.mel_edges,
            **{
                name: np.array([getattr(one, name) for one in self.labels])
                for name in ("index", "mid", "label", "score", "lost", "random")
            },
            "method": np.array(self.method),
            "fill": np.array(self.fill),
        }


def explain(
    tagger: Tagger,
    frames: Tensor,
    length: int,
    start: float = 0.0,
    *,
    labels: Sequence[int] = (),
    top_k: int = 3,
    method: Method = "occlusion",
    fill: Fill = "silence",
    fine: bool = False,
    seed: int = 0,
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> Explanation:
    """Say which patches of a window speak for its labels.

    Args:
        tagger: Of one checkpoint that torch runs.
        frames: [T, M], unnormalized, padded.
        length: Frames that hold audio.
        start: Of the window in the recording, in seconds.
        labels: Indices of classes; the `top_k` of the highest scores if there are none.
        top_k: Their number.
        method: `occlusion` takes parts away and sees what is lost; `gradient` weighs attention by its
            gradient (arXiv 2103.15679); `rollout` follows attention alone, and is the same for all labels
            (arXiv 2005.00928).
        fill: What is put in the place of what is taken away.
        fine: Whether occlusion takes blocks of half the height and width.
        seed: Of the random tenths.
        on_pass: Told how many passes through the network are done, and how many there will be.

    Raises:
        InputError: The window holds no sound at all.
        UsageError: There is no such method or fill, or the tagger has several checkpoints.
    """
    require_choice("method", method, get_args(Method))
    require_choice("fill", fill, get_args(Fill))
    [engine, *others] = tagger.engines
    if others or not isinstance(engine, TorchEngine):
        raise UsageError("one checkpoint is explained at a time, with torch", "Name one with --model")
    if float(frames[:length].max()) <= LOUDEST_SILENCE:
        raise InputError(
            "silent",
            "the window holds no sound at all, so that no part of it speaks for a label",
            "Choose another with --at",
        )
    grid = Grid(engine.config, tagger.extractor.sampling_rate, start, length)
    scored_by = "sigmoid" if tagger.scores == "logits" else tagger.scores
    network = _Network(engine, tagger.extractor, scored_by, on_pass)
    whole = network.log_odds(frames[None])[0]
    scores = whole.sigmoid()
    chosen = list(labels) or scores.argsort(descending=True, stable=True)[:top_k].tolist()
    parts = FINE_PARTS if fine else BLOCK_PARTS
    blocks = sum(1 for _ in _blocks(grid, parts))
    own = {"occlusion": blocks, "gradient": 1 + len(chosen), "rollout": 1}[method]
    network.expected = network.passes + own + len(chosen) + RANDOM_TENTHS
    if method == "occlusion":
        heat = occlusion(network, frames, grid, whole, chosen, FILLS[fill], parts)
    elif method == "gradient":
        heat = gradient(network, frames, grid, chosen)
    else:
        heat = rollout(network, frames, grid).expand(len(chosen), -1, -1)
    heat = heat * (torch.arange(grid.shape[1]) < grid.with_audio)
    hottest = [strongest(one, grid.with_audio) for one in heat]
    chance = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(grid.shape, generator=chance) for _ in range(RANDOM_TENTHS))
    tenths = [*hottest, *(strongest(one, grid.with_audio) for one in drawn)]
    without = network.log_odds(_without(frames, grid, tenths, FILLS[fill])).sigmoid()
    found = []
    for number, index in enumerate(chosen):
        lost = scores[index] - without[:, index]
        found.append(
            LabelHeat(
                index,
                *tagger.labels[index],
                float(scores[index]),
                heat[number].numpy(),
                float(lost[number]),
                float(lost[len(chosen) :].mean()),
                largest_spot(grid, heat[number].numpy(), hottest[number].numpy()),
            )
        )
    return Explanation(method, grid, frames.numpy(), tuple(found), fill, network.passes, network.scores)


class _Network:
    """A network whose passes are counted and told; its log-odds are those of `scores`."""

    def __init__(
        self,
        engine: TorchEngine,
        extractor: ASTFeatureExtractor,
        scores: str,
        on_pass: Callable[[int, int], None],
    ) -> None:
        self.engine, self.extractor, self.scores, self._on_pass = engine, extractor, scores, on_pass
        self.passes = self.expected = 0

    def _passed(self, count: int) -> None:
        self.passes += count
        self._on_pass(self.passes, max(self.passes, self.expected))

    def log_odds(self, windows: Tensor) -> Tensor:
        """Windows [B, T, M], unnormalized -> [B, C]."""
        size = self.engine.batch_size
        logits = []
        for part in torch.split(windows, size):
            logits.append(self.engine.logits(part))
            self._passed(len(part))
        return self.as_log_odds(torch.cat(logits))

    def as_log_odds(self, logits: Tensor) -> Tensor:
        """Logits [..., C] -> the logarithm of score / (1 − score)."""
        if self.scores == "sigmoid":
            return logits
        others = ~torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
        # log p − log (1 − p), which p near 1 does not round away
        rest = logits[..., None, :].expand(*logits.shape, -1).masked_fill(~others, -torch.inf)
        return logits - rest.logsumexp(-1)

    def attentions(self, frames: Tensor, chosen: Sequence[int]) -> tuple[list[Tensor], list[list[Tensor]]]:
        """One window [T, M] -> attentions [H, N, N] of each layer, and for each label their gradients."""
        model, extractor = self.engine.model, self.extractor
        before = model.attn_implementation
        model.attn_implementation = "eager"
        try:
            with torch.enable_grad():
                window = frames[None].to(self.engine.device)
                if extractor.do_normalize:
                    window = extractor.normalize(window)
                output = model(window.requires_grad_(bool(chosen)), output_attentions=True, return_dict=True)
                log_odds = self.as_log_odds(output.logits[0])
                gradients = [
                    torch.autograd.grad(log_odds[index], output.attentions, retain_graph=True)
                    for index in chosen
                ]
        finally:
            model.attn_implementation = before
        self._passed(1 + len(chosen))
        return (
            [one[0].detach().cpu() for one in output.attentions],
            [[one[0].cpu() for one in each] for each in gradients],
        )


def occlusion(
    network: _Network,
    frames: Tensor,
    grid: Grid,
    whole: Tensor,
    chosen: Sequence[int],
    fill: float,
    parts: tuple[int, int],
) -> Tensor:
    """[L, F, P]: the log-odds that are lost without the block of patches that each patch is in.

    Where blocks overlap, as the last ones may, it is their mean. Blocks of nothing but padding would lose
    nothing, and are not tried.
    """
    masks = list(_blocks(grid, parts))
    heat = torch.zeros(len(chosen), *grid.shape)
    times = torch.zeros(grid.shape)
    size = network.engine.batch_size
    for now in (masks[first : first + size] for first in range(0, len(masks), size)):  # all: gigabytes
        lost = whole - network.log_odds(_without(frames, grid, now, fill))  # [B, C]
        for mask, of_block in zip(now, lost, strict=True):
            heat[:, mask] += of_block[list(chosen), None]
            times += mask
    return heat / times.clamp_min(1)


def gradient(network: _Network, frames: Tensor, grid: Grid, chosen: Sequence[int]) -> Tensor:
    """[L, F, P]: how much the pooled tokens attend to each patch, where more would raise the label."""
    attentions, gradients = network.attentions(frames, chosen)
    return torch.stack([_of_patches(relevance(attentions, each), grid) for each in gradients])


def rollout(network: _Network, frames: Tensor, grid: Grid) -> Tensor:
    """[F, P]: how much the pooled tokens attend to each patch, whatever the label."""
    return _of_patches(attention_rollout(network.attentions(frames, ())[0]), grid)


def attention_rollout(attentions: Sequence[Tensor]) -> Tensor:
    """Attentions [H, N, N] of each layer in order -> [N, N]: how much of a token (column) each (row) holds.

    Each layer is the mean of its heads, and of what it leaves as it is; rows sum to one.
    """
    mixed = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        mixed = (attention.mean(0) + torch.eye(len(mixed))) / 2 @ mixed
    return mixed


def relevance(attentions: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The same, of attentions weighed by their gradients [H, N, N] where more of them helps the label."""
    mixed = torch.eye(attentions[0].shape[-1])
    for attention, slope in zip(attentions, gradients, strict=True):
        mixed = mixed + (attention * slope).clamp_min(0).mean(0) @ mixed
    return mixed


def strongest(heat: Tensor, with_audio: int) -> Tensor:
    """[F, P] -> which are the hottest tenth of the patches that hold audio; of equal ones the first."""
    mask = torch.zeros_like(heat, dtype=torch.bool)
    flat = heat[:, :with_audio].flatten()
    chosen = flat.argsort(descending=True, stable=True)[: max(1, round(len(flat) * STRONGEST))]
    mask[chosen // with_audio, chosen % with_audio] = True
    return mask


def _blocks(grid: Grid, parts: tuple[int, int]) -> Iterator[Tensor]:
    """[F, P] of each block: which patches are in it."""
    rows, columns = (
        list(_pieces(count, max(1, round(whole / part))))
        for count, whole, part in zip((grid.shape[0], grid.with_audio), grid.shape, parts, strict=True)
    )
    for row, column in product(rows, columns):
        mask = torch.zeros(grid.shape, dtype=torch.bool)
        mask[row, column] = True
        yield mask


def _pieces(count: int, length: int) -> Iterator[slice]:
    length = min(count, length)
    for first in range(0, count, length):
        first = min(first, count - length)
        yield slice(first, first + length)


def _without(frames: Tensor, grid: Grid, masks: Sequence[Tensor], fill: float) -> Tensor:
    """[B, T, M]: the window with the patches of each mask [F, P] taken away, as far as it holds audio."""
    windows = frames.repeat(len(masks), 1, 1)
    for window, mask in zip(windows, masks, strict=True):
        for row, column in mask.nonzero().tolist():
            window[slice(*grid.frames(column)), slice(*grid.bins(row))] = fill
    windows[:, grid.length :] = frames[grid.length :]
    return windows


def _of_patches(mixed: Tensor, grid: Grid) -> Tensor:
    """[N, N] -> [F, P]: the patches' part in the two tokens that are pooled."""
    pooled = mixed[:SPECIAL_TOKENS, SPECIAL_TOKENS:].mean(0)
    return pooled.view(grid.shape)
