"""The ways labeled recordings are laid out on disk, each read into the same plain entries.

Reads tables and lists folders; opens no recording, and does not know what a checkpoint's classes are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from ast_cli.audio.discover import discover
from ast_cli.audio.suffixes import AUDIO_SUFFIXES
from ast_cli.errors import UsageError
from ast_cli.scoring.labels import audioset_classes, speech_commands_names
from ast_cli.text import with_controls
from ast_cli.training.tables import open_table, place_of, short

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
TABLE_COLUMNS = ("file", "labels")
MORE_COLUMNS = ("start", "end", "fold", "split")
ESC50_TABLE = Path("meta/esc50.csv")
ESC50_COLUMNS = ("filename", "fold", "target", "category")
CLASS_COLUMNS = ("index", "mid", "display_name")
SPEECH_COMMANDS_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
SEGMENT_COLUMNS = 4  # YTID, start_seconds, end_seconds, positive_labels
MID = re.compile(r"/[gmt]/\w+")
LAYOUTS = (
    "Known are: CSV with the header file,labels; AudioSet's segment CSV; the original AST's JSON; a folder "
    "with meta/esc50.csv; Speech Commands' folder; a folder for each class"
)

LabelT = TypeVar("LabelT", str, int)


@dataclass(frozen=True, slots=True)
class Labelled(Generic[LabelT]):
    """A recording, or a part of one, and its labels.

    Attributes:
        file: A path that can be opened; what the source calls it where there is no such file.
        labels: Each once; empty where it has none of the classes.
        start: Seconds from the start of the file; None for its start.
        end: Seconds from the start of the file; None for its end.
        fold: Of a cross-validation; None where the data has none.
        split: `train`, `validation`, `test` or a name of the data's own; None where it has none.
        may_be_cut: Whether the file may be the part itself, cut out before: then a file that is no longer
            than the part is used whole.
    """

    file: str
    labels: tuple[LabelT, ...]
    start: float | None = None
    end: float | None = None
    fold: str | None = None
    split: str | None = None
    may_be_cut: bool = False

    @property
    def name(self) -> str:
        """The file, with the part as a media fragment (`a.wav#t=30,40`) where it is not used whole."""
        if not self.is_part:
            return self.file
        until = "" if self.end is None else f",{self.end:g}"
        return f"{self.file}#t={self.start or 0:g}{until}"

    @property
    def is_part(self) -> bool:
        """Whether it is not the whole recording."""
        return self.start is not None or self.end is not None


class Entry(Labelled[str]):
    """What a source tells: labels are names or mids."""

    __slots__ = ()


@dataclass
class Source:
    """Everything a source holds, over all its splits and folds.

    Attributes:
        multi_label: Whether a recording may have several labels, or none.
        names: The classes in order, where the source has them; None to take the labels that occur.
        aliases: Other words for classes, such as their mids, each with its name.
        entries: What is there.
        missing: What is named but not there.
        empty: Folders that would be classes, if they held a recording.
    """

    multi_label: bool
    names: tuple[str, ...] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    missing: list[Entry] = field(default_factory=list)
    empty: tuple[str, ...] = ()

    def add(self, entry: Entry, *, is_there: bool) -> None:
        """Take one more entry."""
        (self.entries if is_there else self.missing).append(entry)


def read_source(path: Path, audio: Path | None = None, classes: Path | None = None) -> Source:
    """Recognize how the recordings at `path`, a table or a folder, are laid out, and read it.

    `audio` is the folder the recordings are in, None for beside the table; `classes` a class CSV as the
    original AST has: index, mid, display_name.

    Raises:
        UsageError: Nothing is there, it is laid out in no known way, or something in it makes no sense.
    """
    known = read_classes(classes) if classes is not None else None
    for what, folder in (("recordings", audio), ("data set", path)):
        if folder is not None and not folder.exists():
            raise UsageError(f"no such {what}: {folder}", "Check the spelling")
    if path.is_dir():
        if (path / ESC50_TABLE).is_file():
            source = _esc50(path / ESC50_TABLE, audio)
        elif any((path / name).is_file() for name in SPEECH_COMMANDS_LISTS.values()):
            source = _speech_commands(path)
        else:
            source = _class_folders(path)
    elif path.suffix.lower() == ".json":
        source = _original_json(path, audio)
    else:
        source = _table(path, audio)
    if known is not None:
        source.names, source.aliases = tuple(known.values()), known
    return source


def read_classes(path: Path) -> dict[str, str]:
    """The name of each mid in a class CSV, in order; UsageError if it does not number them from 0."""
    indices: list[str] = []
    known: dict[str, str] = {}
    with open_table(path) as table:
        places = table.places(table.header(), CLASS_COLUMNS)
        for row in table:
            index, mid, name = table.cells(row, places)
            indices.append(index)
            known[mid] = name
    if not indices or indices != [str(index) for index in range(len(indices))]:
        raise UsageError(f"{path} does not number its classes 0, 1, 2 …", "Sort its rows by index, from 0 on")
    if len(known) < len(indices) or len(set(known.values())) < len(indices):
        raise UsageError(f"{path} has a mid or a name twice", "Each class needs its own")
    return known


def split_name(name: str) -> str:
    """The one name of a split: `valid`, `val` and `dev` are `validation`, and so on."""
    return SPLITS.get(name.strip().casefold(), name.strip())


@cache
def audioset_aliases() -> Mapping[str, str]:
    """The names of AudioSet's classes by mid."""
    return {node.mid: node.name for node in audioset_classes()}


def _of_audioset() -> Source:
    return Source(True, tuple(node.name for node in audioset_classes()), audioset_aliases())


# Tables


def _table(path: Path, audio: Path | None) -> Source:
    """A CSV file: which one, its first rows tell."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        raise UsageError(f"{path} is a recording, and not what tells which label it has", LAYOUTS)
    with open_table(path) as table:
        header = table.header()
    if not header:
        raise UsageError(f"{path} is empty", LAYOUTS)
    if header[0].startswith("#") or header[0] == "YTID" or _is_segment(header):
        return _audioset_segments(path, audio or path.parent)
    if set(ESC50_COLUMNS) <= {*header}:
        return _esc50(path, audio)
    return _labelled_table(path, audio)


def _labelled_table(path: Path, audio: Path | None) -> Source:
    """CSV with the header file,labels and optional columns start, end, fold, split."""
    source = Source(multi_label=False, aliases=audioset_aliases())
    folder, listings = audio or path.parent, _Listings()
    with open_table(path) as table:
        header = table.header()
        places = table.places(header, TABLE_COLUMNS)
        optional = [place_of(name, header) for name in MORE_COLUMNS]
        for row in table:
            file, text = table.cells(row, places)
            start, end, fold, split = (
                row[place].strip() if place is not None and place < len(row) else "" for place in optional
            )
            if not file:
                raise UsageError(f"{table.where}: no file is named", "Each row needs one")
            source.multi_label = source.multi_label or ";" in text
            labels = _several(with_controls(text), ";")
            times = table.times(start, end)
            found, is_there = listings.find(file, folder, audio)
            entry = Entry(found, labels, *times, fold or None, split_name(split) or None)
            source.add(entry, is_there=is_there)
    return source


def _audioset_segments(path: Path, folder: Path) -> Source:
    """AudioSet's own: YTID, start_seconds, end_seconds and mids, after lines of comment.

    What is handed round under a YTID is either the video's sound or the segment, cut out already: a file no
    longer than the segment is taken as that.
    """
    source = _of_audioset()
    by_stem: dict[str, str] = {}
    for found in discover([folder]):
        if isinstance(found, str):
            by_stem.setdefault(os.path.splitext(os.path.basename(found))[0], found)  # noqa: PTH119, PTH122
    seen: dict[str, tuple[str, ...]] = {}  # millions of rows share few sets of labels
    with open_table(path) as table:
        for row in table:
            if row[0].startswith("#") or row[0] == "YTID":
                continue
            if len(row) < SEGMENT_COLUMNS:
                raise UsageError(
                    f"{table.where}: {len(row)} columns rather than {SEGMENT_COLUMNS}",
                    "AudioSet's are YTID, start_seconds, end_seconds, positive_labels",
                )
            ytid, start_text, end_text, *mids = row
            text = ",".join(mids)
            labels = seen.get(text)
            if labels is None:
                labels = seen[text] = _several(text, ",")
            start, end = table.times(start_text, end_text)
            whole = _first(by_stem, _segment_stems(ytid, start, end))
            if whole is not None:
                source.entries.append(Entry(whole, labels))
                continue
            video = _first(by_stem, (ytid, f"Y{ytid}"))
            entry = Entry(video or ytid, labels, start, end, may_be_cut=True)
            source.add(entry, is_there=video is not None)
    return source


def _is_segment(row: Sequence[str]) -> bool:
    return len(row) >= SEGMENT_COLUMNS and MID.fullmatch(row[3].split(",")[0]) is not None


def _segment_stems(ytid: str, start: float | None, end: float | None) -> Iterator[str]:
    """What a segment's file may be called, without its suffix."""
    if start is None or end is None:
        return
    times = (f"{start:.3f}", f"{start:.3f}_{end:.3f}", f"{start:g}", f"{start:g}_{end:g}")
    milliseconds = (f"{start * 1000:.0f}", f"{start * 1000:.0f}_{end * 1000:.0f}")
    for name in (ytid, f"Y{ytid}"):
        for time in (*times, *milliseconds):
            yield f"{name}_{time}"


def _first(known: Mapping[str, str], names: Iterator[str] | Sequence[str]) -> str | None:
    return next((known[name] for name in names if name in known), None)


def _original_json(path: Path, audio: Path | None) -> Source:
    """The original AST's: {"data": [{"wav": …, "labels": "/m/…,/m/…"}]}."""
    source = _of_audioset()
    remedy = 'It should be {"data": [{"wav": "…", "labels": "/m/…,/m/…"}]}'
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {short(str(error))}", remedy) from error
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise UsageError(f"{path} holds no list called data", remedy)
    folder, listings = audio or path.parent, _Listings()
    for number, item in enumerate(data):
        wav, labels = (item.get("wav"), item.get("labels")) if isinstance(item, dict) else (None, None)
        if not isinstance(wav, str) or not wav or not isinstance(labels, str):
            raise UsageError(f"{path}: entry {number} of data has no text called wav or labels", remedy)
        file, is_there = listings.find(wav, folder, audio)
        source.add(Entry(file, _several(labels, ",")), is_there=is_there)
    return source


def _esc50(path: Path, audio: Path | None) -> Source:
    """ESC-50: meta/esc50.csv with the folds, and the recordings in audio/."""
    source, listings = Source(multi_label=False), _Listings()
    folder = audio or (path.parent.parent if path.parent.name == "meta" else path.parent) / "audio"
    names: dict[int, str] = {}
    with open_table(path) as table:
        places = table.places(table.header(), ESC50_COLUMNS)
        for row in table:
            file, fold, target, category = table.cells(row, places)
            if not target.isdecimal() or names.setdefault(int(target), category) != category:
                raise UsageError(
                    f"{table.where}: target {target or '(none)'} does not belong to {short(category)}",
                    "Each category has one target, a number from 0",
                )
            found, is_there = listings.find(file, folder, audio)
            source.add(Entry(found, (category,), fold=fold), is_there=is_there)
    source.names = tuple(names[target] for target in sorted(names))
    return source


# Folders


def _speech_commands(folder: Path) -> Source:
    """Speech Commands: a folder for each word, and lists of what is for validation and for testing.

    The long recordings of `_background_noise_` are no words.
    """
    words = _folders_of(folder)
    if not words:
        raise UsageError(f"{folder} holds lists but no words", "Unpack the archive there")
    split_of: dict[str, str] = {}
    for split, name in SPEECH_COMMANDS_LISTS.items():
        with open_table(folder / name) as table:
            split_of |= {row[0].strip(): split for row in table}
    source = Source(multi_label=False)
    source.names = speech_commands_names() if set(words) == {*speech_commands_names()} else tuple(words)
    for word in words:
        for file in _recordings(folder / word):
            split = split_of.pop(f"{word}/{os.path.basename(file)}", "train")  # noqa: PTH119
            source.entries.append(Entry(file, (word,), split=split))
    for name, split in split_of.items():
        source.missing.append(Entry(str(folder / name), (name.partition("/")[0],), split=split))
    return source


def _class_folders(folder: Path) -> Source:
    """A folder for each class, or such folders in train/, validation/ and test/."""
    names = _folders_of(folder)
    if not names:
        raise UsageError(f"{folder} holds no folder for each class, nor a table that is known", LAYOUTS)
    splits = all(name.casefold() in SPLITS for name in names)
    above = [(folder / name, split_name(name)) for name in names] if splits else [(folder, None)]
    source = Source(multi_label=False)
    counts: dict[str, int] = {}
    for place, split in above:
        for name in _folders_of(place):
            found = [Entry(file, (name,), split=split) for file in _recordings(place / name)]
            counts[name] = counts.get(name, 0) + len(found)
            source.entries += found
    if not counts:
        raise UsageError(f"{folder} holds no labels", "Make a folder for each in every split")
    if not any(counts.values()):
        raise UsageError(
            f"no recording is in {folder} for the label {next(iter(counts))}, nor for any other",
            "Put some into the folder of each",
        )
    # Beside classes there may be a folder for something else.
    source.empty = tuple(sorted(name for name, count in counts.items() if not count))
    source.names = tuple(sorted(name for name, count in counts.items() if count))
    return source


def _folders_of(folder: Path) -> list[str]:
    """The folders in a folder, sorted; those that begin with `.` or `_` are no classes."""
    try:
        return sorted(
            entry.name for entry in os.scandir(folder) if entry.name[0] not in "._" and entry.is_dir()
        )
    except OSError as error:
        raise UsageError(f"cannot read the folder {folder}: {error.strerror}") from error


def _recordings(folder: Path) -> list[str]:
    return [found for found in discover([folder]) if isinstance(found, str)]


# What they share


class _Listings:
    """Which files are there, by one listing a folder rather than a look at each of millions of files."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def find(self, file: str, folder: Path, audio: Path | None) -> tuple[str, bool]:
        """The path of `file` and whether it is there; a folder `audio` also holds what moved there.

        Looked for is also what `finetune` wrote so that no terminal obeys it, and what Windows wrote.
        """
        names = dict.fromkeys((file, with_controls(file), file.replace("\\", "/")))
        paths = [os.path.join(folder, name) for name in names]  # noqa: PTH118 — an absolute name stays itself
        if audio is not None:
            paths += [os.path.join(audio, os.path.basename(name)) for name in names]  # noqa: PTH118, PTH119
        return next(((path, True) for path in paths if self._has(path)), (paths[0], False))

    def _has(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._names:
            try:
                entries = os.scandir(folder or ".")
                self._names[folder] = frozenset(entry.name for entry in entries if not entry.is_dir())
            except OSError:
                self._names[folder] = frozenset()
        return name in self._names[folder]


def _several(text: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for part in text.split(separator) if (label := part.strip())))
