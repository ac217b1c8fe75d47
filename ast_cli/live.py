"""A recording that still goes on -> events that begin and end, and windows, each as soon as it is known.

    reader = PipeReader(pipe)
    recording, form = open_stream(reader)
    for event in Listener(tagger).listen(recording):
        match event:
            case Started(sound): ...
            case Ended(sound): ...

Knows nothing of terminals or of where the audio comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from typing_extensions import Unpack

from ast_cli.audio.decode import Recording
from ast_cli.errors import InputError
from ast_cli.pipeline.windows import window_and_hop
from ast_cli.results import FRAMES_PER_SECOND, Event, Facts, Tag
from ast_cli.scoring.aggregate import require_finite
from ast_cli.scoring.events import EventFinder
from ast_cli.scoring.selection import Selection
from ast_cli.settings import LIVE_SHORT, LIVE_WINDOW_SECONDS, EventSettings, TagOptions, TagSettings
from ast_cli.tagger import Tagger


@dataclass(frozen=True, slots=True)
class Started:
    """An event began. Its end and its scores are those so far."""

    event: Event


@dataclass(frozen=True, slots=True)
class Ended:
    """An event that started is over.

    Its times are those of `tag`, if the recording were a file. Where windows overlap, its start may be a
    little before or after the one that was reported, because later windows show more.
    """

    event: Event


@dataclass(frozen=True, slots=True)
class WindowScored:
    """A window was scored, after what it started and ended.

    Attributes:
        seconds: Where it ends, from the start of the stream: all events before that are reported.
        tags: Its highest labels, whether or not they are events.
    """

    seconds: float
    tags: tuple[Tag, ...]


StreamEvent: TypeAlias = Started | Ended | WindowScored | Facts
LIVE = TagSettings(short=LIVE_SHORT, events=EventSettings())


class Listener:
    """How a stream is processed, worked out for a checkpoint.

    Events are neither merged nor left out for their length, as `tag` can: what was reported cannot be taken
    back.

    Args:
        tagger: Scores the windows.
        settings: A `window` of None is `LIVE_WINDOW_SECONDS`, or what the model takes at most; `top_k` is of
            the labels in `WindowScored`, and of `events` only the hysteresis matters.
        **options: Fields of `TagSettings` that replace those of `settings`.

    Attributes:
        window: Seconds in a window.
        hop: Seconds from one to the next.

    Raises:
        UsageError: An option has no such value.
    """

    def __init__(self, tagger: Tagger, settings: TagSettings = LIVE, **options: Unpack[TagOptions]) -> None:
        settings = replace(settings, **options)
        if settings.window is None:
            window = min(LIVE_WINDOW_SECONDS, tagger.extractor.max_length / FRAMES_PER_SECOND)
            settings = replace(settings, window=window)
        self._tagger = tagger
        self._settings = settings
        self._selection = Selection(tagger.labels, settings)
        frames = window_and_hop(tagger.extractor, settings)
        self.window, self.hop = (count / FRAMES_PER_SECOND for count in frames)

    def listen(self, recording: Recording) -> Iterator[StreamEvent]:
        """Process a recording to its end, window by window as they fill.

        A window is reported as soon as its last sample is there: first what ended before it, then what
        started with it, then itself. A recording shorter than a window is a short clip, when it ends.

        Args:
            recording: As `open_stream` or `open_recording` opens it.

        Yields:
            Every event as `Started` and later as `Ended`; `WindowScored` for each window; last, the facts.

        Raises:
            InputError: It cannot be read on, or holds less than a frame; what lasted has ended before.
        """
        # Of the settings of events, those that need what comes after an event cannot hold.
        events = EventSettings((self._settings.events or EventSettings()).hysteresis)
        finder = EventFinder(self._selection.event_thresholds(), events, self._selection.labels)
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
                yield WindowScored(end, self._selection.tags(scores))
        except InputError as error:
            broken = error
        yield from map(Ended, finder.finish())
        if broken is not None:
            raise broken
        assert facts is not None
        yield facts
