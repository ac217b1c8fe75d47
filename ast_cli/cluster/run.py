"""A run on a cluster, from what the user named to a folder of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ast_cli.cluster.connection import Actors
from ast_cli.cluster.manifest import NAMES, RUN, RunManifest, RunShard, read_manifest, write_manifest
from ast_cli.cluster.ray_data import tag_shards
from ast_cli.cluster.store import Store
from ast_cli.cluster.worker import Job, ShardReport
from ast_cli.errors import OutputError
from ast_cli.outputs import FORMATS
from ast_cli.results import Outcome

SHARD_SIZE = 256  # recordings; some seconds to a minute of work
SHARDED = ("jsonl", "parquet")  # formats whose files can be read one after the other


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """A run whose recordings are written down.

    Attributes:
        job: What its shards have in common.
        manifest: What it is to tag.
        done: Numbers of the shards that have their file from an earlier run.
    """

    job: Job
    manifest: RunManifest
    done: frozenset[int]

    @property
    def skipped(self) -> int:
        """Recordings of shards that are done already."""
        return sum(self._size(number) for number in self.done)

    def _size(self, number: int) -> int:
        size = int(self.manifest.asked["shard_size"])
        return min(size, self.manifest.recordings - number * size)

    @property
    def left(self) -> list[RunShard]:
        """The shards that have none."""
        return [shard for shard in self.manifest.shards if shard.number not in self.done]

    @property
    def to_do(self) -> list[RunShard]:
        """These, and those with failures, which are tried again."""
        return [shard for shard in self.manifest.shards if shard.number not in self.done - self.job.again]

    def reports(self, actors: Actors) -> Iterator[ShardReport]:
        """Tag all that is to do; see `tag_shards`.

        Raises:
            OutputError: In the end, a file is missing.
        """
        if shards := self.to_do:
            yield from tag_shards(self.job, shards, actors)
        names = set(Store(self.job.out).names())
        missing = [shard for shard in self.manifest.shards if self.job.file(shard) not in names]
        if missing:
            raise OutputError(
                f"{self.job.out} lacks {len(missing)} of {len(self.manifest.ends)} files",
                "Somebody removed them; --resume makes them again",
            )


def prepare(
    job: Job,
    find: Callable[[], Iterable[str | Outcome]],
    asked: Mapping[str, Any],
    *,
    shard_size: int = SHARD_SIZE,
    resume: bool = False,
    overwrite: bool = False,
) -> ClusterRun:
    """Write down what is to be tagged, or read what an earlier run wrote down.

    Args:
        job: What the shards have in common.
        find: Gives the recordings; not called where an earlier run goes on.
        asked: What the results depend on, by name: a run goes on only with the same.
        shard_size: Recordings in a shard.
        resume: Whether an earlier run goes on, if there is one.
        overwrite: Whether the results of an earlier run go.

    Raises:
        OutputError: There are results already, or the folder cannot be written.
        UsageError: The earlier run was asked for something else.
    """
    store = Store(job.out)
    names = store.names()
    asked = {**asked, "format": job.format, "shard_size": shard_size}
    if RUN in names and resume and not overwrite:
        manifest = read_manifest(store, asked)
        there = {*names}
        done = [shard for shard in manifest.shards if job.file(shard) in there]
        again = frozenset(shard.number for shard in done if shard.failures in there)
        job = replace(job, run=manifest.run, again=again)
        return ClusterRun(job, manifest, frozenset(shard.number for shard in done))
    # Recordings alone, without what they are for, are of a run that died before it began.
    others = [name for name in names if name != NAMES and not name.startswith(".")]
    if others and not overwrite:
        remedy = "--resume goes on with it, --overwrite starts anew" if RUN in names else "Name another"
        raise OutputError(f"{store.address} is not empty", remedy)
    if RUN in names:
        store.remove(RUN)  # first, since without it nothing can go on with what is half removed
    for name in filter(_is_part, names):
        store.remove(name)
    manifest = write_manifest(store, find(), asked, shard_size)
    return ClusterRun(replace(job, run=manifest.run), manifest, frozenset())


def _is_part(name: str) -> bool:
    is_result = name.startswith("part-") and any(name.endswith(FORMATS[one].suffix) for one in SHARDED)
    return is_result or name.startswith("_failed-")
