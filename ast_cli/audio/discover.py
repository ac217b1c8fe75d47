"""What the user names -> recordings, one at a time and in a fixed order; none of them is opened.

The names of one folder are sorted in memory: a million of 40 characters take 160 MB and two seconds.
"""

from __future__ import annotations

import codecs
import glob
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, cast

from ast_cli.audio import remote, shards
from ast_cli.audio.suffixes import TAR, counts, found_or_failure, suffix_of
from ast_cli.errors import InputError, UsageError
from ast_cli.names import STDIN, parse_name
from ast_cli.results import FileFailure, Outcome

EXPANDS = os.name == "nt"  # `*.wav` is ours to expand, where no shell does
Identity = tuple[int, int]  # device and inode


def discover(
    paths: Iterable[str | os.PathLike[str]],
    leave_out: Iterable[str | os.PathLike[str]] = (),
    passed_over: Counter[str] | None = None,
) -> Iterator[str | FileFailure]:
    """Walk what the user named: files as they are, folders recursively, shards member by member.

    Within a folder, entries come in the order of their names; files count as recordings by their suffix, and
    names that begin with a dot are passed over. Links are followed, but never in a circle. The same paths
    always come in the same order, and none waits for the walk to end.

    Args:
        paths: Paths or addresses, with braces as `Name.in_braces` takes them; taken as they are needed.
        leave_out: Files that are no recordings though a folder may hold them, such as the output.
        passed_over: Counts by suffix what folders hold beside recordings.

    Yields:
        A name, `-` for standard input, or the failure of a folder or shard that cannot be read or holds no
        audio.

    Raises:
        EngineError: The package for the addresses of a scheme, or for Parquet, is not installed.
        UsageError: There is no such scheme.
    """
    walk = _Walk(set(_identities(leave_out)), Counter() if passed_over is None else passed_over)
    for given in paths:
        for name in parse_name(os.fspath(given)).in_braces():
            yield from _named(name, walk)


@dataclass(frozen=True)
class _Walk:
    """What all folders of a walk have in common."""

    unwanted: Set[Identity]
    passed_over: Counter[str]


def _named(text: str, walk: _Walk) -> Iterator[str | FileFailure]:
    """What one name stands for."""
    name = parse_name(text)
    if name.is_address:
        for found in remote.discover(text, walk.passed_over):
            is_shard = isinstance(found, str) and parse_name(found).is_shard
            yield from shards.members(str(found)) if is_shard else [found]
    elif text != STDIN and os.path.isdir(text):
        yield from found_or_failure(_walk(text, (), walk), text, "folder")
    elif name.is_shard and os.path.isfile(text):
        yield from shards.members(text)
    elif EXPANDS and glob.has_magic(text) and not os.path.lexists(text):
        for found in sorted(glob.glob(text)) or [text]:
            yield from [found] if found == text else _named(found, walk)
    else:
        yield text


def unless_known(
    found: Iterable[str | Outcome], known: Callable[[str], Outcome | None] | None
) -> Iterator[str | Outcome]:
    """What was found; in place of recordings of which something is known, that."""
    for one in found:
        outcome = known(one) if known is not None and isinstance(one, str) else None
        if outcome is not None:
            shards.pass_over(str(one))
        yield outcome or one


def read_list(lines: IO[bytes], separator: bytes) -> Iterator[str]:
    """The paths of a list, read piece by piece; empty entries are passed over. Closes the list at its end.

    Args:
        lines: The list. Names are bytes: what is not UTF-8 comes through as it is.
        separator: A newline, or NUL as of `find -print0`.

    Raises:
        UsageError: It is in UTF-16.
    """
    end = b"\r" if separator == b"\n" else b""  # of a line from Windows; between NULs it is part of a name
    with cast(io.BufferedIOBase, lines) as buffered:
        rest = b""
        mark = codecs.BOM_UTF8  # at the start of a list from Windows
        while piece := buffered.read1(1 << 16):  # what is there: the rest may take its time
            if mark and (rest + piece).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                remedy = (
                    "Write it as UTF-8: `… | Out-File -Encoding utf8 list.txt`, or `iconv -f UTF-16 -t UTF-8`"
                )
                raise UsageError("the list is in UTF-16, as `>` of Windows PowerShell writes it", remedy)
            *whole, rest = (rest + piece).removeprefix(mark).split(separator)
            mark = b"" if whole else mark
            yield from (_entry(line.removesuffix(end)) for line in whole if line.strip())
        if rest.strip():
            yield _entry(rest.removesuffix(end))


def _entry(name: bytes) -> str:
    # In a list, which may itself come from standard input, `-` can only be a file that is called so.
    return "./-" if name == STDIN.encode() else os.fsdecode(name)


def _identities(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Identity]:
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            yield status.st_dev, status.st_ino


def _walk(folder: str, above: tuple[Identity, ...], walk: _Walk) -> Iterator[str | FileFailure]:
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            circle = InputError("unreadable", "a link in a circle: it leads back to a folder above it")
            yield FileFailure.of(folder, circle)
            return
        with os.scandir(folder) as scan:
            entries = sorted(_entries(scan, identity[0], walk))
    except OSError as error:
        yield FileFailure.of(folder, InputError("unreadable", f"cannot read the folder: {error.strerror}"))
        return
    for name, is_file in entries:
        path = os.path.join(folder, name)
        if not is_file:
            yield from _walk(path, (*above, identity), walk)
        elif name.lower().endswith(TAR):
            yield from shards.members(path)
        else:
            yield path


def _entries(scan: Iterator[os.DirEntry[str]], device: int, walk: _Walk) -> Iterator[tuple[str, bool]]:
    """Name of each entry of a folder that counts, and whether it is a file."""
    for entry in scan:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield entry.name, False
        elif _may_be_file(entry) and (device, entry.inode()) not in walk.unwanted:
            if counts(entry.name):
                yield entry.name, True
            else:
                walk.passed_over[suffix_of(entry.name)] += 1


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    # Not a pipe, which might never end. A link that leads nowhere is kept: opening it will say so.
    return entry.is_symlink() or entry.is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle: opening it will say so
