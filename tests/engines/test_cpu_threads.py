"""Windows side by side: the same results, in order, and nobody else's threads are changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ast_cli.engines.cpu_threads import WindowThreads

WINDOWS = torch.arange(12.0).reshape(6, 2)


@pytest.fixture(params=[1, 2, 4, 5, 8])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_results_are_those_of_each_window_in_order(count: int) -> None:
    threads = WindowThreads()
    for _ in range(3):
        assert torch.equal(threads.map(lambda window: window * 2, WINDOWS[:count]), WINDOWS[:count] * 2)


def test_the_threads_are_shared_among_the_windows(threads: int) -> None:
    seen: list[int] = []

    def run(window: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return window

    WindowThreads().map(run, WINDOWS)
    assert seen == [max(1, threads // 6)] * 6


def test_windows_run_at_the_same_time() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    together = threading.Barrier(3, timeout=20)

    def run(window: Tensor) -> Tensor:
        together.wait()  # breaks unless three come
        return window

    try:
        WindowThreads().map(run, WINDOWS)
    finally:
        torch.set_num_threads(before)


def test_the_callers_threads_stay_as_they_are_and_so_do_those_of_threads_to_come(threads: int) -> None:
    WindowThreads().map(lambda window: window + torch.ones(1000).sum(), WINDOWS)
    assert torch.get_num_threads() == threads
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]


def test_threads_that_are_started_meanwhile_do_not_lower_the_number_for_good() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    threads, used = WindowThreads(), list[int]()

    def run(window: Tensor) -> Tensor:
        used.append(torch.get_num_threads())
        return window

    def another() -> None:
        torch.get_num_threads()  # a thread takes its number when it first asks
        started.set()
        ended.wait(20)
        threads.map(run, WINDOWS[:2])

    def start_another(window: Tensor) -> Tensor:
        if window[0, 0] == 0:
            thread.start()
        started.wait(20)
        return window

    started, ended, thread = threading.Event(), threading.Event(), threading.Thread(target=another)
    try:
        threads.map(start_another, WINDOWS[:3])
        ended.set()
        thread.join()
        threads.map(run, WINDOWS[:2])
    finally:
        torch.set_num_threads(before)
    assert used == [4, 4, 4, 4]


@pytest.mark.usefixtures("threads")
def test_an_error_is_the_callers() -> None:
    def run(window: Tensor) -> Tensor:
        raise RuntimeError(f"window {int(window[0, 0])}")

    threads = WindowThreads()
    with pytest.raises(RuntimeError, match="window 0"):
        threads.map(run, WINDOWS)
    assert torch.equal(threads.map(lambda window: window, WINDOWS), WINDOWS)
