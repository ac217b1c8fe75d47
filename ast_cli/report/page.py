"""Outcomes -> one page that can be opened anywhere: which sounds, when, with the audio beside them.

The page asks no network and needs no other file but the recordings it plays, and with `embed` not even
those. Recordings are taken one by one, and what is only looked at when a recording is opened is kept on disk
until the page is written, so that there may be any number.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TextIO
from urllib.parse import quote

from ast_cli.audio.sources import open_file
from ast_cli.errors import InputError, ResultsError
from ast_cli.extras import require_extra
from ast_cli.outputs.json_reader import StoredRun
from ast_cli.report.page_data import Summary, detail_of, row_of, script_json, shown
from ast_cli.report.spectrogram import Spectrogram, spectrogram
from ast_cli.results import FileResult, Outcome, RunInfo, display_name
from ast_cli.scoring.replay import Replay, labels_of
from ast_cli.settings import LabelSettings
from ast_cli.text import duration

TEMPLATES = Path(__file__).parent / "templates"
MOST_EMBEDDED = 64 << 20  # bytes of a recording: no browser opens a page that is much larger
BYTES_AT_ONCE = 3 << 16  # a multiple of 3, as base64 wants
SAME_SECONDS = 0.05  # by which two decoders may differ about one recording's length
MIME_TYPES = {".flac": "audio/flac", ".opus": "audio/ogg", ".oga": "audio/ogg", ".m4a": "audio/mp4"}
CLASSES_SHOWN = 12  # in the summary, before the rest is asked for


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What the page holds.

    Attributes:
        title: Its heading.
        embed: Whether it holds the audio itself, or else links to it.
        spectrograms: Whether it holds pictures.
    """

    title: str = "What was heard"
    embed: bool = False
    spectrograms: bool = True


def require_packages(*, spectrograms: bool) -> None:
    """Raise EngineError unless what draws the page is installed."""
    require_extra("report", "jinja2", "markupsafe", *(("matplotlib", "PIL") if spectrograms else ()))


def stored_outcomes(
    stored: StoredRun, settings: LabelSettings, on_missing: Callable[[int], None]
) -> Iterator[Outcome]:
    """The outcomes of a stored run, with windows and events as far as it kept what they are made of.

    Events stay those that the run found, if it found any, unless a threshold or classes are asked for.
    `on_missing` is told how many recordings may lack what is asked for, since it was not kept.

    Raises:
        ResultsError: They are damaged, or there are none.
        UsageError: There is no such class.
    """
    asked = settings.threshold is not None or bool(settings.include or settings.exclude)
    kept = [
        (bool(one.windows), one.events is not None)
        for one in stored.outcomes()
        if isinstance(one, FileResult)
    ]
    timeline = stored.has_scores or all(windows for windows, _ in kept)
    if not timeline and not all(any(one) for one in kept):
        settings = replace(settings, events=None)
    replay = Replay(stored, labels_of(stored), settings, timeline=timeline)
    for before, after in zip(stored.outcomes(), replay.outcomes(), strict=True):
        if isinstance(before, FileResult) and isinstance(after, FileResult):
            events = after.events if asked or before.events is None else before.events
            yield replace(after, events=events, window_scores=before.window_scores)
        else:
            yield after
    if asked and replay.missing:
        on_missing(replay.missing)


@dataclass(slots=True)
class _Sound:
    """The audio of a recording as the page has it, and what is to be said of it."""

    link: str = ""
    embedded: IO[bytes] | None = None
    picture: Spectrogram | None = None
    notes: tuple[str, ...] = ()


class Page:
    """Gathers recordings and writes the page; a context manager, at whose end what was gathered is gone.

    Attributes:
        summary: What the recordings come to.
        odd: Recordings whose audio is missing, changed or cannot be drawn.

    Args:
        folder: Where the page will lie.
        settings: What it holds.
        find: Says where the audio of a recording is now; None if it is not there.

    Raises:
        EngineError: A package is not installed.
    """

    def __init__(self, folder: Path, settings: ReportSettings, find: Callable[[str], str | None]) -> None:
        require_packages(spectrograms=settings.spectrograms)
        self.summary = Summary()
        self.odd = 0
        self._folder = folder
        self._settings = settings
        self._find = find
        self._rows: list[dict[str, Any]] = []
        # As text it has line ends only between the recordings.
        self._details: IO[str] = tempfile.TemporaryFile("w+", encoding="ascii", newline="\n")  # noqa: SIM115

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._details.close()

    def add(self, outcome: Outcome) -> None:
        """Take the next recording."""
        self.summary.add(outcome)
        if not isinstance(outcome, FileResult):
            self._rows.append(row_of(outcome))
            self._details.write("null\n")
            return
        sound = self._sound(outcome)
        self.odd += bool(sound.notes)
        self._rows.append(row_of(outcome, sound.notes))
        picture = sound.picture and {"uri": sound.picture.uri, "seconds": sound.picture.seconds}
        detail = detail_of(outcome) | {"audio": sound.link, "picture": picture}
        self._details.write(script_json(detail)[:-1])
        if sound.embedded is not None:
            self._details.write(f',"type":{script_json(_mime_type(outcome.file))},"bytes":"')
            with sound.embedded as file:
                while piece := file.read(BYTES_AT_ONCE):
                    self._details.write(base64.b64encode(piece).decode("ascii"))
            self._details.write('"')
        self._details.write("}\n")

    def write(self, stream: TextIO, run: RunInfo | None) -> None:
        """Write the page; `run` is what the recordings were tagged with, if that is known."""
        import jinja2
        from markupsafe import Markup

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters["duration"] = duration
        self._details.seek(0)
        style, script = ((TEMPLATES / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        page = environment.get_template("report.html.jinja").generate(
            title=shown(self._settings.title),
            style=Markup(style),  # noqa: S704 — our own
            script=Markup(script),  # noqa: S704 — our own
            policy=_policy(style, script),
            summary=self.summary,
            classes_shown=CLASSES_SHOWN,
            rows=Markup(script_json(self._rows)),  # noqa: S704 — escaped for where it stands
            details=(Markup(line.rstrip("\n")) for line in self._details),  # noqa: S704 — escaped for where it stands
            models=[shown(model.id) for model in run.models] if run else [],
            scores=run.models[0].scores if run and run.models else "",
            settings=shown(json.dumps(run.settings, default=str)) if run else "",
        )
        stream.writelines(page)

    def _sound(self, result: FileResult) -> _Sound:
        path = self._find(result.file)
        if path is None:
            return _Sound(notes=("the audio is not where it was: nothing to play or to draw",))
        is_file = os.path.isfile(path)  # noqa: PTH113 — names are bytes
        sound = _Sound(link=_link(path, self._folder) if is_file else "")
        linked = "linked, not embedded" if is_file else "not embedded"
        if self._settings.embed:
            try:
                file, _ = open_file(path)
            except InputError as error:
                sound.notes = (f"the audio may not be read here: {linked} ({error.cause})",)
            else:
                size = os.fstat(file.fileno()).st_size
                if size <= MOST_EMBEDDED:
                    sound.link, sound.embedded = "", file
                else:
                    file.close()
                    sound.notes = (f"{size >> 20} MB of audio are too much for a page: {linked}",)
        elif not is_file:
            sound.notes = ("the audio is in a shard or at an address: nothing to play without --embed",)
        if not self._settings.spectrograms:
            return sound
        try:
            sound.picture = spectrogram(path)
        except InputError as error:
            sound.notes = (*sound.notes, f"the audio cannot be read any more: {error.cause}")
            return sound
        if sound.picture and abs(sound.picture.duration - result.duration) > SAME_SECONDS:
            note = (
                f"the audio has changed since it was tagged: it lasts {sound.picture.duration:.3f} s, "
                f"and did {result.duration:.3f} s"
            )
            sound.notes = (*sound.notes, note)
            sound.picture = None
        return sound


def write_report(
    outcomes: Iterable[Outcome], report: Page, stream: TextIO, run: Callable[[], RunInfo | None]
) -> None:
    """Take all outcomes and write the page; `run` is asked when they are there."""
    for outcome in outcomes:
        report.add(outcome)
    if not report.summary.tagged and not report.summary.failures:
        raise ResultsError("there is nothing to report", "Name recordings, or results that hold some")
    report.write(stream, run())


def _policy(style: str, script: str) -> str:
    """What the page may do: run and look as it was written, show what it holds, play what lies beside it."""
    own = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for name, text in (("script-src", script), ("style-src", style))
    }
    hashes = "; ".join(f"{name} 'sha256-{digest}'" for name, digest in own.items())
    return (
        f"default-src 'none'; {hashes}; img-src data:; media-src 'self' file: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _link(path: str, folder: Path) -> str:
    """The address of a recording, as seen from the page."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive of Windows
        return Path(path).absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _mime_type(path: str) -> str:
    suffix = os.path.splitext(display_name(path))[1].lower()  # noqa: PTH122
    return MIME_TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream"
