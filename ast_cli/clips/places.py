"""Where clips go and recordings are: names that come from strangers, made safe for any file system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ast_cli.names import STDIN, parse_name
from ast_cli.text import RESERVED

MANIFEST = "manifest.csv"
LONGEST_FOLDER = 100  # bytes of a class's name that its folder has


def find_recording(file: str, base: Path, audio: Path | None) -> str | None:
    """Where a recording of stored results is now; None if it is not there.

    Args:
        file: As results have it.
        base: The folder that had all recordings of the results.
        audio: The folder that has them now: `base`, or one above it; None if they were not moved.
    """
    if file == STDIN:
        return None
    if audio is None:
        return file if parse_name(file).is_there() else None
    # From `base` on the tree must be the same, so that no two recordings are taken for each other.
    below = os.path.relpath(parse_name(file).tree_path(), base)
    within = base.parts[1:]
    for first in range(len(within) + 1):
        path = os.path.join(audio, *within[first:], below)  # noqa: PTH118
        if parse_name(path).is_there():
            return path
    return None


def class_folders(labels: Sequence[str]) -> list[str]:
    """A folder's name for each class, which any file system takes, and no two of which are the same.

    It is the class's own name where that can be; otherwise one that is close to it and ends in its index.
    """
    folded = [_folded(label) for label in labels]
    times = Counter(folded)

    def folder(index: int, label: str) -> str:
        name = _folder_name(label)
        is_free = times[folded[index]] == 1 and not folded[index].startswith(MANIFEST)
        ends_like_others = re.search(r"\(\d+\)$", name)
        return name if name == label and is_free and not ends_like_others else f"{name} ({index})"

    return [folder(index, label) for index, label in enumerate(labels)]


def _folded(label: str) -> str:
    """What is the same for names that some file systems take for the same."""
    return unicodedata.normalize("NFKC", label).casefold()


def _folder_name(label: str) -> str:
    """A label without what is not printable or means something in a path."""
    name = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in label)
    name = name.encode("utf-8")[:LONGEST_FOLDER].decode("utf-8", "ignore")
    name = name.strip(" .").lstrip("-~") or "_"
    return f"_{name}" if RESERVED.match(name) else name
