"""What the page holds, and that no text in it can be anything but text."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest

from ast_cli.report import page_data as report_data
from ast_cli.report.page_data import Summary, detail_of, heat_map, row_of, script_json, shown
from ast_cli.results import Event, FileFailure, FileResult, Tag, Windows, WindowScores

NAMES = [("/m/0", "Speech"), ("/m/1", "Dog"), ("/m/2", "Rain")]


def recording(windows: list[tuple[float, float, dict[int, float]]], **more: Any) -> FileResult:
    held = Windows(NAMES)
    for start, end, scores in windows:
        order = sorted(scores, key=lambda index: -scores[index])
        held.append(start, end, order, [scores[index] for index in order])
    end = max((end for _, end, _ in windows), default=1.0)
    facts: dict[str, Any] = {"tags": (), "windows": held, "scores": "sigmoid"}
    return FileResult("a.wav", end, end, 16000, 1, **facts | more)


def values(heat: dict[str, Any] | None) -> list[list[int]]:
    assert heat is not None
    return np.frombuffer(base64.b64decode(heat["values"]), np.uint8).reshape(len(heat["lanes"]), -1).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "a&amp;b",
        "line\u2028end\u2029",
        '"\\\n',
        "\udc80",
        "שלום",
    ],
)
def test_no_text_ends_a_script(text: str) -> None:
    written = script_json({"name": text})
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == {"name": text}


def test_what_no_json_holds_is_no_data() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Vögel.wav", "Vögel.wav"),
        ("two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # how the word is spelt
        ("<b>", "<b>"),
    ],
)
def test_what_turns_text_around_is_shown_and_not_done(text: str, seen: str) -> None:
    assert shown(text) == seen


def test_a_heat_map_has_the_labels_by_their_highest_score_and_tells_what_it_does_not_know() -> None:
    heat = heat_map(recording([(0, 2, {0: 0.5, 1: 0.25}), (2, 4, {1: 1.0, 2: 0.0})]))
    assert heat is not None
    assert heat["edges"] == [0, 2, 4]
    assert heat["lanes"] == [["Dog", 1.0, 2.0], ["Speech", 0.5, 0.0], ["Rain", 0.0, 2.0]]
    assert values(heat) == [[65, 255], [128, 0], [0, 1]]


def test_windows_that_overlap_share_their_time() -> None:
    heat = heat_map(recording([(0, 4, {0: 1.0}), (2, 6, {0: 0.5}), (3, 7, {0: 0.0})]))
    assert heat is not None
    assert heat["edges"] == [0, 3, 4.5, 7]  # halfway between their middles 2, 4 and 5


def test_kept_scores_fill_the_gaps() -> None:
    scores = np.array([[0.5, 0.25, 0.1], [0.2, 1.0, 0.3]], np.float32)
    kept = WindowScores(np.array([0.0, 2.0]), np.array([2.0, 4.0]), scores)
    heat = heat_map(recording([(0, 2, {0: 0.5}), (2, 4, {1: 1.0})], window_scores=kept))
    assert values(heat) == [[65, 255], [128, 52]]


def test_six_hours_are_reduced_to_what_a_screen_shows_and_lose_no_peak() -> None:
    seconds = 6 * 3600
    windows = [(float(at), at + 2.0, {0: 0.9 if at == 12345 else 0.1}) for at in range(seconds - 1)]
    heat = heat_map(recording(windows))
    assert heat is not None
    [row] = values(heat)
    assert 500 < len(row) <= report_data.MOST_COLUMNS
    assert len(heat["edges"]) == len(row) + 1
    assert (heat["edges"][0], heat["edges"][-1]) == (0, seconds)
    [column] = [place for place, value in enumerate(row) if value > 200]
    assert heat["edges"][column] <= 12346 <= heat["edges"][column + 1]
    assert len(script_json(heat)) < 30_000


def test_logits_become_likelihoods() -> None:
    heat = heat_map(recording([(0, 2, {0: 0.0, 1: -90.0, 2: 90.0})], scores="logits"))
    assert values(heat) == [[255], [128], [1]]


def test_there_is_no_heat_map_without_windows_or_labels() -> None:
    assert heat_map(recording([])) is None
    assert heat_map(recording([(0, 2, {})])) is None


def test_a_row_and_its_details() -> None:
    tags = (Tag(1, 1, "/m/1", "Dog", 0.98765),)
    events = (Event(0.5, 1.5, 1, "/m/1", "Dog", 0.9, 0.8),)
    one = recording([(0, 2, {1: 0.5})], tags=tags, events=events, warnings=("cut\noff",))
    assert row_of(one, ["gone"]) == {
        "name": "a.wav",
        "seconds": 2,
        "tags": [["Dog", round(0.98765, 4)]],
        "labels": ["Dog"],
        "events": 1,
        "notes": ["cut\\noff", "gone"],
    }
    assert detail_of(one)["events"] == [[0.5, 1.5, "Dog", 0.9]]
    assert row_of(FileFailure("b.wav", "empty", "it is")) == {
        "name": "b.wav",
        "error": "empty",
        "message": "it is",
    }


def test_the_summary_counts() -> None:
    summary = Summary()
    dog = Tag(1, 1, "/m/1", "Dog", 0.9)
    barks = tuple(Event(at, at + 0.5, 1, "/m/1", "Dog", 0.9, 0.9) for at in (0.0, 1.0))
    rain = Event(0.0, 2.0, 2, "/m/2", "Rain", 0.6, 0.6)
    summary.add(recording([(0, 2, {1: 0.9})], tags=(dog,), events=(*barks, rain)))
    summary.add(recording([(0, 2, {1: 0.9})], tags=(dog,), events=()))
    summary.add(FileFailure("b.wav", "empty", "it is"))
    summary.add(FileFailure("c.wav", "unreadable", "it is"))
    summary.add(FileFailure("d.wav", "empty", "it is"))
    assert (summary.tagged, summary.seconds, summary.timed) == (2, 4.0, 2)
    assert summary.reasons == [("empty", 2), ("unreadable", 1)]
    [(first, dogs), (second, rains)] = summary.by_frequency()
    assert (first, dogs.first, dogs.events, dogs.files, dogs.seconds) == ("Dog", 2, 2, 1, 1.0)
    assert (second, rains.first, rains.events, rains.seconds) == ("Rain", 0, 1, 2.0)
