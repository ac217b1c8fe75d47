"""The scores of labeled clips: kept in memory, stored in a file, read again and matched with a data set.

Two formats: `.npz` holds files, labels, scores and targets; `.csv` a column `file` and one for each class.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path, PurePath
from typing import Any, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import UsageError
from ast_cli.results import FileFailure, display_name
from ast_cli.settings import require_choice
from ast_cli.text import inert_path, with_controls, without_controls
from ast_cli.training.datasets import Dataset, LabelledClip
from ast_cli.training.metrics import ScoreMatrix, TargetMatrix
from ast_cli.training.tables import open_table, short

SCORE_FORMATS = ("npz", "csv")
FILE_COLUMN = "file"


@dataclass(frozen=True)
class ScoredClips:
    """Clips with the scores of every class.

    Attributes:
        names: One a clip, as `LabelledClip.name`, in valid Unicode.
        labels: Class names in order.
        scores: [N, C].
        targets: [N, C].
        multi_label: Whether a clip may have several labels, or none.
        folds: One a clip; None where the data has none.
        failed: Clips that have no scores since they could not be read.
        unscored: Names of clips that stored scores do not hold.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    scores: ScoreMatrix
    targets: TargetMatrix
    multi_label: bool
    folds: tuple[str | None, ...]
    failed: tuple[FileFailure, ...] = ()
    unscored: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        rows: Sequence[NDArray[np.float32] | None],
        failed: Sequence[FileFailure] = (),
        unscored: Sequence[str] = (),
    ) -> ScoredClips:
        """Put a data set's N clips and their scores together: a row [C] each, None to leave the clip out."""
        scored = [(clip, row) for clip, row in zip(dataset.clips, rows, strict=True) if row is not None]
        scores = np.empty((len(scored), len(dataset.labels)), np.float32)
        for place, (_, row) in enumerate(scored):
            scores[place] = row
        clips = [clip for clip, _ in scored]
        return cls(
            names=tuple(display_name(clip.name) for clip in clips),
            labels=dataset.labels,
            scores=scores,
            targets=targets_of(clips, len(dataset.labels)),
            multi_label=dataset.multi_label,
            folds=tuple(clip.fold for clip in clips),
            failed=tuple(failed),
            unscored=tuple(unscored),
        )

    @classmethod
    def together(cls, parts: Sequence[ScoredClips]) -> ScoredClips:
        """The clips of several, all scored for the same classes, one after the other."""
        first = parts[0]
        return dataclasses.replace(
            first,
            names=tuple(name for part in parts for name in part.names),
            scores=np.concatenate([part.scores for part in parts]),
            targets=np.concatenate([part.targets for part in parts]),
            folds=tuple(fold for part in parts for fold in part.folds),
            failed=tuple(failure for part in parts for failure in part.failed),
            unscored=tuple(name for part in parts for name in part.unscored),
        )

    def of_fold(self, fold: str) -> tuple[ScoreMatrix, TargetMatrix]:
        """Scores and targets of the clips of one fold."""
        chosen = np.array([one == fold for one in self.folds])
        return self.scores[chosen], self.targets[chosen]


@dataclass(frozen=True)
class StoredScores:
    """What a file of scores holds.

    Attributes:
        path: Of the file.
        names: One a clip.
        labels: Class names in order.
        scores: [N, C].
        targets: [N, C]; None where the file has none, as a CSV.
    """

    path: Path
    names: tuple[str, ...]
    labels: tuple[str, ...]
    scores: ScoreMatrix
    targets: TargetMatrix | None

    def as_they_are(self) -> ScoredClips:
        """The clips with the targets stored beside the scores; UsageError if there are none."""
        if self.targets is None:
            raise UsageError(f"{self.path} does not tell what is right", "Name the data set too")
        multi_label = bool((self.targets.sum(axis=1) != 1).any())
        folds = (None,) * len(self.names)
        return ScoredClips(self.names, self.labels, self.scores, self.targets, multi_label, folds)

    def of_dataset(self, dataset: Dataset) -> ScoredClips:
        """The clips of a data set, read with these labels, with their stored scores.

        A clip is found by its name, or where one of the two paths ends with the other: stored ones may be
        relative to another folder.

        Raises:
            UsageError: No clip has scores, or one row of them would be two clips'.
        """
        row_of = {os.path.normpath(name): row for row, name in enumerate(self.names)}
        row_of_end = _unique_ends(row_of)
        rows: list[NDArray[np.float32] | None] = []
        clip_of_row: dict[int, str] = {}
        for clip in dataset.clips:
            name = os.path.normpath(display_name(clip.name))
            row = next((row_of[end] for end in _ends(name) if end in row_of), row_of_end.get(name))
            rows.append(None if row is None else self.scores[row])
            if row is not None and clip_of_row.setdefault(row, name) != name:
                raise UsageError(
                    f"{self.path}: the scores of {short(self.names[row])} fit both {short(clip_of_row[row])} "
                    f"and {short(name)}",
                    "Store scores under paths that tell them apart",
                )
        names = [display_name(clip.name) for clip in dataset.clips]
        unscored = [name for name, row in zip(names, rows, strict=True) if row is None]
        if len(unscored) == len(names):
            raise UsageError(
                f"{self.path} has no scores for {short(names[0])} or any other recording of the data set",
                f"Its own are called as {short(self.names[0])}" if self.names else "It is empty",
            )
        return ScoredClips.of(dataset, rows, unscored=unscored)


def targets_of(clips: Sequence[LabelledClip], count: int) -> TargetMatrix:
    """[N, C], whether a clip has a class."""
    targets = np.zeros((len(clips), count), np.bool_)
    for row, clip in enumerate(clips):
        targets[row, list(clip.labels)] = True
    return targets


def scores_format(name: str) -> str:
    """The one of `SCORE_FORMATS` that a file's suffix names; UsageError if none."""
    suffix = PurePath(name).suffix.removeprefix(".").lower()
    require_choice("format of scores", suffix or name, SCORE_FORMATS)
    return suffix


def write_scores(scored: ScoredClips, stream: TextIO, format_: str) -> None:
    """Store scores in one of `SCORE_FORMATS`, in a file as `files.open_sink` opens it."""
    if format_ == "npz":
        np.savez_compressed(
            cast(TextIOWrapper, stream).buffer,
            files=np.array(scored.names, dtype=np.str_),
            labels=np.array(scored.labels, dtype=np.str_),
            scores=scored.scores,
            targets=scored.targets,
        )
        return
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow((FILE_COLUMN, *map(without_controls, scored.labels)))
    for name, row in zip(scored.names, scored.scores, strict=True):
        # The shortest digits that mean the same float32, so that what is read again measures the same.
        rows.writerow((inert_path(name), *map(str, row)))


def read_scores(path: Path) -> StoredScores:
    """Read what `write_scores` or another program wrote; UsageError if it is damaged, or lacks a part."""
    if not path.is_file():
        raise UsageError(f"no such file of scores: {path}", "Check the spelling")
    stored = _read_npz(path) if scores_format(str(path)) == "npz" else _read_csv(path)
    for name, count in Counter(stored.names).most_common(1):
        if count > 1:
            raise UsageError(f"{path} has scores for {short(name)} twice", "Each recording has one row")
    return stored


def _read_npz(path: Path) -> StoredScores:
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no npz file")
        with np.load(path, allow_pickle=False) as arrays:
            files, labels, scores = (arrays[name] for name in ("files", "labels", "scores"))
            targets: NDArray[Any] | None = arrays.get("targets")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} holds no scores: {short(str(error))}",
            "It needs the arrays files [N], labels [C] and scores [N, C], as --save-scores writes them",
        ) from error
    shape = (len(files), len(labels)) if files.ndim == labels.ndim == 1 else None
    if scores.shape != shape or scores.dtype.kind != "f" or (targets is not None and targets.shape != shape):
        raise UsageError(
            f"{path} holds scores {list(scores.shape)} of {scores.dtype} for {files.size} files and "
            f"{labels.size} labels",
            "Scores and targets should be [files, labels]",
        )
    return StoredScores(
        path,
        tuple(map(str, files)),
        tuple(map(str, labels)),
        scores.astype(np.float32),
        None if targets is None else targets.astype(np.bool_),
    )


def _read_csv(path: Path) -> StoredScores:
    with open_table(path) as table:
        header = table.header()
        [place] = table.places(header, [FILE_COLUMN])
        columns = [column for column in range(len(header)) if column != place]
        if not columns:
            raise UsageError(f"{path} has no column of scores", "Beside file it needs one for each class")
        names, scores = [], []
        for row in table:
            names.append(with_controls(table.cells(row, [place])[0]))
            cells = table.cells(row, columns)
            try:
                scores.append(np.array(cells, dtype=np.float32))
            except ValueError:
                for column, cell in zip(columns, cells, strict=True):
                    table.number(cell, header[column])
                raise
    stacked = np.stack(scores) if scores else np.empty((0, len(columns)), np.float32)
    return StoredScores(
        path, tuple(names), tuple(with_controls(header[column]) for column in columns), stacked, None
    )


def _ends(name: str) -> Iterator[str]:
    """A path and what is left of it without its first, second … part."""
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name


def _unique_ends(row_of: dict[str, int]) -> dict[str, int]:
    """The ends of all paths, but for those that several paths share."""
    rows: dict[str, int] = {}
    shared: set[str] = set()
    for name, row in row_of.items():
        for end in _ends(name):
            if rows.setdefault(end, row) != row:
                shared.add(end)
    return {end: row for end, row in rows.items() if end not in shared}
