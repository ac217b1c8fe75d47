"""The events of a run -> clips: which ones, where they go, and why there is none of an event.

Knows nothing of networks and scores.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

from ast_cli.clips.files import DECIMALS, ChangedError, Cut, cut_recording
from ast_cli.clips.places import class_folders, find_recording
from ast_cli.errors import InputError, UsageError
from ast_cli.names import STDIN
from ast_cli.outputs.csv_writer import UnixLines
from ast_cli.outputs.destination import place_in_folder
from ast_cli.results import Event, FileResult, Outcome, display_name
from ast_cli.settings import ClipFormat
from ast_cli.text import inert, inert_path, without_controls

Skipped = Literal["", "limit", "missing", "changed", "unreadable", "empty", "already-there"]

COLUMNS = (
    *("clip", "file", "index", "mid", "label", "start", "end", "score", "clip_start", "clip_end"),
    *("skipped", "message"),
)


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How clips are cut.

    Attributes:
        margin: Seconds before and after each event that belong to the clip, too.
        most: Clips of each class, those of the highest scores; None for all.
        format: Of the files.
    """

    margin: float = 0.0
    most: int | None = None
    format: ClipFormat = "wav"

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise UsageError(f"margin must be 0 s or more, not {self.margin}")
        if self.most is not None and self.most < 1:
            raise UsageError(f"clips of a class must be 1 or more, not {self.most}")


@dataclass(frozen=True, slots=True)
class Clip:
    """The clip of an event, or the reason why there is none.

    Attributes:
        file: The recording's path as results have it.
        event: What was asked for.
        path: The file that holds it, from the folder of all; or would hold it.
        start: Where it starts in the recording, in seconds.
        end: Where it ends there.
        skipped: Why there is none: there are enough of its class (`limit`); its recording is `missing`,
            `changed` or `unreadable`, or came before (`already-there`); or no sample lies in it (`empty`).
            Empty if there is one.
        message: Cause and remedy in one line, if something is wrong with the recording.
    """

    file: str
    event: Event
    path: Path
    start: float
    end: float
    skipped: Skipped = ""
    message: str = ""


class Cutter:
    """Cuts the events of a run.

    Args:
        outcomes: Gives the outcomes with their events; several times.
        labels: The name of each class.
        folder: For the clips.
        base: Clips stand at the recording's path from here, within the folder of their class.
        audio: Where the recordings are if they were moved; None for where they were.
        settings: How they are cut.
    """

    def __init__(
        self,
        outcomes: Callable[[], Iterator[Outcome]],
        labels: Sequence[str],
        folder: Path,
        base: Path,
        audio: Path | None = None,
        settings: ClipSettings | None = None,
    ) -> None:
        self._outcomes = outcomes
        self._folders = class_folders(labels)
        self._folder = folder
        self._base = base
        self._audio = audio
        self._settings = settings or ClipSettings()

    def clips(self) -> Iterator[Clip]:
        """The clip of each event, in their order.

        Raises:
            OutputError: A clip cannot be written; those of the recordings before are there.
        """
        chosen = None if self._settings.most is None else self._best(self._settings.most)
        done: set[int] = set()  # a number for each recording that had events
        for number, outcome in enumerate(self._outcomes()):
            if not isinstance(outcome, FileResult) or not outcome.events:
                continue
            clips = [self._planned(outcome, event) for event in outcome.events]
            wanted = [place for place in range(len(clips)) if chosen is None or (number, place) in chosen]
            cut: dict[int, Clip] = {}
            if wanted:
                key = hash(place_in_folder(outcome.file, self._base, ""))
                found = [clips[place] for place in wanted]
                if key in done:
                    message = "the results have this recording twice"
                    found = [replace(one, skipped="already-there", message=message) for one in found]
                else:
                    found = self._cut(outcome, found)
                done.add(key)
                cut = dict(zip(wanted, found, strict=True))
            for place, clip in enumerate(clips):
                yield cut.get(place) or replace(clip, skipped="limit")

    def _best(self, most: int) -> set[tuple[int, int]]:
        """Number of outcome and event of the highest scores of each class, of equal ones the first."""
        best: dict[int, list[tuple[float, int, int]]] = {}
        for number, outcome in enumerate(self._outcomes()):
            events = outcome.events if isinstance(outcome, FileResult) else None
            for place, event in enumerate(events or ()):
                heap = best.setdefault(event.index, [])
                heapq.heappush(heap, (event.score, -number, -place))
                if len(heap) > most:
                    heapq.heappop(heap)
        return {(-number, -place) for heap in best.values() for _, number, place in heap}

    def _planned(self, result: FileResult, event: Event) -> Clip:
        margin = self._settings.margin
        # By the event's times: with a margin, several events may have the same clip.
        suffix = f"_{event.start:.3f}-{event.end:.3f}.{self._settings.format}"
        return Clip(
            result.file,
            event,
            self._folders[event.index] / place_in_folder(result.file, self._base, suffix),
            max(0.0, event.start - margin),
            min(result.duration, event.end + margin),
        )

    def _cut(self, result: FileResult, clips: Sequence[Clip]) -> list[Clip]:
        """Cut the clips of one recording: all of them, but for empty ones, or none."""
        frames = [_frames(clip, result, self._folder) for clip in clips]
        cuts = [cut for cut in frames if cut is not None]
        path = find_recording(result.file, self._base, self._audio) if cuts else None
        written: set[Cut] = set()
        skipped: Skipped = ""
        message = ""
        try:
            if path is not None:
                written = cut_recording(result, path, cuts, self._settings.format)
            elif cuts:
                what = "it came through standard input" if result.file == STDIN else "no such file"
                skipped, message = "missing", f"{what}. --audio says where recordings are now"
        except ChangedError as changed:
            skipped, message = "changed", str(changed)
        except InputError as error:
            skipped, message = "missing" if error.word == "not-found" else "unreadable", str(error)
        return [
            replace(clip, skipped=skipped or ("" if cut in written else "empty"), message=message)
            for clip, cut in zip(clips, frames, strict=True)
        ]


def _frames(clip: Clip, result: FileResult, folder: Path) -> Cut | None:
    """The frames of a clip; None if there are none."""
    rate = result.sample_rate
    first, length = round(clip.start * rate), math.ceil(result.duration * rate)
    # Results tell times in milliseconds: what ends there with the recording ends with its last frame.
    to_end = round(clip.end, DECIMALS) >= round(result.duration, DECIMALS)
    last = length + rate if to_end else round(clip.end * rate)
    return Cut(folder / clip.path, first, last) if first < min(last, length) else None


class ClipTable:
    """A table with a row for each event: its clip, or why there is none.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._rows = csv.writer(UnixLines(stream), lineterminator="\r\n")
        self._rows.writerow(COLUMNS)

    def add(self, clip: Clip) -> None:
        """Write one row; an event without a clip has an empty name for it."""
        event = clip.event
        path = "" if clip.skipped else inert_path(display_name(clip.path))
        times = [f"{seconds:.3f}" for seconds in (event.start, event.end, clip.start, clip.end)]
        self._rows.writerow(
            (
                *(path, inert_path(display_name(clip.file)), event.index),
                *(inert(event.mid), inert(event.label)),
                *(*times[:2], f"{event.score:.6f}", *times[2:], clip.skipped, without_controls(clip.message)),
            )
        )
