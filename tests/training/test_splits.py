"""Which clips are held out, and how often each is drawn."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_cli.errors import UsageError
from ast_cli.training.datasets import Dataset, LabelledClip
from ast_cli.training.splits import (
    balanced_weights,
    hold_out,
    refuse_overlap,
    split_for_training,
)

repeatable = settings(deadline=None, derandomize=True, database=None)
some_labels = st.sets(st.integers(0, 3), max_size=3).map(tuple)


def data_of(*labels: tuple[int, ...], classes: int = 4) -> Dataset:
    clips = tuple(LabelledClip(f"{number}.wav", one) for number, one in enumerate(labels))
    return Dataset(clips, tuple("abcdefgh"[:classes]), any(len(one) != 1 for one in labels))


def test_each_class_gives_the_same_part() -> None:
    data = data_of(*[(0,)] * 50, *[(1,)] * 20, *[(2,)] * 4)
    training, held = hold_out(data, 0.1, seed=0)
    assert held.counts == (5, 2, 1, 0)
    assert training.counts == (45, 18, 3, 0)
    assert held.labels == training.labels == data.labels


def test_a_single_clip_stays_in_training_and_two_are_shared() -> None:
    training, held = hold_out(data_of((0,), (1,), (1,)), 0.1, seed=0)
    assert training.counts == (1, 1, 0, 0)
    assert held.counts == (0, 1, 0, 0)


def test_a_clip_of_several_labels_counts_for_its_rarest() -> None:
    data = data_of(*[(0,)] * 20, *[(0, 1)] * 10)
    _, held = hold_out(data, 0.2, seed=0)
    assert held.counts == (6, 2, 0, 0)  # four of the first twenty and two of the ten that have both


@repeatable
@given(st.lists(some_labels, min_size=2), st.floats(0.01, 0.9), st.integers(0, 9))
def test_every_clip_is_on_one_side_in_its_order(
    labels: list[tuple[int, ...]], part: float, seed: int
) -> None:
    data = data_of(*labels)
    try:
        training, held = hold_out(data, part, seed)
    except UsageError:
        return
    assert training.clips
    assert held.clips
    both = [*training.clips, *held.clips]
    assert sorted(both, key=data.clips.index) == list(data.clips)
    assert list(held.clips) == sorted(held.clips, key=data.clips.index)
    assert hold_out(data, part, seed) == (training, held)


def test_the_seed_decides() -> None:
    data = data_of(*[(0,)] * 50)
    assert len({hold_out(data, 0.1, seed)[1].clips for seed in range(5)}) == 5


def test_too_few_to_hold_some_out() -> None:
    with pytest.raises(UsageError, match="2 clips are too few to hold some out") as caught:
        hold_out(data_of((0,), (1,)), 0.1, seed=0)
    assert "--validation" in caught.value.remedy


def with_splits(*names: str | None) -> Dataset:
    clips = tuple(LabelledClip(f"{number}.wav", (0,), split=name) for number, name in enumerate(names))
    return Dataset(clips, ("a",), False)


def files(sides: tuple[Dataset, Dataset]) -> list[list[str]]:
    return [[clip.file for clip in side.clips] for side in sides]


def test_the_datas_own_splits_go_first_and_its_test_is_on_neither_side() -> None:
    data = with_splits("train", "validation", "test", None, "train")
    assert files(split_for_training(data, part=0.1, seed=0)) == [["0.wav", "4.wav"], ["1.wav"]]


def test_without_a_validation_split_some_of_train_is_held_out_and_none_of_test() -> None:
    data = with_splits(*["train"] * 10, *["test"] * 10)
    training, held = split_for_training(data, part=0.2, seed=0)
    assert (len(training.clips), len(held.clips)) == (8, 2)
    assert {clip.split for clip in (*training.clips, *held.clips)} == {"train"}


def test_data_with_splits_but_none_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="no split train, only test"):
        split_for_training(with_splits("test", "test"), part=0.1, seed=0)


def test_of_data_with_folds_the_last_is_held_out_unless_another_is_asked_for() -> None:
    clips = tuple(LabelledClip(f"{number}.wav", (0,), fold=fold) for number, fold in enumerate("1223"))
    data = Dataset(clips, ("a",), False)
    assert files(split_for_training(data, part=0.1, seed=0)) == [["0.wav", "1.wav", "2.wav"], ["3.wav"]]
    assert files(split_for_training(data, fold="2", part=0.1, seed=0)) == [
        ["0.wav", "3.wav"],
        ["1.wav", "2.wav"],
    ]


def test_all_parts_of_a_recording_stay_on_one_side() -> None:
    clips = tuple(
        LabelledClip(f"{file}.wav", (file % 2,), start=10.0 * part, end=10.0 * part + 10)
        for file in range(6)
        for part in range(5)
    )
    training, held = hold_out(Dataset(clips, ("a", "b"), False), 0.3, seed=0)
    assert not {clip.file for clip in training.clips} & {clip.file for clip in held.clips}
    assert len(held.clips) == 10


def test_a_recording_on_both_sides_is_refused() -> None:
    data = data_of((0,), (0,), (0,))
    with pytest.raises(UsageError, match=r"2 clips to validate on are of recordings to learn from.*1\.wav"):
        refuse_overlap(data, dataclasses.replace(data, clips=data.clips[1:]))
    refuse_overlap(
        dataclasses.replace(data, clips=data.clips[:1]), dataclasses.replace(data, clips=data.clips[1:])
    )


def test_classes_are_drawn_as_often() -> None:
    clips = data_of((0,), (0,), (0,), (1,), (0, 1), ()).clips
    # Class 0 has four clips, class 1 two; the one without a label weighs as the lightest.
    assert balanced_weights(clips, 4) == [0.25, 0.25, 0.25, 0.5, 0.75, 0.25]
    assert balanced_weights(data_of((), ()).clips, 4) == [1.0, 1.0]
