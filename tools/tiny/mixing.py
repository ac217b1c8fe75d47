"""Examples from the bank, mixed afresh each time as log-mel energies.

Powers of sounds that have nothing to do with each other add up, so a mixture is the `logaddexp` of its
parts; a gain is a constant, a filter an offset for each mel bin. It is the waveform's mixture but for
interference within a bin, at a hundredth of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from bank import MEL_BINS, Bank, Entry, with_parents

from ast_cli.features.extractor import ENERGY_FLOOR, FRAMES_PER_SECOND
from ast_cli.training.examples import AS_IT_IS, Example

FLOOR = float(np.log(ENERGY_FLOOR))
FRAMES = 1024
DECIBEL = np.log(10) / 10  # of power, in the features' natural logarithm
AUDIBLE = 40 * DECIBEL  # below its loudest frame, a sound is over
SHARES = {"speech": 0.18, "music": 0.27, "unlabelled": 0.05}  # of what is drawn; the rest are defined sounds
LOUD, QUIET = 0.0, -38.0  # range of levels in dB; the bank's sounds peak near full scale
HIGHEST_HZ = 8000.0


class Mixer:
    """Makes examples of one or several sounds.

    Args:
        bank: Where the sounds are.
        classes: Names in the order of the targets.
        count: Examples in an epoch.
        first_alone: Epochs that only have single sounds of four seconds or more, or the longest there are.
        mixed: Part of the examples after that which hold two or three sounds.
    """

    def __init__(
        self, bank: Bank, classes: Sequence[str], count: int, first_alone: int = 0, mixed: float = 0.5
    ) -> None:
        self.bank, self.count, self.first_alone, self.mixed = bank, count, first_alone, mixed
        self.classes = list(classes)
        index = {name: number for number, name in enumerate(classes)}
        self.targets = []
        self.groups: dict[str, dict[str, list[int]]] = {}
        for number, entry in enumerate(bank.entries):
            target = np.zeros(len(classes), np.float32)
            target[[index[name] for name in with_parents(entry.labels) if name in index]] = 1
            self.targets.append(target)
            group = entry.kind if entry.kind in SHARES else "defined"
            # Within a group each class has the same chance, however many sounds it has.
            for label in entry.labels or ("",):
                self.groups.setdefault(group, {}).setdefault(label, []).append(number)
        self.names = list(self.groups)
        shares = np.array([SHARES.get(name, 1 - sum(SHARES.values())) for name in self.names])
        self.shares = shares / shares.sum()
        self.noises = [n for n, entry in enumerate(bank.entries) if entry.kind == "unlabelled"]

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        """Mix one."""
        if epoch == AS_IT_IS:
            rng = np.random.default_rng((77, index))
        alone = epoch != AS_IT_IS and epoch < self.first_alone
        count = 1 if alone or rng.random() >= self.mixed else int(rng.choice([2, 2, 3]))
        numbers = [self._draw(rng, alone) for _ in range(count)]
        if "Silence" in self.bank.entries[numbers[0]].labels:
            numbers = numbers[:1]
        else:
            numbers = [n for n in numbers if "Silence" not in self.bank.entries[n].labels]
        length = self._length(numbers, alone, rng)
        mixture = np.full((length, MEL_BINS), FLOOR, np.float32)
        targets = np.zeros(len(self.classes), np.float32)
        sounding = np.zeros((length, len(self.classes)), bool)
        level = rng.uniform(QUIET, LOUD)
        colour = self._filter(rng)  # of the recording as a whole
        for number in numbers:
            entry = self.bank.entries[number]
            if "Silence" in entry.labels:
                placed, at = self._place(entry, length, rng)
                mixture[at : at + len(placed)] = placed
                targets = np.maximum(targets, self.targets[number])
                sounding[:] |= self.targets[number] > 0
                continue
            placed, at = self._place(entry, length, rng)
            own = level + (rng.uniform(-8, 4) if len(numbers) > 1 else 0.0)
            placed = self._vary(placed, rng) + own * DECIBEL + colour
            part = mixture[at : at + len(placed)]
            np.logaddexp(part, placed, out=part)
            loudness = placed.max(axis=1)
            heard = loudness > max(loudness.max() - AUDIBLE, FLOOR + 1)
            targets = np.maximum(targets, self.targets[number])
            sounding[at : at + len(placed)] |= heard[:, None] & (self.targets[number] > 0)
        if "Silence" not in self.bank.entries[numbers[0]].labels and rng.random() < 0.7:
            noise = self._noise(length, level - rng.uniform(12, 50), rng) + colour
            np.logaddexp(mixture, noise, out=mixture)
        np.maximum(mixture, FLOOR, out=mixture)
        return Example(
            frames=torch.from_numpy(mixture),
            targets=torch.from_numpy(targets),
            columns=torch.from_numpy(_by_column(sounding)),
        )

    def _draw(self, rng: np.random.Generator, alone: bool) -> int:
        by_label = self.groups[self.names[rng.choice(len(self.names), p=self.shares)]]
        labels = list(by_label)
        numbers = by_label[labels[rng.integers(len(labels))]]
        if not alone:
            return int(numbers[rng.integers(len(numbers))])
        # The longest of a few: a first acquaintance wants enough to hear.
        some = [int(numbers[rng.integers(len(numbers))]) for _ in range(4)]
        return max(some, key=lambda number: self.bank.entries[number].length)

    def _length(self, numbers: list[int], alone: bool, rng: np.random.Generator) -> int:
        longest = max(self.bank.entries[number].length for number in numbers)
        if alone or rng.random() < 0.4:
            return min(FRAMES, max(longest, 50))
        return int(np.clip(longest * rng.uniform(0.6, 2.5), 40, FRAMES))

    def _place(self, entry: Entry, length: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """A sound's frames, cut where they do not fit, and the frame where they start."""
        frames = self.bank.of(entry)
        if len(frames) > length:
            start = int(rng.integers(len(frames) - length + 1))
            # Never a stretch in which the sound has died away.
            loudness = frames.max(axis=1)
            if loudness[start : start + length].max() < loudness.max() - AUDIBLE / 2:
                start = max(0, min(int(loudness.argmax()) - length // 3, len(frames) - length))
            return frames[start : start + length], 0
        return frames, int(rng.integers(length - len(frames) + 1))

    def _vary(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Another microphone and, now and then, a slightly other pitch or tempo."""
        if rng.random() < 0.3:
            shift = int(rng.integers(-3, 4))
            frames = np.roll(frames, shift, axis=1)
            if shift > 0:
                frames[:, :shift] = FLOOR
            elif shift < 0:
                frames[:, shift:] = FLOOR
        if rng.random() < 0.3:
            speed = rng.uniform(0.85, 1.18)
            index = np.minimum(np.arange(0, len(frames) - 0.5, speed).round().astype(int), len(frames) - 1)
            frames = frames[index[: len(frames)]]
        return frames + self._filter(rng)

    def _filter(self, rng: np.random.Generator) -> np.ndarray:
        """An offset for each mel bin, [128]: gentle slopes and bumps, sometimes a band limit."""
        knots = rng.normal(0, 3.5 * DECIBEL, 6)
        offset = np.interp(np.arange(MEL_BINS), np.linspace(0, MEL_BINS - 1, 6), knots)
        if rng.random() < 0.12:  # telephones, old recordings, 8 kHz files
            cutoff = _bin_of(rng.choice([3400.0, 4000.0, rng.uniform(2500, 7000)]))
            depth = rng.uniform(25, 100) * DECIBEL
            offset = offset - depth * np.clip((np.arange(MEL_BINS) - cutoff) / rng.uniform(1, 6), 0, 1)
        if rng.random() < 0.12:  # small loudspeakers, wind filters
            cutoff = _bin_of(rng.uniform(60, 400))
            offset = offset - rng.uniform(10, 50) * DECIBEL * np.clip(
                (cutoff - np.arange(MEL_BINS)) / 4, 0, 1
            )
        return offset.astype(np.float32)

    def _noise(self, length: int, level: float, rng: np.random.Generator) -> np.ndarray:
        """Background without a label, as long as is wanted."""
        frames = self.bank.of(self.bank.entries[self.noises[rng.integers(len(self.noises))]])
        start = int(rng.integers(len(frames)))
        index = (start + np.arange(length)) % len(frames)
        return frames[index] + np.float32(level * DECIBEL)


def _bin_of(hertz: float) -> float:
    def mel(frequency: float) -> float:
        return 1127.0 * float(np.log1p(frequency / 700.0))

    return (mel(hertz) - mel(20.0)) / (mel(HIGHEST_HZ) - mel(20.0)) * MEL_BINS


def _by_column(sounding: np.ndarray) -> np.ndarray:
    """[T, C] -> [64, C]: what sounds anywhere under each column of 16 frames."""
    whole = np.zeros((FRAMES, sounding.shape[1]), bool)
    whole[: len(sounding)] = sounding
    return whole.reshape(FRAMES // 16, 16, -1).any(axis=1).astype(np.float32)


assert FRAMES_PER_SECOND == 100
