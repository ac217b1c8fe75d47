"""Paths the user names -> recordings, one at a time and in a fixed order; nothing is opened."""

from __future__ import annotations

import codecs
import heapq
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from typing import IO, cast

from ast_cli.errors import InputError
from ast_cli.results import FileFailure

STDIN = "-"

# What libsndfile may read, and what needs PyAV. A suffix decides only whether the walk takes a file.
_SOUNDFILE = """
    aif aifc aiff au avr bwf caf flac htk mp1 mp2 mp3 mpc2k
    nist oga ogg opus paf rf64 snd sph svx voc w64 wav wave wve xi
"""
_AV = """
    3gp aac ac3 amr ape asf avi dts eac3 flv m4a m4b
    m4v mka mkv mov mp4 mpg mpeg mts ra tak tta webm wma wmv wv
"""
SOUNDFILE_SUFFIXES = frozenset(f".{name}" for name in _SOUNDFILE.split())
AV_SUFFIXES = frozenset(f".{name}" for name in _AV.split())
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | AV_SUFFIXES

FILE, FOLDER = "f", "d"
MOST_SORTED_AT_ONCE = 100_000  # names of a folder in memory


def discover(
    paths: Iterable[str | os.PathLike[str]], leave_out: Iterable[str | os.PathLike[str]] = ()
) -> Iterator[str | FileFailure]:
    """Walk what the user named: files as they are, folders recursively.

    Within a folder, entries come in the order of their names; files count as recordings by their suffix, and
    names that begin with a dot are passed over. Links are followed, but never in a circle. The same paths
    always come in the same order, and none waits for the walk to end.

    Args:
        paths: Taken as they are needed.
        leave_out: Files that are no recordings though a folder may hold them, such as the output.

    Yields:
        A path, `-` for standard input, or the failure of a folder that cannot be read or holds no audio.
    """
    unwanted = set(_identities(leave_out))
    for given in paths:
        path = os.fspath(given)
        if path == STDIN or not os.path.isdir(path):
            yield path
            continue
        empty = True
        for found in _walk(path, (), unwanted):
            empty = False
            yield found
        if empty:
            suffixes = "such as .wav, .flac, .mp3, .m4a"
            yield FileFailure.of(
                path,
                InputError(
                    "no-audio",
                    "the folder holds no file with an audio suffix",
                    f"Suffixes {suffixes} count; name files with others one by one",
                ),
            )


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
        while piece := buffered.read1(1 << 16):  # what is there: whoever writes the list may take its time
            *whole, rest = (rest + piece).removeprefix(mark).split(separator)
            mark = b"" if whole else mark
            yield from (_entry(line.removesuffix(end)) for line in whole if line.strip())
        if rest.strip():
            yield _entry(rest.removesuffix(end))


def _entry(name: bytes) -> str:
    # In a list, which may itself come from standard input, `-` can only be a file that is called so.
    return "./-" if name == STDIN.encode() else os.fsdecode(name)


Identity = tuple[int, int]  # device and inode


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
        entries = _sorted_entries(folder, identity[0], unwanted)
    except OSError as error:
        yield FileFailure.of(folder, InputError("unreadable", f"cannot read the folder: {error.strerror}"))
        return
    for kind, name in entries:
        path = os.path.join(folder, name)
        if kind == FOLDER:
            yield from _walk(path, (*above, identity), unwanted)
        else:
            yield path


def _sorted_entries(folder: str, device: int, unwanted: Set[Identity]) -> Iterator[tuple[str, str]]:
    """Kind and name of what counts in a folder, by name; sorted on disk where there are very many."""
    runs: list[IO[bytes]] = []
    kinds: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                kinds[entry.name] = FOLDER
            elif _has_audio_suffix(entry) and _may_be_file(entry) and (device, entry.inode()) not in unwanted:
                kinds[entry.name] = FILE
            if len(kinds) >= MOST_SORTED_AT_ONCE:
                runs.append(_spooled(sorted(kinds.items())))
                kinds = {}
    rest = [(name, kind) for name, kind in sorted(kinds.items())]
    return ((kind, name) for name, kind in heapq.merge(*map(_spooled_entries, runs), rest))


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


def _has_audio_suffix(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in AUDIO_SUFFIXES


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    # Not a pipe, which might never end. A link that leads nowhere is kept: opening it will say so.
    return entry.is_symlink() or entry.is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle: opening it will say so
