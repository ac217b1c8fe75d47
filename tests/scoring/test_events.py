"""Windows -> events against sounds whose times are known, by hand and by law."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_cli.errors import UsageError
from ast_cli.results import Event
from ast_cli.scoring.events import EventFinder, tidied
from ast_cli.scoring.labels import LabelSet
from ast_cli.scoring.selection import Selection
from ast_cli.settings import EventSettings, LabelSettings

LABELS = LabelSet(("ant", "bee"), ("/a", "/b"))
Window = tuple[float, float, list[float]]


def finder(threshold: float | tuple[float | None, ...] = 0.5, **settings: float) -> EventFinder:
    asked = LabelSettings(threshold=threshold, events=EventSettings(**settings))
    assert asked.events is not None
    return EventFinder(Selection(LABELS, asked).event_thresholds(), asked.events, LABELS)


def found_in(
    windows: list[Window], threshold: float | tuple[float | None, ...] = 0.5, **settings: float
) -> list[Event]:
    """The events of windows, tidied as settings say."""
    found = finder(threshold, **settings)
    ended = [
        event for start, end, s in windows for event in found.push(start, end, np.array(s, np.float32))[1]
    ]
    return [*tidied(ended + found.finish(), EventSettings(**settings))]


def events_of(windows: list[Window], **settings: float) -> list[tuple[float, float, str]]:
    return [(event.start, event.end, event.label) for event in found_in(windows, **settings)]


def side_by_side(*scores: float, length: float = 10.0) -> list[Window]:
    """Windows that do not overlap, in which only the ant is heard."""
    return [(n * length, (n + 1) * length, [score, 0.0]) for n, score in enumerate(scores)]


def overlapping(
    sound: tuple[float, float], duration: float, length: float, hop: float, enough: float = 0.0
) -> list[Window]:
    """The windows of a recording in which the ant is heard wherever more than `enough` s of it are."""
    windows: list[Window] = []
    start = 0.0
    while True:
        held = min(sound[1], start + length) - max(sound[0], start)
        windows.append((start, start + length, [1.0 if held > enough else 0.0, 0.0]))
        if start + length >= duration:
            return windows
        start = round(min(start + hop, duration - length), 3)


# One event for one sound


def test_windows_in_a_row_are_one_event() -> None:
    assert events_of(side_by_side(0.1, 0.9, 0.8, 0.9, 0.1, 0.9)) == [(10, 40, "ant"), (50, 60, "ant")]


def test_a_score_at_the_threshold_begins_an_event_and_one_below_does_not() -> None:
    assert events_of(side_by_side(0.5, 0.1, 0.49)) == [(0, 10, "ant")]


def test_an_event_lasts_while_the_score_is_at_least_a_part_of_the_threshold() -> None:
    scores = side_by_side(0.3, 0.9, 0.25, 0.24, 0.3, 0.9)
    assert events_of(scores) == [(0, 30, "ant"), (40, 60, "ant")]
    assert events_of(scores, hysteresis=1.0) == [(10, 20, "ant"), (50, 60, "ant")]


def test_what_never_reaches_the_threshold_is_no_event_however_long() -> None:
    assert events_of(side_by_side(*[0.4] * 20)) == []


def test_the_score_is_the_highest_and_the_mean_that_of_all_windows() -> None:
    [event] = found_in(side_by_side(0.0, 0.25, 1.0, 0.5, 0.0))
    assert (event.score, event.mean_score) == (1.0, pytest.approx(1.75 / 3))
    assert (event.index, event.mid, event.label) == (0, "/a", "ant")


def test_classes_have_events_of_their_own_in_order_of_time() -> None:
    windows: list[Window] = [(0, 10, [0.0, 0.9]), (10, 20, [0.9, 0.9]), (20, 30, [0.9, 0.0])]
    assert events_of(windows) == [(0, 20, "bee"), (10, 30, "ant")]


def test_each_class_may_have_its_own_threshold_and_one_without_has_no_events() -> None:
    windows: list[Window] = [(0, 10, [0.3, 0.9])]
    assert events_of(windows, threshold=(0.2, None)) == [(0, 10, "ant")]  # type: ignore[arg-type]


def test_negative_thresholds_as_logits_have_them_last_lower() -> None:
    windows: list[Window] = [(0, 10, [-1.0, -9.0]), (10, 20, [-3.0, -9.0]), (20, 30, [-5.0, -9.0])]
    assert events_of(windows, threshold=-2.0) == [(0, 20, "ant")]  # down to -4


# Times


@pytest.mark.parametrize("sound", [(20.0, 22.0), (20.3, 26.9), (13.7, 40.2), (25.0, 25.4), (44.0, 57.0)])
@pytest.mark.parametrize(
    ("length", "hop"), [(10.0, 1.0), (10.0, 5.0), (10.0, 10.0), (10.24, 2.5), (2.0, 0.5)]
)
def test_a_sound_is_found_once_within_one_hop_of_its_times(
    sound: tuple[float, float], length: float, hop: float
) -> None:
    [(start, end, _)] = events_of(overlapping(sound, 120.0, length, hop))
    assert abs(start - sound[0]) <= hop
    assert abs(end - sound[1]) <= hop


@pytest.mark.parametrize("sound", [(0.0, 1.0), (0.0, 4.4), (0.5, 9.0), (118.0, 120.0), (111.3, 120.0)])
@pytest.mark.parametrize("hop", [1.0, 2.5, 10.0])
def test_so_it_is_at_the_start_and_at_the_end_of_a_recording(sound: tuple[float, float], hop: float) -> None:
    [(start, end, _)] = events_of(overlapping(sound, 120.0, 10.0, hop))
    assert abs(start - sound[0]) <= hop
    assert abs(end - sound[1]) <= hop


@given(st.floats(11, 80), st.floats(0.5, 30), st.sampled_from([0.5, 1.0, 2.5, 5.0, 10.0]), st.floats(0, 0.4))
def test_so_it_is_wherever_the_sound_lies_and_if_a_little_of_it_is_not_enough(
    start: float, duration: float, hop: float, enough: float
) -> None:
    found = events_of(overlapping((start, start + duration), 120.0, 10.0, hop, enough))
    [(began, ended, _)] = found
    assert abs(began - start) <= hop + enough + 1e-3
    assert abs(ended - (start + duration)) <= hop + enough + 1e-3


@given(
    st.lists(st.sampled_from([0.0, 0.3, 0.9]), min_size=1, max_size=30),
    st.sampled_from([1.0, 2.5, 4.0, 10.0]),
)
def test_events_lie_in_the_recording_and_claim_nothing_finer_than_the_hop(
    scores: list[float], hop: float
) -> None:
    windows: list[Window] = [(n * hop, n * hop + 10.0, [score, 0.0]) for n, score in enumerate(scores)]
    for start, end, _ in events_of(windows):
        assert 0 <= start < end <= windows[-1][1]
        assert round(end - start, 3) >= hop


def test_a_short_recording_of_one_window_is_an_event_as_long_as_itself() -> None:
    assert events_of([(0.0, 0.4375, [0.9, 0.1])]) == [(0.0, 0.438, "ant")]


def test_times_have_three_decimals() -> None:
    windows = [(n / 100, n / 100 + 10.24, [0.9 if 7 <= n <= 2000 else 0.0, 0.0]) for n in range(0, 3000, 7)]
    [(start, end, _)] = events_of(windows)
    assert (str(start), str(end)) == ("10.24", "20.02")  # the window at 0.00 held up to 10.24 and was silent


# Merging and leaving out

events = st.lists(
    st.builds(
        lambda start, length, index: Event(
            start, round(start + length, 3), index, "", LABELS.names[index], 0.9, 0.7
        ),
        st.integers(0, 100_000).map(lambda ms: ms / 1000),
        st.integers(1, 5000).map(lambda ms: ms / 1000),
        st.integers(0, 1),
    ),
    max_size=20,
)


def test_events_at_most_a_gap_apart_are_one_and_short_ones_go_after_that() -> None:
    windows = side_by_side(0.9, 0.1, 0.9, 0.1, 0.1, 0.9)
    assert events_of(windows, max_gap=10) == [(0, 30, "ant"), (50, 60, "ant")]
    assert events_of(windows, max_gap=10, min_duration=15) == [(0, 30, "ant")]
    assert events_of(windows, min_duration=15) == []


def test_a_merged_event_has_the_highest_score_and_a_mean_weighed_by_time() -> None:
    one, other = Event(0, 3, 0, "", "ant", 0.6, 0.6), Event(4, 5, 0, "", "ant", 0.9, 0.8)
    assert tidied([one, other], EventSettings(max_gap=1)) == (
        Event(0, 5, 0, "", "ant", 0.9, pytest.approx(0.65)),
    )


@given(events, st.integers(0, 3000), st.integers(0, 6000))
def test_tidied_events_are_apart_long_enough_in_order_and_stay_as_they_are(
    found: list[Event], gap: int, shortest: int
) -> None:
    settings = EventSettings(max_gap=gap / 1000, min_duration=shortest / 1000)
    tidy = tidied(found, settings)
    assert list(tidy) == sorted(tidy, key=lambda one: (one.start, one.end, one.index))
    assert all(round(one.end - one.start, 3) >= shortest / 1000 for one in tidy)
    for index in range(2):
        alike = [one for one in tidy if one.index == index]
        assert all(round(later.start - one.end, 3) > gap / 1000 for one, later in pairwise(alike))
    assert tidied(tidy, settings) == tidy


@given(events)
def test_merging_covers_what_was_covered_and_no_more(found: list[Event]) -> None:
    def covered(some: list[Event], index: int) -> set[int]:
        times = ((round(one.start * 1000), round(one.end * 1000)) for one in some if one.index == index)
        return {ms for start, end in times for ms in range(start, end)}

    tidy = list(tidied(found, EventSettings()))
    for index in range(2):
        assert covered(tidy, index) == covered(found, index)


# Live


def test_each_event_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    found = finder()
    told = [
        found.push(start, end, np.array(s, np.float32))
        for start, end, s in side_by_side(0.3, 0.9, 0.9, 0.0, 0.8)
    ]
    assert [[event.start for event in begun] for begun, _ in told] == [[], [0.0], [], [], [40.0]]
    assert [[(event.start, event.end) for event in ended] for _, ended in told] == [
        [],
        [],
        [],
        [(0.0, 30.0)],
        [],
    ]
    assert [(event.start, event.end) for event in found.finish()] == [(40.0, 50.0)]
    assert found.finish() == []


def test_a_stream_that_never_ends_takes_no_memory_for_what_has_ended() -> None:
    found = finder()
    scores = np.array([[0.9, 0.0], [0.0, 0.9]], np.float32)

    def hear(first: int, last: int) -> int:
        for n in range(first, last):
            found.push(n, n + 1, scores[n % 2])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = hear(0, 100)
    assert hear(100, 5100) - before < 10_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "settings",
    [
        {"hysteresis": 0},
        {"hysteresis": 1.1},
        {"min_duration": -1},
        {"max_gap": float("nan")},
        {"max_gap": float("inf")},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        EventSettings(**settings)
