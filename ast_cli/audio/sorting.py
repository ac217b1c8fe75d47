"""The entries of a folder in the order of their names; sorted on disk where there are very many."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

FILE, FOLDER = "f", "d"
MOST_SORTED_AT_ONCE = 100_000  # names of a folder in memory


def sorted_entries(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Name and kind of each entry -> the same by name. All are taken before the first is given."""
    runs: list[IO[bytes]] = []
    few: list[tuple[str, str]] = []
    for entry in entries:
        few.append(entry)
        if len(few) >= MOST_SORTED_AT_ONCE:
            runs.append(_spooled(sorted(few)))
            few = []
    return heapq.merge(*map(_spooled_entries, runs), sorted(few))


def _spooled(entries: Iterable[tuple[str, str]]) -> IO[bytes]:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 — read and closed by `_spooled_entries`
    for name, kind in entries:
        spool.write(kind.encode() + os.fsencode(name) + b"\0")
    return spool


def _spooled_entries(spool: IO[bytes]) -> Iterator[tuple[str, str]]:
    with spool:
        spool.seek(0)
        rest = b""
        while piece := spool.read(1 << 16):
            *whole, rest = (rest + piece).split(b"\0")
            yield from ((os.fsdecode(one[1:]), chr(one[0])) for one in whole)
