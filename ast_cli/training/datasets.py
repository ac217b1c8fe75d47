"""Labeled recordings as training and evaluation take them: files, class numbers, splits and folds.

Recognizes every layout of `sources.py`, and puts its labels in the order of a checkpoint's classes. Opens no
recording: one that cannot be decoded is found out later.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ast_cli.errors import UsageError
from ast_cli.scoring.labels import audioset_nodes
from ast_cli.text import did_you_mean
from ast_cli.training.sources import Entry, Labelled, Source, read_source, split_name
from ast_cli.training.tables import short


class LabelledClip(Labelled[int]):
    """A recording, or a part of one, and its labels as class indices."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labeled clips and the classes their labels count.

    Attributes:
        clips: In the order of the source.
        labels: Class names in order.
        multi_label: Whether a clip may have several labels, or none.
        missing: Names of the clips whose file is not there.
        unknown: Labels that AudioSet or the class CSV knows but the checkpoint does not, each with the number
            of clips it was left out of; single-label clips were left out with it.
        empty: Folders beside those of the classes that hold no recording, and so are none.
    """

    clips: tuple[LabelledClip, ...]
    labels: tuple[str, ...]
    multi_label: bool
    missing: tuple[str, ...] = ()
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    empty: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of clips of each class."""
        counted = Counter(index for clip in self.clips for index in clip.labels)
        return tuple(counted[index] for index in range(len(self.labels)))

    @property
    def without_clips(self) -> tuple[str, ...]:
        """The classes that no clip has."""
        return tuple(name for name, count in zip(self.labels, self.counts, strict=True) if not count)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the clips belong to, sorted; empty where the data has none."""
        return tuple(sorted({clip.split for clip in self.clips if clip.split is not None}))

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds that the clips belong to, numbers in their order; empty where the data has none."""
        folds = {clip.fold for clip in self.clips if clip.fold is not None}
        return tuple(sorted(folds, key=lambda fold: (len(fold), fold)))

    def of_split(self, split: str) -> Dataset:
        """The clips of a split, by any of its names: `dev` is `validation`; UsageError if there is none."""
        split = split_name(split)
        _require_one_of("split", split, self.splits)
        return self._only(clip for clip in self.clips if clip.split == split)

    def of_fold(self, fold: str) -> Dataset:
        """The clips of one fold; UsageError if there is none."""
        _require_one_of("fold", fold, self.folds)
        return self._only(clip for clip in self.clips if clip.fold == fold)

    def without_fold(self, fold: str) -> Dataset:
        """The clips of all other folds; UsageError if there is no such fold."""
        _require_one_of("fold", fold, self.folds)
        return self._only(clip for clip in self.clips if clip.fold != fold)

    def _only(self, clips: Iterable[LabelledClip]) -> Dataset:
        return dataclasses.replace(self, clips=tuple(clips))


def read_dataset(
    source: Path,
    *,
    split: str | None = None,
    fold: str | None = None,
    labels: Sequence[str] | None = None,
    audio: Path | None = None,
    classes: Path | None = None,
    files_needed: bool = True,
) -> Dataset:
    """Read labeled recordings in any layout that is known.

    Args:
        source: CSV with the header `file,labels` (labels separated by `;`, optional columns start, end, fold,
            split); AudioSet's segment CSV; the original AST's JSON; a folder with `meta/esc50.csv`; Speech
            Commands' folder; or a folder for each class, which may stand in `train/`, `validation/`, `test/`.
        split: Only the clips of this split; None for all.
        fold: Only the clips of this fold; None for all.
        labels: A checkpoint's class names: labels are matched with them by name or mid. None for the data's
            own: those its layout defines, else the labels that occur in any split, sorted.
        audio: The folder the recordings are in; None for beside the table.
        classes: A class CSV as the original AST has: index, mid, display_name.
        files_needed: False to take what a table names as if it were there, as for scores that are stored.

    Raises:
        UsageError: No such data, or it is laid out in no known way; a column is missing; a label is unknown,
            or has no file; a part ends before it starts; there is no such split; no file is there.
    """
    found = read_source(source, audio, classes)
    if not files_needed:
        found.entries, found.missing = [*found.entries, *found.missing], []
    everything = [*found.entries, *found.missing]
    if not everything:
        raise UsageError(f"{source} names no recording", "Add a row for each")
    names = tuple(labels) if labels is not None else found.names or _labels_that_occur(found)
    lookup = _Lookup(names, found.aliases, source)
    split = None if split is None else split_name(split)
    _require_one_of("split", split, {entry.split for entry in everything}, source)
    _require_one_of("fold", fold, {entry.fold for entry in everything}, source)

    def wanted(entries: Iterable[Entry]) -> list[Entry]:
        return [one for one in entries if split in (None, one.split) and fold in (None, one.fold)]

    entries = wanted(found.entries)
    missing = tuple(entry.name for entry in wanted(found.missing))
    if not entries and not missing:
        raise UsageError(f"{source} has no recording in both split {split} and fold {fold}")
    if not entries:
        raise UsageError(
            f"none of the {len(missing)} recordings of {source} is there, such as {missing[0]}",
            "Name the folder they are in with --audio",
        )
    if labels is None and found.names is None:
        _refuse_labels_without_file(found, names)
    clips = [_clip(entry, lookup, found.multi_label) for entry in entries]
    kept = tuple(clip for clip in clips if clip.labels or found.multi_label)
    if lookup.unknown and not any(clip.labels for clip in kept):
        raise UsageError(
            f"none of the labels of {source} is a class of the model, such as {next(iter(lookup.unknown))}",
            "Name a model for these classes, or train one: `ast-tag finetune`",
        )
    return Dataset(kept, names, found.multi_label, missing, dict(lookup.unknown), found.empty)


class _Lookup:
    """Words for classes -> class numbers; each word is looked up once."""

    def __init__(self, names: Sequence[str], aliases: Mapping[str, str], source: Path) -> None:
        self._names = names
        self._aliases = aliases
        self._reputable = frozenset(aliases.values())
        self._source = source
        self._index = {name: index for index, name in enumerate(names)}
        self._known: dict[str, int | None] = {}
        self.unknown: Counter[str] = Counter()

    def __call__(self, label: str, entry: Entry) -> int | None:
        """The class of an entry's label; None, and counted, if it is none of the checkpoint's but known."""
        if label not in self._known:
            name = self._aliases.get(label, label)
            index = self._index.get(name)
            if index is None and name not in self._reputable and label not in _audioset_words():
                raise UsageError(
                    f"{self._source}: {entry.name} is labelled {short(label)!r}, which is no class",
                    self._remedy(label),
                )
            self._known[label] = index
        index = self._known[label]
        if index is None:
            self.unknown[self._aliases.get(label, label)] += 1
        return index

    def _remedy(self, label: str) -> str:
        hint = "" if label.startswith("/") else did_you_mean(label, self._names)  # no mid is like a name
        few = short(", ".join(self._names[:3]))
        return hint or f"There are {len(self._names)}: {few} …; --classes says what other mids stand for"


def _clip(entry: Entry, lookup: _Lookup, multi_label: bool) -> LabelledClip:
    if not entry.labels and not multi_label:
        raise UsageError(f"{entry.name} has no label", "Each recording needs one where none has several")
    found = (lookup(label, entry) for label in entry.labels)
    indices = tuple(dict.fromkeys(index for index in found if index is not None))
    return LabelledClip(
        entry.file, indices, entry.start, entry.end, entry.fold, entry.split, entry.may_be_cut
    )


def _labels_that_occur(found: Source) -> tuple[str, ...]:
    occurring = {label for entry in (*found.entries, *found.missing) for label in entry.labels}
    if not occurring:
        raise UsageError("no recording has a label", "Fill the column labels")
    return tuple(sorted({found.aliases.get(label, label) for label in occurring}))


def _refuse_labels_without_file(found: Source, names: Sequence[str]) -> None:
    heard = {found.aliases.get(label, label) for entry in found.entries for label in entry.labels}
    lacking = [name for name in names if name not in heard]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UsageError(
            f"no file is there for the label {short(lacking[0])}{more}", "Add one, or remove its rows"
        )


def _require_one_of(
    what: str, asked: str | None, there: Iterable[str | None], source: Path | None = None
) -> None:
    names = sorted({name for name in there if name is not None}, key=lambda name: (len(name), name))
    if asked is not None and asked not in names:
        where = f" in {source}" if source is not None else ""
        remedy = f"There are {', '.join(names)}" if names else f"The data has no {what}s"
        raise UsageError(f"no {what} {asked}{where}", remedy)


@cache
def _audioset_words() -> frozenset[str]:
    return frozenset(word for node in audioset_nodes().values() for word in (node.mid, node.name))
