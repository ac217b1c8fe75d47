"""Windows of recordings in batches: none is closed early, and what is on its way comes out in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ast_cli import FileFailure, FileResult
from ast_cli.features.window_stream import Window
from ast_cli.pipeline.batches import Batches, Piece
from ast_cli.results import Facts
from ast_cli.scoring.aggregate import Aggregate
from ast_cli.scoring.labels import LabelSet
from ast_cli.scoring.selection import Selection
from ast_cli.settings import TagSettings

LABELS = LabelSet.from_names(["low", "middle", "high"])


class Scorer:
    """Scores a window by the number it holds; tells when batches were started and waited for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def start(self, windows: Sequence[Window]):
        number = sum(event.startswith("start") for event in self.seen)
        self.seen.append(f"start {number} of {len(windows)}")
        rows = torch.stack([window.content for window in windows])[:, 0, :3].numpy()

        def wait() -> NDArray[np.float32]:
            self.seen.append(f"wait {number}")
            return rows

        return wait


def window(number: int, value: float) -> Window:
    return Window(number * 100, 100, 100, torch.full((4, 8), value))


def recording(
    name: str, values: Sequence[float], *, fails: bool = False
) -> tuple[Aggregate, Iterator[Piece]]:
    def pieces() -> Iterator[Piece]:
        yield from (window(number, value) for number, value in enumerate(values))
        if fails:
            yield FileFailure(name, "unreadable", "it ends")
        else:
            yield Facts(len(values), 100 * len(values), 16_000, 1)

    settings = TagSettings()
    return Aggregate(name, Selection(LABELS, settings), settings, "sigmoid"), pieces()


def run(recordings, batch_size: int, ahead: int) -> tuple[list[tuple[str, float | None]], list[str]]:
    scorer = Scorer()
    batches = Batches(scorer.start, batch_size, ahead=ahead)
    outcomes = [
        (outcome.file, outcome.tags[0].score if isinstance(outcome, FileResult) else None)
        for outcome in batches.outcomes(recordings)
    ]
    return outcomes, scorer.seen


def test_a_batch_is_waited_for_before_the_next_is_started_where_nothing_is_gained() -> None:
    outcomes, seen = run([recording("a", [0.1, 0.3]), recording("b", [0.5, 0.7])], batch_size=2, ahead=0)
    assert seen == ["start 0 of 2", "wait 0", "start 1 of 2", "wait 1"]
    assert outcomes == [("a", pytest.approx(0.2)), ("b", pytest.approx(0.6))]


def test_batches_are_started_ahead_of_the_one_that_is_waited_for() -> None:
    files = [recording(name, [0.1]) for name in "abcde"]
    outcomes, seen = run(files, batch_size=1, ahead=2)
    assert seen[:4] == ["start 0 of 1", "start 1 of 1", "start 2 of 1", "wait 0"]
    assert seen[-2:] == ["wait 3", "wait 4"]
    assert [file for file, _ in outcomes] == [*"abcde"]


def test_when_the_next_recording_takes_its_time_nothing_is_left_on_its_way() -> None:
    scorer = Scorer()
    outcomes = Batches(scorer.start, 4, ahead=2).outcomes(
        iter([recording("a", [0.1]), None, recording("b", [0.2])])
    )
    assert next(outcomes).file == "a"
    assert scorer.seen == ["start 0 of 1", "wait 0"]
    assert [outcome.file for outcome in outcomes] == ["b"]


def test_a_long_run_is_asked_once_for_a_better_batch_size() -> None:
    scorer, asked = Scorer(), []
    batches = Batches(scorer.start, 8, ahead=2, long_run=lambda: asked.append(len(scorer.seen)) or 16)
    outcomes = [*batches.outcomes([recording(str(number), [0.5] * 10) for number in range(10)])]
    assert [outcome.file for outcome in outcomes] == [str(number) for number in range(10)]
    sizes = [int(event.split()[-1]) for event in scorer.seen if event.startswith("start")]
    assert sizes == [*[8] * 8, 16, 16, 4]
    assert asked == [16]  # events: each batch was waited for, so that nothing runs beside the measuring


@given(
    st.lists(
        st.tuples(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=7), st.booleans()), max_size=12
    ),
    st.integers(1, 5),
    st.integers(0, 4),
)
def test_outcomes_are_the_same_and_in_order_however_many_are_ahead(
    files: list[tuple[list[float], bool]], batch_size: int, ahead: int
) -> None:
    def recordings() -> Iterator[tuple[Aggregate, Iterator[Piece]]]:
        for number, (values, fails) in enumerate(files):
            yield recording(str(number), values, fails=fails)

    outcomes, seen = run(recordings(), batch_size, ahead)
    expected = [
        (str(number), None if fails else pytest.approx(float(np.mean(values)), abs=1e-6))
        for number, (values, fails) in enumerate(files)
    ]
    assert outcomes == expected
    assert sorted(event for event in seen if event.startswith("wait")) == sorted(
        f"wait {event.split()[1]}" for event in seen if event.startswith("start")
    )
