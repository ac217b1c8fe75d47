"""Examples -> batches, so that any batch of any epoch can be made again from the seed and its number.

An example knows its epoch, its position there and its index, and draws all its chance from them: batches are
the same for any number of loader processes, and a run that was cut off goes on with the batch it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from ast_cli.features import ASTFeatureExtractor

AS_IT_IS = -1  # the epoch of examples for validation, in which nothing is left to chance


@dataclass(frozen=True)
class Example:
    """One clip to learn from.

    Attributes:
        frames: [T', M], fbank neither padded nor normalised.
        targets: [C], 0 to 1.
        columns: [time patches, C], 0 to 1: what sounds under each column of patches, where that is known.
        failed: Clips that could not be read, in whose place this one stands: (file, cause).
    """

    frames: Tensor
    targets: Tensor
    columns: Tensor | None = None
    failed: tuple[tuple[str, str], ...] = ()


@dataclass
class Batch:
    """Examples side by side.

    Attributes:
        input_values: [B, T, M], padded and normalised.
        lengths: [B], frames that are not padding.
        targets: [B, C].
        columns: [B, time patches, C] or None.
        failed: As in `Example`.
    """

    input_values: Tensor
    lengths: Tensor
    targets: Tensor
    columns: Tensor | None = None
    failed: list[tuple[str, str]] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        columns = None if self.columns is None else self.columns.to(device, non_blocking=True)
        tensors = (self.input_values, self.lengths, self.targets)
        input_values, lengths, targets = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return Batch(input_values, lengths, targets, columns, self.failed)


class ExampleSource(Protocol):
    """Where examples come from."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        """Make one; in the epoch `AS_IT_IS` nothing of it may depend on `rng`."""
        ...


class SeededExamples(TorchDataset[Example]):
    """Hands each example its own chance; keys are (epoch, position, index)."""

    def __init__(self, source: ExampleSource, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int, int]) -> Example:
        epoch, position, index = key
        rng = np.random.default_rng((self.seed, epoch - AS_IT_IS, position))
        return self.source.example(index, epoch, rng)


class EpochBatches:
    """The keys of each batch of an epoch: `epoch` and `skip` are set before it is iterated.

    Args:
        count: Number of examples.
        batch_size: Keys in a batch; the last one may hold fewer.
        seed: Of the order.
        weights: [count], how likely each is drawn, with replacement; None for each once.
        shuffle: Whether the order is left to chance.
    """

    drop_last = False

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        *,
        shuffle: bool = True,
    ) -> None:
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self.epoch = AS_IT_IS
        self.skip = 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size) - self.skip

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        order = self._order()
        for start in range(self.skip * self.batch_size, self.count, self.batch_size):
            yield [
                (self.epoch, position, int(order[position]))
                for position in range(start, min(start + self.batch_size, self.count))
            ]

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.count)
        rng = np.random.default_rng((self.seed, self.epoch - AS_IT_IS))
        if self.weights is None:
            return rng.permutation(self.count)
        return rng.choice(self.count, self.count, p=self.weights / self.weights.sum())


@dataclass(frozen=True)
class Collate:
    """Pads and normalises examples as tagging does, and stacks them."""

    extractor: ASTFeatureExtractor

    def __call__(self, examples: list[Example]) -> Batch:
        """Stack `examples`."""
        longest = self.extractor.max_length
        windows = torch.stack([self.extractor.pad(example.frames[:longest]) for example in examples])
        columns = [example.columns for example in examples if example.columns is not None]
        return Batch(
            input_values=self.extractor.normalize(windows) if self.extractor.do_normalize else windows,
            lengths=torch.tensor([min(len(example.frames), longest) for example in examples]),
            targets=torch.stack([example.targets for example in examples]),
            columns=torch.stack(columns) if len(columns) == len(examples) else None,
            failed=[failure for example in examples for failure in example.failed],
        )
