"""Batches depend on seed, epoch and position, and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from ast_cli.errors import AstCliError, InputError
from ast_cli.training.examples import AS_IT_IS, Batch, Collate, EpochBatches, Example, SeededExamples
from tests.training.practice import EXTRACTOR, FRAMES, Drawn

repeatable = settings(deadline=None, derandomize=True, database=None)

Keys = list[list[tuple[int, int, int]]]


def batches(
    count: int, batch_size: int, epoch: int = 0, skip: int = 0, seed: int = 0, **more: object
) -> EpochBatches:
    found = EpochBatches(count, batch_size, seed, **more)  # type: ignore[arg-type]
    found.epoch, found.skip = epoch, skip
    return found


def keys(*args: int, **more: object) -> Keys:
    return list(batches(*args, **more))  # type: ignore[arg-type]


counts = st.integers(1, 40)
sizes = st.integers(1, 9)


@repeatable
@given(counts, sizes, st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_each_example_once_an_epoch(count: int, size: int, epoch: int, seed: int, shuffle: bool) -> None:
    found = keys(count, size, epoch, seed=seed, shuffle=shuffle)
    assert len(found) == len(batches(count, size))
    flat = [key for batch in found for key in batch]
    assert [position for _, position, _ in flat] == list(range(count))
    assert sorted(index for _, _, index in flat) == list(range(count))
    assert {one for one, _, _ in flat} == {epoch}
    assert all(len(batch) == size for batch in found[:-1])


@repeatable
@given(counts, sizes, st.integers(0, 40), st.integers(0, 3), st.integers(1, 3), st.booleans())
def test_a_skip_leaves_the_tail(
    count: int, size: int, skip: int, epoch: int, processes: int, weighted: bool
) -> None:
    more = {"processes": processes, "weights": [1.0 + i for i in range(count)] if weighted else None}
    whole = keys(count, size, epoch, **more)
    skip = min(skip, len(whole))
    tail = batches(count, size, epoch, skip, **more)
    assert list(tail) == whole[skip:]
    assert len(tail) == len(whole) - skip


@repeatable
@given(counts, sizes, st.integers(2, 4))
def test_several_processes_get_as_many_full_batches(count: int, size: int, processes: int) -> None:
    found = keys(count, size, processes=processes)
    assert len(found) % processes == 0
    assert all(len(batch) == size for batch in found)
    order = [index for batch in found for _, _, index in batch]
    assert sorted(order[:count]) == list(range(count))
    assert order[count:] == list(itertools.islice(itertools.cycle(order[:count]), len(order) - count))
    positions = [position for batch in found for _, position, _ in batch]
    assert positions == list(range(len(order)))  # so that what is met twice is varied anew


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    orders = [
        [index for batch in keys(30, 4, epoch, seed=seed) for *_, index in batch]
        for seed, epoch in itertools.product(range(3), range(3))
    ]
    assert len({tuple(order) for order in orders}) == 9
    assert keys(30, 4, 2, seed=1) == keys(30, 4, 2, seed=1)


def test_weights_say_how_often_each_is_drawn() -> None:
    weights = [0.0] * 100 + [1.0] * 100 + [3.0] * 100
    drawn = [
        index for epoch in range(40) for batch in keys(300, 7, epoch, weights=weights) for *_, index in batch
    ]
    counts = np.bincount(drawn, minlength=300).reshape(3, 100).sum(axis=1)
    assert counts[0] == 0
    assert counts[2] / counts[1] == pytest.approx(3, rel=0.1)


class Telling:
    """An example tells what chance it was handed, and in which process."""

    def __len__(self) -> int:
        return 11

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        torch.rand(index)  # the process' own chance must not matter
        np.random.random(index)
        return Example(torch.from_numpy(rng.random((5, 128), dtype=np.float32)), torch.tensor([float(index)]))


def loaded(workers: int, seed: int = 0, skip: int = 0) -> list[Batch]:
    loader = DataLoader(
        SeededExamples(Telling(), seed),
        batch_sampler=batches(11, 3, epoch=2, skip=skip, seed=seed),  # type: ignore[arg-type]
        collate_fn=Collate(EXTRACTOR),
        num_workers=workers,
    )
    return list(loader)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.input_values, b.input_values) and torch.equal(a.targets, b.targets)
        for a, b in zip(one, other, strict=True)
    )


def test_batches_are_the_same_for_any_number_of_workers() -> None:
    expected = loaded(0)
    assert same(loaded(2), expected)
    assert same(loaded(1, skip=2), expected[2:])
    assert not same(loaded(0, seed=1), expected)


def test_two_positions_have_different_chance() -> None:
    made = SeededExamples(Telling(), 0)
    frames = [made[epoch, position, 3].frames for epoch, position in ((0, 0), (0, 1), (1, 0))]  # type: ignore[union-attr]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(frames, 2))
    assert torch.equal(made[0, 1, 3].frames, frames[1])  # type: ignore[union-attr]


def test_examples_are_padded_and_normalised_as_for_tagging() -> None:
    frames = [torch.randn(length, 128) for length in (10, FRAMES, FRAMES + 30)]
    batch = Collate(EXTRACTOR)([Example(one, torch.zeros(2)) for one in frames])
    assert isinstance(batch, Batch)
    assert batch.lengths.tolist() == [10, FRAMES, FRAMES]
    assert batch.input_values.shape == (3, FRAMES, 128)
    torch.testing.assert_close(batch.input_values[0, :10], (frames[0] + 4.2677393) / 9.1379948)
    torch.testing.assert_close(batch.input_values[0, 10:], torch.full((FRAMES - 10, 128), 0.467032))
    torch.testing.assert_close(batch.input_values[2], (frames[2][:FRAMES] + 4.2677393) / 9.1379948)
    assert (batch.columns, batch.failed, batch.stand_ins.tolist()) == (None, [], [False] * 3)


def test_failures_go_with_the_batch() -> None:
    source = Drawn(3, failing=[1], columns=True)
    made = [source.example(index, AS_IT_IS, np.random.default_rng(0)) for index in range(3)]
    batch = Collate(EXTRACTOR)([*made])
    assert isinstance(batch, Batch)
    assert batch.failed == [("1.wav", "it is broken")]
    assert batch.stand_ins.tolist() == [False, True, False]
    assert batch.columns is not None
    assert batch.columns.shape == (3, 4, 5)


class Unreadable:
    def __len__(self) -> int:
        return 2

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        raise InputError("unreadable", "it is broken", "Mend it")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_ours_keeps_its_kind_on_the_way_out_of_a_process(workers: int) -> None:
    [found] = DataLoader(
        SeededExamples(Unreadable(), 0),
        batch_sampler=batches(2, 2),  # type: ignore[arg-type]
        collate_fn=Collate(EXTRACTOR),
        num_workers=workers,
    )
    assert isinstance(found, AstCliError)
    assert (type(found), str(found), vars(found)) == (
        InputError,
        "it is broken. Mend it",
        {"word": "unreadable", "cause": "it is broken", "remedy": "Mend it"},
    )
