"""`ast-tag listen`: audio on stdin in, what begins and ends out, while it goes on."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

from rich.console import Console

from ast_cli.cli import options
from ast_cli.cli.label_options import LABELS, EventLabelOptions, EventOptions, ScoresOption
from ast_cli.cli.live_screen import LiveScreen
from ast_cli.cli.option_groups import grouped, only, option, option_group, without
from ast_cli.cli.process import instead_of_interrupting
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import InputError, UsageError
from ast_cli.files import open_stdout
from ast_cli.outputs.live_lines import LiveLines
from ast_cli.settings import LIVE_SHORT, LIVE_WINDOW_SECONDS, RawEncoding, Short
from ast_cli.text import clock, color_system, counted

if TYPE_CHECKING:
    from ast_cli.audio.decode import Recording
    from ast_cli.audio.pipe import PipeReader
    from ast_cli.audio.stream import PcmFormat
    from ast_cli.live import Listener

EXAMPLE = "arecord -t wav -f S16_LE -r 16000 | ast-tag listen"
WORTH_A_WARNING = 10.0  # seconds behind
FEW = 10  # labels in the summary


@option_group(options.HEARD)
class StreamOptions:
    """What the stream is, where no header tells."""

    rate: int | None = option(
        None,
        "The stream is raw PCM of this rate.",
        metavar="HZ",
        min=1000,
        max=1_000_000,
        show_default="it is WAV, whose header tells",
    )
    channels: int | None = option(None, "Channels of raw PCM.", min=1, max=1024, show_default="1")
    encoding: RawEncoding | None = option(None, "Samples of raw PCM.", show_default="s16le")

    @property
    def pcm(self) -> PcmFormat | None:
        """None for WAV.

        Raises:
            UsageError: Something is said of raw PCM, but not its rate.
        """
        from ast_cli.audio.stream import PcmFormat

        if self.rate is not None:
            return PcmFormat(self.rate, self.channels or 1, self.encoding or "s16le")
        if self.channels or self.encoding:
            raise UsageError("--channels and --encoding tell of raw PCM, whose rate is missing", "Add --rate")
        return None


@option_group(options.HEARD)
class LiveWindowOptions(options.WindowOptions):
    """How the stream becomes windows."""

    window: float | None = option(
        None,
        "Length of a window.",
        metavar="SECONDS",
        show_default=f"{LIVE_WINDOW_SECONDS:g}, or the model's length if that is less",
    )
    hop: float | None = option(
        None,
        "From one window to the next: nothing is told sooner or finer.",
        metavar="SECONDS",
        show_default="the window's length",
    )
    short: Short = option(
        LIVE_SHORT,
        "Windows shorter than the model's: crop the model, which then is as much faster, pad them "
        "as in training, or repeat them.",
    )


@option_group(LABELS)
class LiveLabelOptions(EventLabelOptions):
    """Which classes have events, and what a score is."""

    scores: ScoresOption = "auto"


@grouped
def listen(
    *,
    raw: StreamOptions,
    windows: LiveWindowOptions,
    labels: Annotated[LiveLabelOptions, without("top_k")],
    events: Annotated[EventOptions, only("hysteresis")],
    model: options.ModelOptions,
    engine: Annotated[options.TorchEngineOptions, only("device", "dtype", "attn")],
    messages: options.MessageOptions,
) -> None:
    """Say what is heard on stdin while it goes on: what begins, and what has ended.

    [bold]arecord -t wav -f S16_LE -r 16000 | ast-tag listen[/bold]

    On a terminal you see what sounds now. Into a pipe or file goes a line of JSON, at once, for
    each start and each end, in seconds from the start of the stream. Nothing is told before a
    first window was heard.

    Nothing is lost where the model is too slow: you are told how far behind it is, and up to
    128 MB of audio wait for it (10 minutes of 48 kHz stereo); then the pipe does.

    Ctrl-C is the end of the stream: what lasts has ended, a summary follows, and the exit code is 0.
    """
    from ast_cli.audio.local import open_stdin
    from ast_cli.audio.pipe import PipeReader
    from ast_cli.audio.stream import open_stream

    pcm = raw.pcm
    settings = windows.settings
    threshold = labels.threshold_of(labels.scores)
    screen = messages.screen()
    # Read from now on, so that a recorder loses no samples while the model loads.
    reader = PipeReader(open_stdin(EXAMPLE))
    recording, form = open_stream(reader, pcm)

    tagger = options.open_tagger(model.model, engine.settings(model, labels.scores), screen)
    from ast_cli.live import Listener

    listener = Listener(tagger, labels.applied_to(settings, threshold.of(tagger.labels), events.settings))
    screen.warn_if_guessed(model.model[0], labels.scores, guessed=tagger.scores_are_guessed)
    session = _Session(reader, recording, form, listener, screen)
    # An end shows in the first window without the sound, which begins a hop later at most. A start shows
    # sooner: of the example clips, nine in ten were told within a window and a fifth.
    screen.said(
        f"listening: {form}; a start is mostly told within {listener.window:g} s, an end within "
        f"{listener.window + listener.hop:g} s, and the time that the model takes"
    )
    session.run()


class _Session:
    """One stream from its first window to the summary."""

    def __init__(
        self, reader: PipeReader, recording: Recording, form: PcmFormat, listener: Listener, screen: TagScreen
    ) -> None:
        self._reader = reader
        self._recording = recording
        self._form = form
        self._listener = listener
        self._screen = screen
        self._seconds = 0.0
        self._counts: Counter[str] = Counter()
        self._stopped = False
        self._is_live = True
        self._warned = WORTH_A_WARNING / 2  # seconds behind; the next warning comes at twice as many

    def run(self) -> None:
        """Process it to its end."""
        try:
            # In a pipeline Ctrl-C ends the recorder, too: the end of the stream and the signal come at the
            # same time, and must end it the same way.
            with open_stdout() as stream, instead_of_interrupting(self._stop):
                if stream.isatty():
                    console = Console(file=stream, color_system=color_system(), highlight=False)
                    with LiveScreen(console, self._listener.window) as live:
                        self._process(live)
                else:
                    self._process(LiveLines(stream))
        except BrokenPipeError:
            if not self._stopped:
                raise
            # Ctrl-C reaches all of a pipeline: `tee` is gone before the last line.
        except InputError as error:
            # What was stopped before it held a frame is no failure.
            if not self._stopped or error.word not in ("empty", "too-short"):
                if self._seconds:
                    self._screen.said(self._summary())
                raise
        self._screen.said(self._summary())

    def _stop(self) -> None:
        self._stopped = True
        self._reader.stop()

    def _process(self, output: LiveLines | LiveScreen) -> None:
        from ast_cli.live import Ended, Started, WindowScored

        for one in self._listener.listen(self._recording):
            if isinstance(one, Started):
                self._counts[one.event.label] += 1
                output.started(one.event)
            elif isinstance(one, Ended):
                output.ended(one.event)
            elif isinstance(one, WindowScored):
                self._seconds = one.seconds
                behind = self._behind()
                if isinstance(output, LiveLines):
                    output.require_reader()
                else:
                    output.scored(one.seconds, one.tags, behind)
                self._warn_if_late(behind)
            else:
                self._seconds = one.duration
                # An end that somebody chose cuts where it will.
                for warning in () if self._stopped else one.warnings:
                    self._screen.warn(warning)

    def _behind(self) -> float:
        """Seconds of audio that were read and not scored."""
        return max(0.0, self._reader.received / self._form.bytes_per_second - self._seconds)

    def _warn_if_late(self, behind: float) -> None:
        received = self._reader.received / self._form.bytes_per_second
        if received > time.monotonic() - self._reader.started + WORTH_A_WARNING:
            self._is_live = False  # no microphone is so far ahead of the clock: a file waits, nobody else
        if behind < self._listener.window:
            self._warned = WORTH_A_WARNING / 2
        elif self._is_live and not self._reader.ended and behind >= 2 * self._warned:
            self._warned = behind
            self._screen.warn(
                f"{clock(behind)} behind: the sound comes faster than the model hears it; --short crop, "
                "a hop as long as the window, or another --device are faster"
            )

    def _summary(self) -> str:
        events = sum(self._counts.values())
        often = [f"{label} {count}" for label, count in self._counts.most_common(FEW)]
        more = " …" if len(self._counts) > FEW else ""
        unheard = self._behind() if self._stopped else 0.0
        waited = f"; {clock(unheard)} more waited for the model" if unheard > self._listener.window else ""
        return (
            f"heard {clock(self._seconds)}{waited}: {counted(events, 'event')}"
            f"{': ' if often else ''}{' · '.join(often)}{more}"
        )
