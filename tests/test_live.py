"""`Listener` against `Tagger` on the same samples, and against itself however the stream is cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ast_cli import Tagger
from ast_cli.audio.decode import Recording
from ast_cli.audio.stream import PcmFormat, open_stream
from ast_cli.errors import InputError, UsageError
from ast_cli.live import Ended, Listener, Started, StreamEvent, WindowScored
from ast_cli.results import Event, Facts
from ast_cli.settings import EventSettings

RATE = 16_000
THRESHOLD = 0.3  # at which some classes of the random network begin and end all the time
FRAMES_LOST = 0.025  # seconds by which the last whole frame may end before the recording
TOLERANCE = 1e-5  # of scores: float32 sums of one window, and of several in a batch

Waveform = NDArray[np.float32]


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu")


def sound(seconds: float, channels: int = 1, rate: int = RATE) -> Waveform:
    """Noise that swells and fades, so that every window is different."""
    time = np.arange(round(seconds * rate))[:, None] / rate
    loudness = 0.001 + 0.3 * np.sin(2 * np.pi * 0.17 * time) ** 8
    noise = np.random.default_rng(0).standard_normal((len(time), channels))
    return (loudness * noise).astype(np.float32)


def recording(samples: Waveform, size: int = RATE, rate: int = RATE) -> Recording:
    blocks = (samples[start : start + size] for start in range(0, len(samples), size))
    return Recording(rate, samples.shape[1], blocks)


def listen(tagger: Tagger, samples: Waveform, size: int = RATE, **options: Any) -> list[StreamEvent]:
    return [*Listener(tagger, threshold=THRESHOLD, **options).listen(recording(samples, size))]


def started(reported: list[StreamEvent]) -> list[Event]:
    return [one.event for one in reported if isinstance(one, Started)]


def ended(reported: list[StreamEvent]) -> list[Event]:
    return [one.event for one in reported if isinstance(one, Ended)]


def heard(reported: list[StreamEvent]) -> list[float]:
    return [one.seconds for one in reported if isinstance(one, WindowScored)]


@pytest.mark.parametrize("options", [{}, {"hop": 0.5}, {"window": 0.6, "hop": 0.4, "short": "pad"}])
def test_what_has_ended_is_what_tag_finds_in_the_same_recording(
    options: dict[str, Any], tagger: Tagger
) -> None:
    samples = sound(12)
    found = ended(listen(tagger, samples, **options))
    options = {"short": "crop"} | options
    result = tagger.tag_waveform(
        samples.T, RATE, threshold=THRESHOLD, events=EventSettings(max_gap=0.0), **options
    )
    # Events of a file that touch are one; live they were told apart.
    assert result.events
    assert len(result.events) > 10
    for event in result.events:
        parts = [
            one
            for one in found
            if one.index == event.index and event.start - 1e-6 <= one.start and one.end <= event.end + 1e-6
        ]
        assert parts[0].start == event.start
        assert parts[-1].end == pytest.approx(event.end, abs=FRAMES_LOST)
        assert max(one.score for one in parts) == pytest.approx(event.score, abs=TOLERANCE)
        for one in parts:
            found.remove(one)
    assert found == []


@pytest.mark.parametrize("options", [{}, {"hop": 0.4}])
def test_every_event_starts_once_and_ends_once(options: dict[str, Any], tagger: Tagger) -> None:
    lasting: set[int] = set()
    reported = listen(tagger, sound(12), **options)
    for one in reported:
        if isinstance(one, Started):
            assert one.event.index not in lasting
            lasting.add(one.event.index)
        elif isinstance(one, Ended):
            lasting.remove(one.event.index)
    assert lasting == set()
    assert len(started(reported)) == len(ended(reported)) > 10


def test_what_a_window_tells_comes_before_the_next_is_read(tagger: Tagger) -> None:
    given = 0

    def blocks() -> Iterator[Waveform]:
        nonlocal given
        for block in np.split(sound(8), 80):
            given += 1
            yield block

    for one in Listener(tagger, window=1.0).listen(Recording(RATE, 1, blocks())):
        if isinstance(one, Started):
            # A window of 100 frames is complete 15 ms after its last one began.
            assert one.event.end <= given / 10 <= one.event.end + 0.1 + 1e-6
        elif isinstance(one, WindowScored):
            assert one.seconds <= given / 10 <= one.seconds + 0.1 + 1e-6


@pytest.mark.parametrize("rate", [RATE, 11_025, 44_100])
def test_however_the_stream_is_cut_the_same_is_told(rate: int, tagger: Tagger) -> None:
    data = (sound(2.7, 2, rate) * 32767).astype("<i2").tobytes()
    told = []
    for size in (7, 5000, len(data)):
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        stream, _ = open_stream(pieces, PcmFormat(rate, 2))
        told.append([*Listener(tagger, threshold=THRESHOLD).listen(stream)])
    assert started(told[0])
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 96_000])
def test_seconds_are_those_of_the_stream(rate: int, channels: int, tagger: Tagger) -> None:
    stream = recording(sound(2.5, channels, rate), 4000, rate)
    reported = [*Listener(tagger, window=1.0).listen(stream)]
    assert heard(reported)[:2] == [1.0, 2.0]
    facts = reported[-1]
    assert isinstance(facts, Facts)
    assert (facts.duration, facts.sample_rate, facts.channels) == (
        pytest.approx(2.5, abs=1e-4),
        rate,
        channels,
    )


def test_a_window_is_two_seconds_unless_the_model_takes_less(tagger: Tagger) -> None:
    assert (Listener(tagger).window, Listener(tagger).hop) == (1.28, 1.28)
    assert (Listener(tagger, window=1.0).hop, Listener(tagger, hop=0.5).window) == (1.0, 1.28)
    built_in = Tagger.from_pretrained("tiny", device="cpu")
    assert (Listener(built_in).window, Listener(built_in).hop) == (2.0, 2.0)


def test_a_stream_shorter_than_a_window_is_heard_at_its_end(tagger: Tagger) -> None:
    reported = listen(tagger, sound(0.5))
    assert heard(reported) == [pytest.approx(0.5, abs=FRAMES_LOST)]
    assert len(started(reported)) == len(ended(reported))


def test_silence_is_heard_and_is_no_failure(tagger: Tagger) -> None:
    assert len(heard(listen(tagger, np.zeros((4 * RATE, 1), np.float32)))) == 4


def test_classes_and_thresholds_are_those_that_are_asked_for(tagger: Tagger) -> None:
    samples = sound(12)
    all_of_them = started(listen(tagger, samples))
    one = all_of_them[0].label
    assert {event.label for event in started(listen(tagger, samples, include=(one,)))} == {one}
    without = started(listen(tagger, samples, exclude=(one,)))
    assert without == [event for event in all_of_them if event.label != one]
    assert len(started(listen(tagger, samples, rollup=True))) != len(all_of_them)
    # Whoever asks for nothing less than the threshold has an end at every window below it.
    assert len(started(listen(tagger, samples, events=EventSettings(hysteresis=1.0)))) > len(all_of_them)


def test_the_labels_of_a_window_are_its_highest(tagger: Tagger) -> None:
    for one in Listener(tagger, top_k=3).listen(recording(sound(3))):
        if isinstance(one, WindowScored):
            assert [tag.rank for tag in one.tags] == [1, 2, 3]
            assert one.tags[0].score >= one.tags[2].score


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        (np.zeros((0, 1), np.float32), "empty"),
        (sound(0.02), "too-short"),
        (np.full((RATE * 2, 1), 1e30, np.float32), "non-finite"),
        (np.array([[0.0]] * RATE + [[np.nan]], np.float32), "non-finite"),
    ],
)
def test_what_cannot_be_heard_is_named(samples: Waveform, word: str, tagger: Tagger) -> None:
    with pytest.raises(InputError) as caught:
        listen(tagger, samples)
    assert caught.value.word == word


def test_what_lasts_when_the_stream_breaks_has_ended(tagger: Tagger) -> None:
    samples = np.concatenate([sound(4), np.full((10, 1), np.inf, np.float32)])
    found: list[StreamEvent] = []
    with pytest.raises(InputError, match=r"at 4\.000 s is not a finite number"):
        found.extend(Listener(tagger, threshold=THRESHOLD).listen(recording(samples)))
    assert len(started(found)) == len(ended(found)) > 0


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"window": 3.0}, "longer than the 1.28 s of the model"),
        ({"hop": 2.0}, "would skip audio"),
        ({"window": 0.0}, "at least 0.01 s"),
        ({"hysteresis": 2.0}, "hysteresis"),
        ({"include": ("no such sound",)}, "no class"),
        ({"short": "stretch"}, "no such way"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_heard(
    options: dict[str, Any], hint: str, tagger: Tagger
) -> None:
    with pytest.raises(UsageError, match=hint):
        Listener(tagger, **({"events": EventSettings(**options)} if "hysteresis" in options else options))


def test_a_channel_that_is_not_there_is_named(tagger: Tagger) -> None:
    with pytest.raises(InputError, match="no channel 3"):
        listen(tagger, sound(2, 2), channel=3)
