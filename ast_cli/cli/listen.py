"""`ast-tag listen`: audio on stdin in, what begins and ends out, while it goes on."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.live_screen import LiveScreen
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.tag import channel_of
from ast_cli.errors import InputError, UsageError
from ast_cli.files import open_stdout
from ast_cli.outputs.live_lines import LiveLines
from ast_cli.results import Event
from ast_cli.settings import LIVE_SHORT, LIVE_WINDOW_SECONDS, EventSettings, RawEncoding, Scores, Short
from ast_cli.text import clock, counted

if TYPE_CHECKING:
    from ast_cli.audio.decode import Recording
    from ast_cli.audio.pipe import PipeReader
    from ast_cli.audio.stream import PcmFormat
    from ast_cli.live import Listener

EXAMPLE = "arecord -t wav -f S16_LE -r 16000 | ast-tag listen"
WORTH_A_WARNING = 10.0  # seconds behind
FEW = 10  # labels in the summary


def listen(
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ",
            min=1000,
            max=1_000_000,
            rich_help_panel=options.HEARD,
            help="The stream is raw PCM of this rate.",
            show_default="it is WAV, whose header tells",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, rich_help_panel=options.HEARD, help="Channels of raw PCM.", show_default="1"
        ),
    ] = None,
    encoding: Annotated[
        RawEncoding | None,
        typer.Option(rich_help_panel=options.HEARD, help="Samples of raw PCM.", show_default="s16le"),
    ] = None,
    channel: options.ChannelOption = "mix",
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=options.HEARD,
            help="Length of a window.",
            show_default=f"{LIVE_WINDOW_SECONDS:g}, or the model's length if that is less",
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=options.HEARD,
            help="From one window to the next: nothing is told sooner or finer.",
            show_default="the window's length",
        ),
    ] = None,
    short: Annotated[
        Short,
        typer.Option(
            rich_help_panel=options.HEARD,
            help="Windows shorter than the model's: crop the model, which then is as much faster, pad them "
            "as in training, or repeat them.",
        ),
    ] = LIVE_SHORT,
    threshold: options.EventThresholdOption = None,
    include: options.IncludeOption = None,
    exclude: options.ExcludeOption = None,
    rollup: options.RollupOption = False,
    scores: Annotated[
        Scores,
        typer.Option(rich_help_panel=options.LABELS, help="What a score is; auto follows the checkpoint."),
    ] = "auto",
    hysteresis: options.HysteresisOption = EventSettings().hysteresis,
    model: options.ModelOption = [DEFAULT_MODEL],  # noqa: B006 — Typer copies it
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    device: options.DeviceOption = "auto",
    dtype: options.TorchDtypeOption = "auto",
    attn: options.AttnOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
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
    from ast_cli.audio.stream import PcmFormat, open_stream

    raw = None
    if rate is not None:
        raw = PcmFormat(rate, channels or 1, encoding or "s16le")
    elif channels or encoding:
        raise UsageError("--channels and --encoding tell of raw PCM, whose rate is missing", "Add --rate")
    mixed = channel_of(channel)
    number, thresholds = options.threshold_of(threshold, scores)
    screen = TagScreen(quiet=quiet, verbose=verbose)
    # Read from now on, lest a recorder lose samples while the model loads.
    reader = PipeReader(open_stdin(EXAMPLE))
    recording, form = open_stream(reader, raw)

    from ast_cli.live import Listener
    from ast_cli.tagger import Tagger

    tagger = Tagger.from_pretrained(
        model,
        revision,
        device=device,
        dtype=dtype,
        attn_implementation=attn,
        scores=scores,
        offline=offline,
    )
    limit: Any = number
    if thresholds is not None:
        from ast_cli.training.thresholds import read_thresholds

        limit = read_thresholds(thresholds, tagger.labels)
    listener = Listener(
        tagger,
        window=window,
        hop=hop,
        short=short,
        channel=mixed,
        threshold=limit,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        rollup=rollup,
        hysteresis=hysteresis,
    )
    screen.note(tagger.description)
    screen.warn_if_guessed(model[0], scores, guessed=tagger.scores_are_guessed)
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
        """Hear it to its end."""
        try:
            with open_stdout() as stream, _instead_of_interrupting(self._stop):
                if stream.isatty():
                    console = Console(file=stream, highlight=False)
                    with LiveScreen(console, self._listener.window) as live:
                        self._hear(live)
                else:
                    self._hear(LiveLines(stream))
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

    def _hear(self, output: LiveLines | LiveScreen) -> None:
        from ast_cli.live import Ended, Heard, Started

        for happening in self._listener.listen(self._recording):
            if isinstance(happening, Started):
                self._started(happening.event)
                output.started(happening.event)
            elif isinstance(happening, Ended):
                output.ended(happening.event)
            elif isinstance(happening, Heard):
                self._seconds = happening.seconds
                behind = self._behind()
                if isinstance(output, LiveLines):
                    output.require_reader()
                else:
                    output.heard(happening.seconds, happening.tags, behind)
                self._warn_if_late(behind)
            else:
                self._seconds = happening.duration
                # An end that somebody chose cuts where it will.
                for warning in () if self._stopped else happening.warnings:
                    self._screen.warn(warning)

    def _started(self, event: Event) -> None:
        self._counts[event.label] += 1

    def _behind(self) -> float:
        """Seconds of audio that were read and not heard."""
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


@contextmanager
def _instead_of_interrupting(act: Callable[[], None]) -> Iterator[None]:
    """While the block runs, what would interrupt it calls `act`, once; after that it interrupts again.

    In a pipeline Ctrl-C ends the recorder, too, so that the end of the stream and the signal come at the same
    time: both must end it the same way.
    """
    numbers = [
        one
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(one) is signal.default_int_handler  # nohup, say, has it ignored
    ]

    def handle(number: int, frame: object) -> None:
        restore()
        act()

    def restore() -> None:
        for one in numbers:
            signal.signal(one, signal.default_int_handler)

    for one in numbers:
        signal.signal(one, handle)
    try:
        yield
    finally:
        restore()
