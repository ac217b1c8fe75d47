"""The folder of a run on a cluster: local or shared, or an address of an object store.

Files appear under their names only when they are complete, so that two that write the same leave one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import fsspec

from ast_cli.audio import remote
from ast_cli.errors import EngineError, OutputError
from ast_cli.names import parse_name


class Store:
    """A folder of files without folders in it.

    Args:
        address: A path, or an address that `fsspec` knows; messages show it without its secrets.

    Raises:
        EngineError: What reads such addresses is not installed.
        OutputError: There is no such kind of address.
    """

    def __init__(self, address: str) -> None:
        self.address = parse_name(address).shown
        try:
            self._fs, self._folder = fsspec.core.url_to_fs(address)
        except ImportError as error:
            remote.require(address)  # knows what to install for which scheme
            raise EngineError(f"{self.address}: {error}") from error
        except ValueError as error:
            raise OutputError(f"{self.address}: {error}") from error
        self._is_local = "file" in self._protocols()

    def names(self) -> list[str]:
        """The names of all files, in order; none where there is no folder yet."""
        with self._errors("read"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._folder, detail=False)
            except FileNotFoundError:
                return []
            return sorted(one.rstrip("/").rpartition("/")[2] for one in found)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, now."""
        with self._errors("read"):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._path(name)))

    def read(self, name: str, begin: int | None = None, end: int | None = None) -> bytes:
        """Bytes of a file, from one to another."""
        with self._errors("read"):
            content: bytes = self._fs.cat_file(self._path(name), start=begin, end=end)
            return content

    def put(self, local: Path, name: str) -> None:
        """Copy a local file into the folder, in one step as far as others can see."""
        with self._errors("write"):
            if not self._is_local:  # objects are there as a whole, or not at all
                self._fs.put_file(str(local), self._path(name))
                return
            target = Path(self._path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            # Under a name of its own until then: one that was thought to be dead may be writing it, too.
            part = target.with_name(f".{name}.{uuid4().hex}")
            try:
                with local.open("rb") as content, part.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
                    copy.flush()
                    os.fsync(copy.fileno())
                part.replace(target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._errors("write"):
            self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._folder.rstrip('/')}/{name}"

    def _protocols(self) -> tuple[str, ...]:
        known = self._fs.protocol
        return (known,) if isinstance(known, str) else tuple(known)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Whatever the store says becomes an OutputError."""
        try:
            yield
        except OutputError:
            raise
        except Exception as error:  # every kind of store has its own
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            remedy = "Check the address and the credentials; --resume goes on from there"
            raise OutputError(f"cannot {what} {self.address}: {reason}", remedy) from error
