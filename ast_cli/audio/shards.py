"""Shards: files that hold many recordings. Which ones, without reading them; and any one of them by its name.

What is open is kept for a while, since recordings come in the order of their shard: a shard at an address is
copied once, and the copy goes with its last recording. Called from many threads at once.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Protocol

from ast_cli.audio import remote
from ast_cli.audio.local import open_path
from ast_cli.audio.suffixes import no_audio
from ast_cli.errors import InputError
from ast_cli.names import is_address, member_name, without_query
from ast_cli.results import FileFailure, Stamp

MOST_OPEN = 32  # shards, each with the places of its members, some hundred bytes a member
MOST_COPIED = 4 << 30  # bytes of copies on the disk, or a single one


class Shard(Protocol):
    """A file that holds recordings."""

    def members(self) -> Iterator[str]:
        """What its recordings are called below it, in their order.

        Raises:
            InputError: It is damaged, behind those that came.
        """
        ...

    def open(self, member: str) -> IO[bytes] | str:
        """A copy of a recording, which has no name; or the name of a file beside the shard that holds it.

        Raises:
            InputError: There is none of this name, or it cannot be read.
        """
        ...


class _Kept:
    """A shard that is open, or is being opened."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.shard: Shard | None = None
        self.stamp: Stamp | None = None
        self.copied = 0  # bytes
        self.listings = 0  # at work
        self.listed = False
        self.waiting = 0  # members that were listed and not opened yet

    def opened(self) -> Shard:
        """The shard; fetched and opened by whoever comes first."""
        with self.lock:
            if self.shard is None:
                file, self.stamp = _open_whole(self.name)
                try:
                    descriptor = os.dup(file.fileno())
                finally:
                    file.close()
                # Whoever still reads a member when the shard is dropped has it until then.
                weakref.finalize(self, os.close, descriptor)
                if is_address(self.name):
                    self.copied = os.fstat(descriptor).st_size
                self.shard = _kind(self.name)(descriptor)
            return self.shard


def _kind(name: str) -> Callable[[int], Shard]:
    if without_query(name)[0].lower().endswith(".tar"):
        from ast_cli.audio.tar_shard import TarShard

        return TarShard
    from ast_cli.audio.parquet_shard import ParquetShard

    return ParquetShard


def _open_whole(name: str) -> tuple[IO[bytes], Stamp | None]:
    if is_address(name):
        return remote.fetch(name), None
    return open_path(name)


class _Keeper:
    """The shards that are open: the last ones that were used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def get(self, name: str) -> _Kept:
        key = name if is_address(name) else os.path.abspath(name)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._has_changed(kept):
                kept = self._kept[key] = _Kept(name)
            self._kept.move_to_end(key)
        try:
            kept.opened()
        except BaseException:
            self.drop(kept)
            raise
        self._make_room(kept)
        return kept

    def drop(self, kept: _Kept) -> None:
        with self._lock:
            for key in [key for key, one in self._kept.items() if one is kept]:
                del self._kept[key]

    def listing(self, kept: _Kept, change: int) -> None:
        with self._lock:
            kept.listings += change
            kept.listed = True
        self._drop_if_done(kept)

    def waiting(self, kept: _Kept, change: int) -> None:
        with self._lock:
            kept.waiting += change
        self._drop_if_done(kept)

    def _drop_if_done(self, kept: _Kept) -> None:
        # A process that has not listed it cannot know which member is the last.
        if kept.listed and kept.listings == 0 and kept.waiting <= 0:
            self.drop(kept)

    @staticmethod
    def _has_changed(kept: _Kept) -> bool:
        if kept.stamp is None:
            return False
        with suppress(OSError):
            return Stamp.of(os.stat(kept.name)) != kept.stamp
        return True

    def _make_room(self, newest: _Kept) -> None:
        with self._lock:
            copied = sum(one.copied for one in self._kept.values())
            for key, one in [*self._kept.items()]:
                if len(self._kept) <= MOST_OPEN and copied <= MOST_COPIED:
                    break
                if one is not newest:
                    copied -= one.copied
                    del self._kept[key]


_keeper = _Keeper()


def forget() -> None:
    """Drop all that is open; a process that was forked begins so, since locks may be held in the other."""
    global _keeper
    _keeper = _Keeper()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def members(name: str) -> Iterator[str | FileFailure]:
    """The recordings of a shard, each by a name below it; none is read.

    Yields:
        Names; then the failure of the shard itself if it is damaged or holds no audio.

    Raises:
        EngineError: A package is not installed.
    """
    keeper = _keeper
    empty = True
    try:
        kept = keeper.get(name)
        keeper.listing(kept, 1)
        try:
            for member in kept.opened().members():
                empty = False
                keeper.waiting(kept, 1)
                yield member_name(name, member)
        finally:
            keeper.listing(kept, -1)
    except InputError as error:
        yield FileFailure.of(name, error)
        return
    if empty:
        yield FileFailure.of(name, no_audio("shard"))


def open_member(name: str, member: str) -> tuple[IO[bytes] | str, Stamp | None]:
    """A copy of a recording, or the name of the file beside the shard that holds it; and the shard's stamp.

    Raises:
        InputError: There is no such recording or shard, or it cannot be read.
        EngineError: A package is not installed.
    """
    keeper = _keeper
    kept = keeper.get(name)
    try:
        opened = kept.opened().open(member)
    finally:
        keeper.waiting(kept, -1)
    if isinstance(opened, str):
        bare, query = without_query(name)
        opened = f"{bare.rpartition('/')[0]}/{opened}{query}" if "/" in bare else opened
    return opened, kept.stamp
