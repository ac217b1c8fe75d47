"""Examples -> batches, so that any batch of any epoch can be made again from the seed and its number.

An example knows its epoch, its position there and its index, and draws all its chance from them: batches are
the same for any number of loader processes, and a run that was cut off goes on with the batch it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ast_cli.errors import AstCliError
from ast_cli.features.extractor import ASTFeatureExtractor

AS_IT_IS = -1  # the epoch of examples for validation, in which nothing is left to chance


@dataclass(frozen=True)
class Example:
    """One clip to learn from.

    Attributes:
        frames: [T', M], fbank neither padded nor normalized.
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
        input_values: [B, T, M], padded and normalized.
        lengths: [B], frames that are not padding.
        targets: [B, C].
        columns: [B, time patches, C] or None.
        stand_ins: [B], whether an example stands, wholly or in part, for a clip that could not be read.
        failed: As in `Example`.
    """

    input_values: Tensor
    lengths: Tensor
    targets: Tensor
    columns: Tensor | None
    stand_ins: Tensor
    failed: list[tuple[str, str]] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU copies from; torch's loader calls it by this name."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **changed)


class ExampleSource(Protocol):
    """Where examples come from."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        """Make one; in the epoch `AS_IT_IS` nothing of it may depend on `rng`."""
        ...


class SeededExamples(TorchDataset["Example | AstCliError"]):
    """Hands each example its own chance; keys are (epoch, position, index).

    An error of ours is handed on, not raised: on its way out of a loader's process it would lose its type.
    """

    def __init__(self, source: ExampleSource, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int, int]) -> Example | AstCliError:
        epoch, position, index = key
        rng = np.random.default_rng((self.seed, epoch - AS_IT_IS, position))
        try:
            return self.source.example(index, epoch, rng)
        except AstCliError as error:
            return error


class EpochBatches:
    """The keys of each batch of an epoch: `epoch` and `skip` are set before it is iterated.

    Args:
        count: Number of examples.
        batch_size: Keys in a batch; the last one may hold fewer.
        seed: Of the order.
        weights: [count], how likely each is drawn, with replacement; None for each once.
        shuffle: Whether the order is left to chance.
        processes: Among which batches are dealt out in turn. If there are several, the order starts over at
            its end until each gets as many full batches.
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
        processes: int = 1,
    ) -> None:
        round_size = batch_size * processes if processes > 1 else 1
        self.total = -(-count // round_size) * round_size
        self.count, self.batch_size, self.seed, self.shuffle = count, batch_size, seed, shuffle
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self.epoch = AS_IT_IS
        self.skip = 0

    def __len__(self) -> int:
        return -(-self.total // self.batch_size) - self.skip

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        order = self._order()
        for start in range(self.skip * self.batch_size, self.total, self.batch_size):
            yield [
                (self.epoch, position, int(order[position % self.count]))
                for position in range(start, min(start + self.batch_size, self.total))
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
    """Pads and normalizes examples as tagging does, and stacks them."""

    extractor: ASTFeatureExtractor

    def __call__(self, found: list[Example | AstCliError]) -> Batch | AstCliError:
        """Stack examples; hands on the first error among them."""
        examples = []
        for example in found:
            if isinstance(example, AstCliError):
                return example
            examples.append(example)
        longest = self.extractor.max_length
        windows = torch.stack([self.extractor.pad(example.frames[:longest]) for example in examples])
        columns = [example.columns for example in examples if example.columns is not None]
        return Batch(
            input_values=self.extractor.normalize(windows) if self.extractor.do_normalize else windows,
            lengths=torch.tensor([min(len(example.frames), longest) for example in examples]),
            targets=torch.stack([example.targets for example in examples]),
            columns=torch.stack(columns) if len(columns) == len(examples) else None,
            stand_ins=torch.tensor([bool(example.failed) for example in examples]),
            failed=[failure for example in examples for failure in example.failed],
        )


def make_loader(
    source: ExampleSource,
    batches: EpochBatches,
    extractor: ASTFeatureExtractor,
    workers: int,
    *,
    pinned: bool,
) -> DataLoader[Any]:
    """What hands out the batches of an epoch.

    `workers` processes make the examples, 0 for none but this one; their chance has the seed of `batches`.
    Batches are `pinned` where they go to a GPU, which copies faster from pinned memory.
    """
    return DataLoader(
        SeededExamples(source, batches.seed),
        batch_sampler=batches,
        collate_fn=Collate(extractor),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )
