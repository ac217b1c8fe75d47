"""A tar of recordings, as webdataset writes and reads it; headers are read one by one, as far as needed."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Iterator
from typing import IO

from ast_cli.audio.local import SharedFile, View, copy_of
from ast_cli.audio.suffixes import is_audio
from ast_cli.errors import InputError

LARGEST_HEADER = 1 << 24  # bytes; names are shorter, damage may say anything
SPARSE = -1  # in the place of an offset


class _Headers(View):
    """What `tarfile` reads: of no header more than memory holds, whatever size damage gives it."""

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or what is left."""
        left = max(0, self._shared.size - self.tell())
        wanted = left if size < 0 else min(size, left)
        if wanted > LARGEST_HEADER:
            raise OSError(f"{wanted:,} bytes in one piece")
        return super().read(wanted) or b""


class TarShard:
    """An open tar.

    Members count as files do in a folder: by their suffix, unless a part of their name begins with a dot.
    Links, folders and devices are passed over: nothing that a tar names is opened but what is in it. Of
    members with the same name all count: from the second on they are called `a#2.wav`, `a#3.wav`.

    Args:
        file: Stays open as long as this is used.

    Raises:
        InputError: It is empty, or no tar.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        if file.size == 0:
            raise InputError("empty", "the shard is empty (0 bytes)")
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._places: dict[str, tuple[int, int]] = {}  # offset and size of each
        self._ended = False
        self._damage: InputError | None = None
        try:
            self._tar = tarfile.open(  # noqa: SIM115 — it is as long as this
                fileobj=_Headers(file),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            )
        except Exception as error:  # damage raises anything
            raise InputError(
                "unreadable",
                f"not a tar ({error})",
                "One that is packed must be unpacked: gunzip shard.tar.gz",
            ) from error

    def members(self) -> Iterator[str]:
        """See `shards.Shard`."""
        number = 0
        while True:
            with self._lock:
                while number >= len(self._names) and not self._ended:
                    self._advance()
                if number >= len(self._names):
                    break
                name = self._names[number]
            yield name
            number += 1
        if self._damage is not None:
            raise self._damage

    def open(self, member: str) -> IO[bytes]:
        """See `shards.Shard`."""
        with self._lock:
            while member not in self._places and not self._ended:
                self._advance()
            place = self._places.get(member)
        if place is None:
            if self._damage is not None:
                raise self._damage
            raise InputError("not-found", "the shard holds no member of this name", "Check the spelling")
        offset, size = place
        if offset == SPARSE:
            raise InputError("unsupported-format", "it is stored as a sparse file", "Unpack the tar first")
        return copy_of(self._file, offset, size)

    def _advance(self) -> None:
        """Read the next header, of whatever it is."""
        try:
            header = self._tar.next()
        except Exception as error:  # damage raises anything
            self._end(f"cut off or damaged ({error})")
            return
        self._tar.members = []  # type: ignore[attr-defined] # where tarfile would keep them all
        if header is None:
            self._require_end()
            return
        if header.isfile() and header.offset_data + header.size > self._file.size and not header.issparse():
            self._end(f"cut off in the middle of {header.name}")
            return
        parts = [part for part in header.name.split("/") if part not in ("", ".")]
        if not header.isfile() or any(part.startswith(".") for part in parts) or not parts:
            return
        name = "/".join(parts)
        if is_audio(name):
            name = self._unused(name)
            self._names.append(name)
            self._places[name] = (SPARSE if header.issparse() else header.offset_data, header.size)

    def _unused(self, name: str) -> str:
        """The name, or if a member had it before, one with a number."""
        root, suffix = os.path.splitext(name)
        number = 1
        while name in self._places:
            number += 1
            name = f"{root}#{number}{suffix}"
        return name

    def _require_end(self) -> None:
        """See that a block of zeros follows, as at the end of every whole tar."""
        block = self._file.read_at(self._tar.offset, tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            self._end("cut off: it ends without a mark of its end")
        elif any(block):
            self._end(f"damaged at byte {self._tar.offset:,}")
        else:
            self._ended = True

    def _end(self, fault: str) -> None:
        self._ended = True
        count = "1 recording comes" if len(self._names) == 1 else f"{len(self._names):,} recordings come"
        self._damage = InputError("unreadable", f"{fault}: {count} before", "Fetch or make the shard again")
