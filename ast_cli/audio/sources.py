"""The name of a recording -> a local file that can be sought in; what it holds is not looked at.

A path, standard input, an address, or a member of a shard: a name is all it takes.
"""

from __future__ import annotations

from typing import IO

from ast_cli.audio import remote, shards
from ast_cli.audio.local import open_path, open_stdin, spool
from ast_cli.errors import InputError
from ast_cli.names import STDIN, parse_name
from ast_cli.results import Stamp


def open_file(name: str) -> tuple[IO[bytes], Stamp | None]:
    """The file itself, or a seekable copy of what lies elsewhere: in a pipe, at an address, in a shard.

    Args:
        name: Of the recording; `-` is standard input.

    Returns:
        An unbuffered file with a descriptor; a copy has no name: nothing links to it. And its stamp, or that
        of its local shard.

    Raises:
        InputError: It does not exist or cannot be read.
        EngineError: A package is not installed that opens addresses of this scheme, or Parquet.
        UsageError: There is no such scheme.
    """
    if name == STDIN:
        with open_stdin("cat clip.wav | ast-tag -") as pipe:
            return spool(pipe), None
    parsed = parse_name(name)
    inside = parsed.shard_and_member()
    if inside is not None:
        return _open_member(name, *inside)
    if parsed.is_address:
        return remote.fetch(name), None
    return open_path(name)


def _open_member(name: str, shard: str, member: str) -> tuple[IO[bytes], Stamp | None]:
    try:
        return shards.open_member(shard, member)
    except InputError as error:
        if not parse_name(name).is_address or error.word != "not-found":
            raise
        try:  # what is called like a shard may be a folder
            return remote.fetch(name), None
        except InputError:
            raise error from None
