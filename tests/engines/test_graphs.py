"""When a network is captured as a graph; that the graphs compute the same, `tests/gpu` shows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ast_cli.engines.cuda_graphs import MOST_GRAPHS, Graphs


class Recorder(Graphs):
    """Notes which shapes are to be captured, for which there never is any room."""

    def __init__(self) -> None:
        super().__init__(lambda windows: windows + 1)
        self.asked: list[int] = []

    def _capture(self, windows: Tensor) -> None:
        self.asked.append(len(windows))


@pytest.fixture
def graphs() -> Recorder:
    return Recorder()


def test_a_shape_is_captured_when_it_comes_again(graphs: Recorder) -> None:
    for count in (3, 1, 3):
        torch.testing.assert_close(graphs(torch.zeros(count, 2)), torch.ones(count, 2))
    assert graphs.asked == [3]


def test_a_shape_without_room_is_not_tried_again(graphs: Recorder) -> None:
    for _ in range(5):
        torch.testing.assert_close(graphs(torch.zeros(3, 2)), torch.ones(3, 2))
    assert graphs.asked == [3]
    graphs.clear()
    for _ in range(2):
        graphs(torch.zeros(3, 2))
    assert graphs.asked == [3, 3]


def test_no_more_shapes_are_captured_than_there_may_be_graphs(graphs: Recorder) -> None:
    for count in [*range(1, MOST_GRAPHS + 4)] * 2:
        graphs(torch.zeros(count, 2))
    assert graphs.asked == [*range(1, MOST_GRAPHS + 1)]
