"""Shards: files that hold many recordings. Which ones, without reading them; and any one of them by its name.

What is open is kept for a while, since recordings come in the order of their shard: a shard at an address is
copied once, and the copy goes with its last recording. Called from many threads at once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Protocol

from ast_cli.audio import remote
from ast_cli.audio.local import SharedFile, open_path
from ast_cli.audio.suffixes import found_or_failure
from ast_cli.errors import InputError
from ast_cli.names import parse_name
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

    def open(self, member: str) -> IO[bytes]:
        """A copy of a recording, which has no name. What a shard names is never opened unless it is in it.

        Raises:
            InputError: There is none of this name, or it cannot be read.
        """
        ...


class _OpenShard:
    """A shard that is open, or is being opened."""

    def __init__(self, name: str) -> None:
        self.name = parse_name(name)
        self.lock = threading.Lock()
        self.shard: Shard | None = None
        self.stamp: Stamp | None = None
        self.copied = 0  # bytes
        self.listings = 0  # at work
        self.listed = False
        self.waiting: set[str] = set()  # members that were listed and not opened yet

    def opened(self) -> Shard:
        """The shard; fetched and opened by the thread that comes first."""
        with self.lock:
            if self.shard is None:
                name = self.name
                file, self.stamp = (
                    (remote.fetch(name.text), None) if name.is_address else open_path(name.text)
                )
                # A thread that still reads a member when the shard is dropped has it until then.
                shared = SharedFile(file)
                if name.is_address:
                    self.copied = shared.size
                self.shard = _kind(name.bare)(shared)
            return self.shard

    @property
    def has_changed(self) -> bool:
        """Whether somebody wrote to it since it was opened."""
        if self.stamp is None:
            return False
        with suppress(OSError):
            return Stamp.of(os.stat(self.name.text)) != self.stamp
        return True


def _kind(bare: str) -> Callable[[SharedFile], Shard]:
    if bare.lower().endswith(".tar"):
        from ast_cli.audio.tar_shard import TarShard

        return TarShard
    from ast_cli.audio.parquet_shard import ParquetShard

    return ParquetShard


class _OpenShards:
    """A cache of open shards: the ones that were used last, each until its last member was opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: OrderedDict[str, _OpenShard] = OrderedDict()

    def get(self, name: str) -> _OpenShard:
        key = self._key(name)
        with self._lock:
            shard = self._by_key.get(key)
            if shard is None or shard.has_changed:
                shard = self._by_key[key] = _OpenShard(name)
            self._by_key.move_to_end(key)
        try:
            shard.opened()
        except BaseException:
            self.drop(shard)
            raise
        self._drop_oldest(shard)
        return shard

    @staticmethod
    def _key(name: str) -> str:
        return name if parse_name(name).is_address else os.path.abspath(name)

    def listing(self, shard: _OpenShard, begun: int) -> None:
        """A listing of a shard begins (1) or ends (-1)."""
        with self._lock:
            shard.listings += begun
            shard.listed = True
        self._drop_done(shard)

    def done(self, shard: _OpenShard, member: str) -> None:
        """A member was opened, or never will be."""
        with self._lock:
            shard.waiting.discard(member)
        self._drop_done(shard)

    def done_if_open(self, name: str, member: str) -> None:
        """The same, if the shard is open."""
        with self._lock:
            shard = self._by_key.get(self._key(name))
        if shard is not None:
            self.done(shard, member)

    def _drop_done(self, shard: _OpenShard) -> None:
        # A process that has not listed it cannot know which member is the last.
        if shard.listed and shard.listings == 0 and not shard.waiting:
            self.drop(shard)

    def listed(self) -> list[_OpenShard]:
        """Those of which all members were listed."""
        with self._lock:
            return [shard for shard in self._by_key.values() if shard.listed and not shard.listings]

    def drop(self, shard: _OpenShard) -> None:
        """Keep it no longer."""
        with self._lock:
            for key in [key for key, one in self._by_key.items() if one is shard]:
                del self._by_key[key]

    def _drop_oldest(self, newest: _OpenShard) -> None:
        with self._lock:
            copied = sum(one.copied for one in self._by_key.values())
            for key, one in [*self._by_key.items()]:
                if len(self._by_key) <= MOST_OPEN and copied <= MOST_COPIED:
                    break
                if one is not newest:
                    copied -= one.copied
                    del self._by_key[key]


_cache = _OpenShards()


def forget() -> None:
    """Drop all that is open; a process that was forked begins so, since locks may be held in the other."""
    global _cache
    _cache = _OpenShards()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def members(name: str) -> Iterator[str | FileFailure]:
    """The recordings of a shard, each by a name below it; none is read.

    Yields:
        Names; then the failure of the shard itself if it is damaged or holds no audio.

    Raises:
        EngineError: A package is not installed.
    """
    yield from found_or_failure(_members(_cache, name), name, "shard")


def _members(cache: _OpenShards, name: str) -> Iterator[str | FileFailure]:
    try:
        shard = cache.get(name)
        cache.listing(shard, 1)
        try:
            for member in shard.opened().members():
                shard.waiting.add(member)
                yield parse_name(name).of_member(member)
        finally:
            cache.listing(shard, -1)
    except InputError as error:
        yield FileFailure.of(name, error)


def forget_listed() -> None:
    """Drop the shards whose members were listed, opened or not, as at the end of a run."""
    for shard in _cache.listed():
        _cache.drop(shard)


def pass_over(name: str) -> None:
    """Say that a recording that was listed will not be opened, so that nothing is kept for it."""
    if inside := parse_name(name).shard_and_member():
        _cache.done_if_open(*inside)


def open_member(name: str, member: str) -> tuple[IO[bytes], Stamp | None]:
    """A copy of a recording, and the stamp of its shard.

    Raises:
        InputError: There is no such recording or shard, or it cannot be read.
        EngineError: A package is not installed.
    """
    cache = _cache
    shard = cache.get(name)
    try:
        return shard.opened().open(member), shard.stamp
    finally:
        cache.done(shard, member)
