"""Events for the programs that show them beside the sound, or compare them with annotations.

None of these formats can quote, so what would end a line, a field or a cue is escaped; see `text`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TextIO

from ast_cli.outputs.writer import Writer
from ast_cli.results import Event, FileResult, RunInfo, display_name
from ast_cli.text import cell, cell_path, one_line

RAVEN_COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin Path", "File Offset (s)", "Annotation", "Score"),
)
DCASE_COLUMNS = ("filename", "onset", "offset", "event_label")
HIGHEST_HZ = 8000.0  # half of the model's sample rate: it receives nothing above
NOT_APPLICABLE = "<NA>"


class EventWriter(Writer):
    """What the formats of events share: perhaps a header, then the text of each event.

    Attributes:
        header: Stands before the first recording.
    """

    of_events = True
    header: ClassVar[str] = ""

    def begin(self) -> None:
        """Write the header."""
        self.stream.write(self.header)

    def result(self, result: FileResult) -> None:
        """Write the events of a recording; choosing a format of events made the run find them."""
        assert result.events is not None, "a format of events needs events"
        self.stream.writelines(self._texts(result, result.events))

    @abstractmethod
    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        """The text of each event, with its line end."""


class AudacityWriter(EventWriter):
    """A label track of Audacity: `start<TAB>end<TAB>label (score)`, of one recording."""

    suffix = ".txt"
    holds_many = False

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        for event in events:
            yield f"{event.start:.6f}\t{event.end:.6f}\t{cell(event.label)} ({event.score:.3f})\n"


class RavenWriter(EventWriter):
    """A selection table of Raven.

    Raven opens the recordings of a table as one sequence. So Begin Time and End Time count from the start of
    the first, over the durations of those between; File Offset counts from the start of the event's own.
    A recording that failed is not in the sequence: nobody knows how long it is.
    """

    suffix = ".selection.table.txt"
    header = "\t".join(RAVEN_COLUMNS) + "\n"

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        self._selections = 0
        self._before = 0.0  # seconds of the recordings so far

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        path = cell_path(display_name(result.file))
        highest = f"{min(result.sample_rate / 2, HIGHEST_HZ):.1f}"
        for event in events:
            self._selections += 1
            begin, end = (f"{self._before + time:.6f}" for time in (event.start, event.end))
            where = f"{begin}\t{end}\t0.0\t{highest}\t{path}\t{event.start:.6f}"
            what = f"{cell(event.label)}\t{event.score:.6f}"
            yield f"{self._selections}\tSpectrogram 1\t1\t{where}\t{what}\n"
        self._before += result.duration


class DcaseWriter(EventWriter):
    """The tables of the DCASE challenges, as their scoring tools read them."""

    suffix = ".tsv"
    header = "\t".join(DCASE_COLUMNS) + "\n"

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        file = cell_path(display_name(result.file))
        for event in events:
            yield f"{file}\t{event.start:.3f}\t{event.end:.3f}\t{cell(event.label)}\n"


class RttmWriter(EventWriter):
    """Rich Transcription Time Marked, as tools for diarization read it: labels stand where speakers would.

    Blanks become `_`. A recording that then is called as one before gets a number, as `a_b.wav~2`.
    """

    suffix = ".rttm"

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        self._files: dict[str, int] = {}  # the hash of the path that each name of a recording stands for

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        first = uri = _rttm_field(display_name(result.file))
        number = 1
        while self._files.setdefault(uri, hash(result.file)) != hash(result.file):
            number += 1
            uri = f"{first}~{number}"
        for event in events:
            # Of the rounded times, so that start and duration together give the end that other formats have.
            duration = round(event.end, 3) - round(event.start, 3)
            label = _rttm_field(event.label)
            times = f"{event.start:.3f} {duration:.3f}"
            yield f"SPEAKER {uri} 1 {times} <NA> <NA> {label} <NA> <NA>\n"


class VttWriter(EventWriter):
    """WebVTT captions, of one recording; its text has the escapes of HTML."""

    suffix = ".vtt"
    header = "WEBVTT\n\n"
    holds_many = False

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        for event in events:
            text = _cue_text(event).replace("&", "&amp;").replace("<", "&lt;").replace("-->", "--&gt;")
            yield f"{_cue_times(event, '.')}\n{text}\n\n"


class SrtWriter(EventWriter):
    r"""SubRip captions, of one recording. It has no escapes: `-->` in a label is shown as `--\>`."""

    suffix = ".srt"
    holds_many = False

    def _texts(self, result: FileResult, events: Sequence[Event]) -> Iterator[str]:
        for number, event in enumerate(events, start=1):
            text = _cue_text(event).replace("-->", r"--\>")
            yield f"{number}\n{_cue_times(event, ',')}\n{text}\n\n"


def _rttm_field(text: str) -> str:
    """Fields end at blanks, and nothing can be quoted; an empty one is the format's own word for none."""
    field = one_line(re.sub(r"\s", "_", text))
    # Some read it as a table all the same, where a quote at the start holds everything to the next quote.
    return rf"\{field}" if field.startswith('"') else field or NOT_APPLICABLE


def _cue_text(event: Event) -> str:
    return f"{one_line(event.label)} ({event.score:.3f})"


def _cue_times(event: Event, point: str) -> str:
    return f"{_cue_time(event.start, point)} --> {_cue_time(event.end, point)}"


def _cue_time(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{milliseconds:03}"
