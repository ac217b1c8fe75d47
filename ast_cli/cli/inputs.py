"""What the user names on the command line and in lists: recordings, folders, shards, addresses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from ast_cli.audio import remote
from ast_cli.audio.discover import discover, read_list
from ast_cli.cli.options import InputOptions
from ast_cli.errors import InputError, UsageError
from ast_cli.names import STDIN, parse_name
from ast_cli.results import display_name


def counting(
    paths: list[str], files_from: str | None = None, leave_out: Sequence[str] = ()
) -> Callable[[], Iterable[object]] | None:
    """What counts the inputs beforehand, for the progress; None where that would cost as much as the run.

    A list can be read only once, and what is at addresses would be listed and fetched twice.
    """
    if files_from is not None or any(parse_name(path).is_address for path in paths):
        return None
    return lambda: discover(paths, leave_out)


def inputs_of(named: InputOptions, what: str = "tag", *, offline: bool) -> Iterable[str]:
    """The names of the command line, then those of the list as they come.

    Raises:
        EngineError: What addresses on the command line need is not installed.
        UsageError: There is nothing, it is said twice, or it is on the network, which `offline` forbids.
    """
    paths, files_from, null = named.paths, named.files_from, named.null
    if null and files_from is None:
        raise UsageError("-0 says how a list is separated, but there is none", "Add --files-from FILE")
    if not paths and files_from is None:
        raise UsageError(f"nothing to {what}", "Name files or folders, or --files-from a list")
    if files_from == "-" and "-" in paths:
        raise UsageError("stdin cannot be both an audio file and a list of files")
    require_openable(paths, offline=offline)
    if files_from is None:
        return paths
    if files_from == "-" and sys.stdin is None:
        raise UsageError("standard input is closed", "Name a file with the list")
    try:
        # Names are bytes: what is not UTF-8 comes through as it is.
        lines = (
            sys.stdin.buffer if files_from == "-" else open(files_from, "rb")  # noqa: PTH123, SIM115
        )
    except OSError as error:
        raise UsageError(f"cannot read the list {files_from}: {error.strerror}") from error
    listed = read_list(lines, b"\0" if null else b"\n")
    return chain(paths, _refusing_addresses(listed) if offline else listed)


def require_openable(paths: Iterable[str], *, offline: bool) -> None:
    """Say so before a model is loaded if addresses cannot be opened here at all."""
    for name in _refusing_addresses(paths) if offline else paths:
        if parse_name(name).is_address:
            remote.require(name)


def _refusing_addresses(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if parse_name(name).is_address:
            shown = display_name(name)
            raise UsageError(f"{shown} is on the network, which --offline never touches", "Leave one out")
        yield name


def _may_be_there(name: str) -> bool:
    parsed = parse_name(name)
    return name == STDIN or os.path.lexists(name) or parsed.is_pattern() or parsed.is_there()


def refuse_missing(paths: list[str]) -> None:
    """Say so at once if nothing that was named is there: a slip should not cost the loading of a model.

    Only to a person: another program gets the document it asked for, with the failures in it.
    """
    if paths and not any(map(_may_be_there, paths)):
        raise InputError("not-found", f"no such file: {', '.join(paths)}", "Check the spelling")
