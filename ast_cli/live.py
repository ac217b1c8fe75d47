"""A recording that still goes on -> what begins, what ends and what is heard, each as soon as it is known.

    reader = PipeReader(pipe)
    recording, form = open_stream(reader)
    for happening in Listener(tagger).listen(recording):
        match happening:
            case Started(event): ...
            case Ended(event): ...

Knows nothing of terminals or of where the audio comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ast_cli.audio.decode import Recording
from ast_cli.errors import InputError
from ast_cli.pipeline.windows import window_and_hop
from ast_cli.results import FRAMES_PER_SECOND, Event, Facts, Tag
from ast_cli.scoring.aggregate import require_finite
from ast_cli.scoring.events import EventFinder
from ast_cli.scoring.selection import Selection
from ast_cli.settings import (
    LIVE_SHORT,
    LIVE_WINDOW_SECONDS,
    EventSettings,
    Short,
    TagSettings,
    Threshold,
)
from ast_cli.tagger import Tagger


@dataclass(frozen=True, slots=True)
class Started:
    """A sound is heard. Its end and its scores are those so far."""

    event: Event


@dataclass(frozen=True, slots=True)
class Ended:
    """A sound that started is heard no more.

    Its times are those of `tag`, if the recording were a file. Where windows overlap, its start may be a
    little before or behind the one that was told, because what came after it shows more.
    """

    event: Event


@dataclass(frozen=True, slots=True)
class Heard:
    """A window was scored, after what it started and ended.

    Attributes:
        seconds: Where it ends, from the start of the stream: all before that is told.
        tags: Its highest labels, be they events or not.
    """

    seconds: float
    tags: tuple[Tag, ...]


Happening: TypeAlias = Started | Ended | Heard | Facts


class Listener:
    """How a stream is heard, worked out for a checkpoint.

    Events are neither merged nor left out for their length, as `tag` can: what is told cannot be taken back.

    Args:
        tagger: Scores the windows.
        window: Seconds in a window; `LIVE_WINDOW_SECONDS`, or what the model takes at most, if None.
        hop: Seconds from one window to the next; the window's length if None.
        short: What becomes of windows shorter than the model's: see `TagSettings`.
        channel: Channel number from 1; None for the mean of all.
        threshold: The score at which an event begins: see `LabelSettings`.
        include: Only these classes, likewise.
        exclude: Not these, likewise.
        rollup: Whether a class counts those below it in, likewise.
        hysteresis: See `EventSettings`.
        top_k: Labels in `Heard`.

    Attributes:
        window: Seconds in a window.
        hop: Seconds from one to the next.

    Raises:
        UsageError: An option has no such value.
    """

    def __init__(
        self,
        tagger: Tagger,
        *,
        window: float | None = None,
        hop: float | None = None,
        short: Short = LIVE_SHORT,
        channel: int | None = None,
        threshold: Threshold = None,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        rollup: bool = False,
        hysteresis: float = EventSettings().hysteresis,
        top_k: int = TagSettings().top_k,
    ) -> None:
        if window is None:
            window = min(LIVE_WINDOW_SECONDS, tagger.extractor.max_length / FRAMES_PER_SECOND)
        self._tagger = tagger
        self._events = EventSettings(hysteresis)
        self._settings = TagSettings(
            top_k=top_k,
            threshold=threshold,
            include=include,
            exclude=exclude,
            rollup=rollup,
            channel=channel,
            window=window,
            hop=hop,
            short=short,
            events=self._events,
        )
        self._selection = Selection(tagger.labels, self._settings)
        frames = window_and_hop(tagger.extractor, self._settings)
        self.window, self.hop = (count / FRAMES_PER_SECOND for count in frames)

    def listen(self, recording: Recording) -> Iterator[Happening]:
        """Hear a recording to its end, window by window as they fill.

        A window is told as soon as its last sample is there: first what ended before it, then what started
        with it, then itself. A recording shorter than a window is heard as a short clip, when it ends.

        Args:
            recording: As `open_stream` or `open_recording` opens it.

        Yields:
            Every event as `Started` and later as `Ended`; `Heard` for each window; last of all the facts.

        Raises:
            InputError: It cannot be read on, or holds less than a frame; what lasted has ended before.
        """
        finder = EventFinder(self._selection.event_thresholds(), self._events, self._selection.labels)
        facts: Facts | None = None
        broken: InputError | None = None
        try:
            for piece in self._tagger.each_window(recording, self._settings):
                if isinstance(piece, Facts):
                    facts = piece
                    continue
                window, scores = piece
                require_finite(scores)
                start = window.start / FRAMES_PER_SECOND
                end = (window.start + window.length) / FRAMES_PER_SECOND
                begun, ended = finder.push(start, end, self._selection.rolled_up(scores))
                yield from map(Ended, ended)
                yield from map(Started, begun)
                yield Heard(end, self._selection.tags(scores))
        except InputError as error:
            broken = error
        yield from map(Ended, finder.finish())
        if broken is not None:
            raise broken
        assert facts is not None
        yield facts
