"""Events for the programs that show them beside the sound, or compare them with annotations.

None of these formats can quote, so what would end a line, a field or a cue is escaped; see `text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TextIO

from ast_cli.outputs.writer import Writer
from ast_cli.results import Event, FileResult, RunInfo, display_name
from ast_cli.text import cell, cell_path, one_line

RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Annotation",
    "Score",
)
DCASE_COLUMNS = ("filename", "onset", "offset", "event_label")
HIGHEST_HZ = 8000.0  # half of the model's sample rate: it receives nothing above
NOT_APPLICABLE = "<NA>"


class AudacityWriter(Writer):
    """A label track of Audacity: `start<TAB>end<TAB>label (score)`, of one recording."""

    suffix = ".txt"
    of_events = True
    holds_many = False

    def result(self, result: FileResult) -> None:
        """Write a line for each event."""
        for event in events_of(result):
            self.stream.write(
                f"{event.start:.6f}\t{event.end:.6f}\t{cell(event.label)} ({event.score:.3f})\n"
            )


class RavenWriter(Writer):
    """A selection table of Raven.

    Raven opens the recordings of a table as one sequence. So Begin Time and End Time count from the start of
    the first, over the durations of those between; File Offset counts from the start of the event's own.
    A recording that failed is not in the sequence: nobody knows how long it is.
    """

    suffix = ".selection.table.txt"
    of_events = True

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        self._selections = 0
        self._before = 0.0  # seconds of the recordings so far

    def begin(self) -> None:
        """Write the header."""
        self.stream.write("\t".join(RAVEN_COLUMNS) + "\n")

    def result(self, result: FileResult) -> None:
        """Write a selection for each event."""
        path = cell_path(display_name(result.file))
        highest = f"{min(result.sample_rate / 2, HIGHEST_HZ):.1f}"
        for event in events_of(result):
            self._selections += 1
            begin, end = (f"{self._before + time:.6f}" for time in (event.start, event.end))
            where = f"{begin}\t{end}\t0.0\t{highest}\t{path}\t{event.start:.6f}"
            what = f"{cell(event.label)}\t{event.score:.6f}"
            self.stream.write(f"{self._selections}\tSpectrogram 1\t1\t{where}\t{what}\n")
        self._before += result.duration


class DcaseWriter(Writer):
    """The tables of the DCASE challenges, as their scoring tools read them."""

    suffix = ".tsv"
    of_events = True

    def begin(self) -> None:
        """Write the header."""
        self.stream.write("\t".join(DCASE_COLUMNS) + "\n")

    def result(self, result: FileResult) -> None:
        """Write a line for each event."""
        file = cell_path(display_name(result.file))
        for event in events_of(result):
            self.stream.write(f"{file}\t{event.start:.3f}\t{event.end:.3f}\t{cell(event.label)}\n")


class RttmWriter(Writer):
    """Rich Transcription Time Marked, as tools for diarization read it: labels stand where speakers would."""

    suffix = ".rttm"
    of_events = True

    def result(self, result: FileResult) -> None:
        """Write a line for each event."""
        uri = _rttm_field(display_name(result.file))
        for event in events_of(result):
            # Of the rounded times, so that start and duration together give the end that other formats have.
            duration = round(event.end, 3) - round(event.start, 3)
            label = _rttm_field(event.label)
            times = f"{event.start:.3f} {duration:.3f}"
            self.stream.write(f"SPEAKER {uri} 1 {times} <NA> <NA> {label} <NA> <NA>\n")


class VttWriter(Writer):
    """WebVTT captions, of one recording; its text has the escapes of HTML."""

    suffix = ".vtt"
    of_events = True
    holds_many = False

    def begin(self) -> None:
        """Write what makes it WebVTT."""
        self.stream.write("WEBVTT\n\n")

    def result(self, result: FileResult) -> None:
        """Write a cue for each event."""
        for event in events_of(result):
            text = _cue_text(event).replace("&", "&amp;").replace("<", "&lt;").replace("-->", "--&gt;")
            self.stream.write(f"{_cue_times(event, '.')}\n{text}\n\n")


class SrtWriter(Writer):
    r"""SubRip captions, of one recording. It has no escapes: `-->` in a label is shown as `--\>`."""

    suffix = ".srt"
    of_events = True
    holds_many = False

    def result(self, result: FileResult) -> None:
        """Write a numbered cue for each event."""
        for number, event in enumerate(events_of(result), start=1):
            text = _cue_text(event).replace("-->", r"--\>")
            self.stream.write(f"{number}\n{_cue_times(event, ',')}\n{text}\n\n")


def events_of(result: FileResult) -> tuple[Event, ...]:
    """The events of a result; choosing a format of events made the run find them."""
    assert result.events is not None, "a format of events needs events"
    return result.events


def _rttm_field(text: str) -> str:
    """Fields end at blanks, and nothing can be quoted; an empty one is the format's own word for none."""
    field = one_line(re.sub(r"\s", "_", text))
    # Some read it as a table all the same, where a quote at the start holds everything to the next quote.
    return rf"\{field}" if field.startswith('"') else field or NOT_APPLICABLE


def _cue_text(event: Event) -> str:
    return f"{one_line(event.label)} ({event.score:.3f})"


def _cue_times(event: Event, point: str) -> str:
    return " --> ".join(_cue_time(time, point) for time in (event.start, event.end))


def _cue_time(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{milliseconds:03}"
