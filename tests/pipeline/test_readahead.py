"""`read_ahead` against the items of the jobs, one after the other; events take the place of the clock."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_cli.pipeline import readahead
from ast_cli.pipeline.readahead import read_ahead

PATIENCE = 30.0  # seconds after which a test that waits for ever fails instead


def threads_of_jobs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if condition():
            return
        tick.wait(0.01)
    pytest.fail("it never happened")


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


def count_to(job: int) -> Iterator[tuple[int, int]]:
    for number in range(job):
        yield job, number


def everything(jobs: list[int], workers: int, depth: int) -> list[tuple[int, list[tuple[int, int]]]]:
    return [(job, list(items)) for job, items in read_ahead(jobs, count_to, workers, depth)]


@settings(deadline=None, derandomize=True, database=None, max_examples=30)
@given(st.lists(st.integers(0, 20), max_size=10), st.integers(1, 5), st.integers(1, 4))
def test_jobs_and_items_come_in_order(jobs: list[int], workers: int, depth: int) -> None:
    assert everything(jobs, workers, depth) == [(job, list(count_to(job))) for job in jobs]
    assert threads_of_jobs() == []


def test_a_slow_first_job_does_not_lose_its_place() -> None:
    second_is_done = threading.Event()

    def run(job: str) -> Iterator[str]:
        if job == "first":
            wait_for(second_is_done)
        yield f"{job} item"
        if job == "second":
            second_is_done.set()

    found = [(job, list(items)) for job, items in read_ahead(["first", "second"], run, workers=2, depth=3)]
    assert found == [("first", ["first item"]), ("second", ["second item"])]


def test_items_can_be_taken_before_their_job_is_over() -> None:
    first_was_taken = threading.Event()

    def run(job: int) -> Iterator[int]:
        yield 1
        wait_for(first_was_taken)
        yield 2

    with closing(read_ahead([0], run, workers=1, depth=4)) as ahead:
        _, items = next(ahead)
        items = iter(items)
        assert next(items) == 1
        first_was_taken.set()
        assert next(items) == 2


def test_as_many_jobs_run_at_once_as_there_are_workers() -> None:
    all_here = threading.Barrier(3)

    def run(job: int) -> Iterator[int]:
        all_here.wait(PATIENCE)  # fails unless three jobs come to it
        yield job

    assert [list(items) for _, items in read_ahead(range(6), run, workers=3, depth=1)] == [
        [n] for n in range(6)
    ]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_never_more_jobs_run_at_once_than_there_are_workers(workers: int) -> None:
    lock, running, most = threading.Lock(), set(), []

    def run(job: int) -> Iterator[int]:
        with lock:
            running.add(job)
            most.append(len(running))
        yield job
        with lock:
            running.remove(job)

    for _, items in read_ahead(range(20), run, workers, depth=5):
        list(items)
    assert max(most) <= workers


@pytest.mark.parametrize("workers", [1, 3])
def test_endless_jobs_are_taken_a_few_at_a_time(workers: int) -> None:
    taken = itertools.count()
    with closing(read_ahead(taken, count_to, workers, depth=2)) as ahead:
        for expected in range(10):
            job, items = next(ahead)
            assert job == expected
            assert list(items) == list(count_to(job))
    assert next(taken) <= 9 + workers + 2  # one for each worker, and one that waits


def test_no_job_is_taken_before_the_first_is_asked_for() -> None:
    taken = itertools.count()
    read_ahead(taken, count_to, workers=2, depth=2).close()
    assert next(taken) == 0


@pytest.mark.parametrize("depth", [1, 3])
def test_a_job_runs_no_further_ahead_than_its_depth(depth: int) -> None:
    made = []

    def endless(job: int) -> Iterator[int]:
        for number in itertools.count():
            made.append(number)
            yield number

    with closing(read_ahead([0], endless, workers=1, depth=depth)) as ahead:
        _, items = next(ahead)
        items = iter(items)
        for taken in range(5):
            assert next(items) == taken
            # What is taken, what waits in the queue, and the one that its thread holds in its hand.
            most = taken + 1 + depth + 1
            wait_until(lambda most=most: len(made) == most)
        assert len(made) == most


def test_an_exception_is_raised_where_the_items_are_taken_and_the_next_jobs_are_delivered() -> None:
    def run(job: int) -> Iterator[int]:
        yield job
        if job == 1:
            raise ZeroDivisionError("job 1")
        yield job

    found = []
    for job, items in read_ahead(range(4), run, workers=2, depth=4):
        found.append((job, taken := []))
        if job == 1:
            with pytest.raises(ZeroDivisionError, match="job 1"):
                taken.extend(items)
        else:
            taken.extend(items)
    assert found == [(0, [0, 0]), (1, [1]), (2, [2, 2]), (3, [3, 3])]
    assert threads_of_jobs() == []


def test_the_items_before_an_exception_are_delivered() -> None:
    def run(job: int) -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError

    with closing(read_ahead([0], run, workers=1, depth=1)) as ahead:
        _, items = next(ahead)
        items = iter(items)
        assert [next(items), next(items), next(items)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError):
            next(items)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_even_an_exception_that_should_end_the_program_reaches_whoever_takes_the_items(
    error: type[BaseException],
) -> None:
    def run(job: int) -> Iterator[int]:
        raise error
        yield

    with closing(read_ahead([0], run, workers=1, depth=1)) as ahead:
        _, items = next(ahead)
        with pytest.raises(error):
            list(items)


def test_an_exception_of_the_jobs_themselves_ends_the_threads() -> None:
    def jobs() -> Iterator[int]:
        yield 3
        raise ZeroDivisionError("no more jobs")

    with pytest.raises(ZeroDivisionError, match="no more jobs"):
        list(read_ahead(jobs(), count_to, workers=2, depth=1))
    assert threads_of_jobs() == []


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_ends_the_threads_and_the_jobs(taken: int) -> None:
    opened, closed = [], []

    def endless(job: int) -> Iterator[int]:
        opened.append(job)
        try:
            yield from itertools.count()
        finally:
            closed.append(job)

    ahead = read_ahead(itertools.count(), endless, workers=3, depth=2)
    _, items = next(ahead)
    assert list(itertools.islice(items, taken)) == list(range(taken))
    wait_until(lambda: len(opened) == 3)
    assert len(threads_of_jobs()) == 3 + 1  # and the one that takes the jobs
    ahead.close()
    assert threads_of_jobs() == []
    assert sorted(closed) == sorted(opened) == [0, 1, 2]


def test_an_exception_in_the_loop_ends_the_threads() -> None:
    def loop() -> None:
        with closing(read_ahead(itertools.count(), lambda _: itertools.count(), workers=2, depth=1)) as ahead:
            for _ in ahead:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert threads_of_jobs() == []


def test_closing_does_not_wait_for_ever_for_a_job_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "MOST_SECONDS_TO_END", 0.2)
    release = threading.Event()

    def hang(_: int) -> Iterator[int]:
        yield 1
        release.wait()  # as reading a pipe does that nobody writes to

    running = read_ahead([0], hang, workers=1, depth=1)
    _, items = next(running)
    assert next(iter(items)) == 1
    running.close()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("read-ahead"))
    release.set()


def test_who_waits_for_a_job_is_told_again_and_again() -> None:
    more = threading.Event()

    def jobs() -> Iterator[int]:
        yield 1
        wait_for(more)
        yield 2

    with closing(read_ahead(jobs(), count_to, workers=1, depth=1, idle=0.01)) as ahead:
        first = next(entry for entry in ahead if entry is not None)
        assert (first[0], list(first[1])) == (1, [(1, 0)])
        assert [next(ahead), next(ahead)] == [None, None]
        more.set()
        second = next(entry for entry in ahead if entry is not None)
        assert (second[0], list(second[1])) == (2, [(2, 0), (2, 1)])
        assert [entry for entry in ahead if entry is not None] == []
