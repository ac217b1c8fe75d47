"""What the user names -> recordings, one at a time and in a fixed order; none of them is opened.

The names of one folder are sorted in memory: a million of 40 characters take 160 MB and two seconds.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from typing import IO, cast

from ast_cli.audio import remote, shards
from ast_cli.audio.suffixes import TAR, counts, found_or_failure
from ast_cli.errors import InputError
from ast_cli.names import STDIN, parse_name
from ast_cli.results import FileFailure

Identity = tuple[int, int]  # device and inode


def discover(
    paths: Iterable[str | os.PathLike[str]], leave_out: Iterable[str | os.PathLike[str]] = ()
) -> Iterator[str | FileFailure]:
    """Walk what the user named: files as they are, folders recursively, shards member by member.

    Within a folder, entries come in the order of their names; files count as recordings by their suffix, and
    names that begin with a dot are passed over. Links are followed, but never in a circle. The same paths
    always come in the same order, and none waits for the walk to end.

    Args:
        paths: Paths or addresses, with braces as `Name.in_braces` takes them; taken as they are needed.
        leave_out: Files that are no recordings though a folder may hold them, such as the output.

    Yields:
        A name, `-` for standard input, or the failure of a folder or shard that cannot be read or holds no
        audio.

    Raises:
        EngineError: The package for the addresses of a scheme, or for Parquet, is not installed.
        UsageError: There is no such scheme.
    """
    unwanted = set(_identities(leave_out))
    for given in paths:
        for name in parse_name(os.fspath(given)).in_braces():
            yield from _named(name, unwanted)


def _named(text: str, unwanted: Set[Identity]) -> Iterator[str | FileFailure]:
    """What one name stands for."""
    name = parse_name(text)
    if name.is_address:
        for found in remote.discover(text):
            is_shard = isinstance(found, str) and parse_name(found).is_shard
            yield from shards.members(str(found)) if is_shard else [found]
    elif text != STDIN and os.path.isdir(text):
        yield from found_or_failure(_walk(text, (), unwanted), text, "folder")
    elif name.is_shard and os.path.isfile(text):
        yield from shards.members(text)
    else:
        yield text


def read_list(lines: IO[bytes], separator: bytes) -> Iterator[str]:
    """The paths of a list, read piece by piece; empty entries are passed over. Closes the list at its end.

    Args:
        lines: The list. Names are bytes: what is not UTF-8 comes through as it is.
        separator: A newline, or NUL as of `find -print0`.
    """
    end = b"\r" if separator == b"\n" else b""  # of a line from Windows; between NULs it is part of a name
    with cast(io.BufferedIOBase, lines) as buffered:
        rest = b""
        mark = codecs.BOM_UTF8  # at the start of a list from Windows
        while piece := buffered.read1(1 << 16):  # what is there: the rest may take its time
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


def _walk(folder: str, above: tuple[Identity, ...], unwanted: Set[Identity]) -> Iterator[str | FileFailure]:
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            circle = InputError("unreadable", "a link in a circle: it leads back to a folder above it")
            yield FileFailure.of(folder, circle)
            return
        with os.scandir(folder) as scan:
            entries = sorted(_entries(scan, identity[0], unwanted))
    except OSError as error:
        yield FileFailure.of(folder, InputError("unreadable", f"cannot read the folder: {error.strerror}"))
        return
    for name, is_file in entries:
        path = os.path.join(folder, name)
        if not is_file:
            yield from _walk(path, (*above, identity), unwanted)
        elif name.lower().endswith(TAR):
            yield from shards.members(path)
        else:
            yield path


def _entries(
    scan: Iterator[os.DirEntry[str]], device: int, unwanted: Set[Identity]
) -> Iterator[tuple[str, bool]]:
    """Name of each entry of a folder that counts, and whether it is a file."""
    for entry in scan:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield entry.name, False
        elif counts(entry.name) and _may_be_file(entry) and (device, entry.inode()) not in unwanted:
            yield entry.name, True


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    # Not a pipe, which might never end. A link that leads nowhere is kept: opening it will say so.
    return entry.is_symlink() or entry.is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle: opening it will say so
