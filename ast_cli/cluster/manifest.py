"""What a run on a cluster is to tag: written down before it begins, and divided into shards.

Two files in the folder of the run, whose names begin with `_`, as what reads folders of results expects of
files that hold none: the recordings, one a line, in the order in which they were found; and what the run was
asked for, with the place of every shard among them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ast_cli.cluster.store import Store
from ast_cli.errors import OutputError, UsageError
from ast_cli.names import parse_name
from ast_cli.outputs.journal import require_same
from ast_cli.results import FileFailure, Outcome, display_name

SCHEMA = "ast-shards/1"
NAMES, RUN = "_recordings.jsonl", "_run.json"


@dataclass(frozen=True, slots=True)
class RunShard:
    """Recordings that are tagged by one actor and whose results are in one file.

    Attributes:
        number: From 0.
        begin: Where its first line is among the recordings, in bytes.
        end: Where the next shard begins.
    """

    number: int
    begin: int
    end: int

    def file(self, suffix: str) -> str:
        """The name of its results."""
        return f"part-{self.number:06}{suffix}"

    @property
    def failures(self) -> str:
        """The name of what says which of its recordings failed; there is none where none did."""
        return f"_failed-{self.number:06}.json"


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What a run is to tag, and how.

    Attributes:
        run: Its name, which no other has.
        asked: What the results depend on, by name.
        recordings: Their number.
        ends: Where each shard ends, in bytes.
    """

    run: str
    asked: Mapping[str, Any]
    recordings: int
    ends: tuple[int, ...]

    @property
    def shards(self) -> list[RunShard]:
        """In order."""
        begins = (0, *self.ends)
        return [RunShard(number, begins[number], end) for number, end in enumerate(self.ends)]


def write_manifest(
    store: Store, found: Iterable[str | Outcome], asked: Mapping[str, Any], shard_size: int
) -> RunManifest:
    """Write down what was found.

    Args:
        store: The folder of the run.
        found: Paths and failures, as `discover` gives them.
        asked: See `RunManifest`.
        shard_size: Recordings in a shard.

    Raises:
        OutputError: It cannot be written.
        UsageError: It would hold a secret that stands in an address.
    """
    ends: list[int] = []
    count, place = 0, 0
    with tempfile.NamedTemporaryFile("wb") as lines:
        for count, one in enumerate(found, start=1):
            if isinstance(one, str) and parse_name(one).holds_secrets:
                raise UsageError(
                    f"{display_name(one)} was named with a secret, and a run on a cluster writes names down",
                    "Leave it out, and let every machine have the store's own credentials",
                )
            # Half surrogates, which stand for bytes that are no UTF-8, come through JSON's escapes whole.
            place += lines.write(
                json.dumps(one if isinstance(one, str) else asdict(_failure(one))).encode("ascii") + b"\n"
            )
            if count % shard_size == 0:
                ends.append(place)
        if count % shard_size:
            ends.append(place)
        lines.flush()
        store.put(Path(lines.name), NAMES)
    manifest = RunManifest(uuid4().hex, json.loads(json.dumps(asked)), count, tuple(ends))
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as document:
        json.dump({"schema": SCHEMA, **asdict(manifest)}, document)
        document.flush()
        store.put(Path(document.name), RUN)  # last: with it, the other is complete
    return manifest


def read_manifest(store: Store, asked: Mapping[str, Any]) -> RunManifest:
    """What an earlier run wrote down.

    Raises:
        UsageError: It was asked for something else.
        OutputError: It cannot be read.
    """
    manifest = _read(store)
    require_same(store.address, asked, manifest.asked)
    return manifest


def require_run(store: Store, run: str) -> None:
    """Raise OutputError if the folder is of another run by now: its results must not be mixed with ours."""
    if not store.has(RUN) or _read(store).run != run:
        raise OutputError(
            f"another run was begun in {store.address} while this one wrote there",
            "Give each run a folder of its own",
        )


def _read(store: Store) -> RunManifest:
    try:
        document = json.loads(store.read(RUN))
        if document.pop("schema") != SCHEMA:
            raise ValueError("of another version")
        return RunManifest(
            document["run"], document["asked"], document["recordings"], tuple(document["ends"])
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{store.address}/{RUN} cannot be read: {error}", "Start anew with --overwrite"
        ) from error


def read_shard(store: Store, begin: int, end: int) -> list[str | Outcome]:
    """The recordings of a shard."""
    lines = store.read(NAMES, begin, end).splitlines()
    return [one if isinstance(one, str) else FileFailure(**one) for one in map(json.loads, lines)]


def _failure(outcome: Outcome) -> FileFailure:
    assert isinstance(outcome, FileFailure)  # nothing was tagged yet
    return outcome
