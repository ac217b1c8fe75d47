"""Shards through Ray Data's pool of actors: scheduling, retries and queues are its own."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ast_cli.cluster.connection import Actors, first_line
from ast_cli.cluster.manifest import RunShard
from ast_cli.cluster.worker import Job, ShardReport, ShardTagger
from ast_cli.errors import AstCliError, EngineError

MOST_BLOCKS = 4000  # which the driver keeps track of; of more shards, several are one


def tag_shards(job: Job, shards: Sequence[RunShard], actors: Actors) -> Iterator[ShardReport]:
    """Have shards tagged; a report for each, as it is done. One whose actor is lost is tagged again.

    Raises:
        AstCliError: What every shard would raise, as that there is no such model.
    """
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = ray.data.from_items(
        [asdict(shard) for shard in shards], override_num_blocks=min(len(shards), MOST_BLOCKS)
    ).map_batches(
        ShardTagger,
        fn_constructor_args=(job, actors.cores),
        batch_size=1,
        batch_format="numpy",
        num_cpus=actors.cores,
        num_gpus=actors.gpus or None,
        # More of them where the cluster grows, fewer where it has shrunk.
        concurrency=(1, max(len(shards), actors.count), actors.count),
    )
    try:
        for rows in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            for pickled in rows["report"]:
                report = pickle.loads(pickled)  # noqa: S301 — an actor of ours made it
                if isinstance(report, AstCliError):
                    raise report
                yield report
    except RayError as error:
        raise EngineError(
            f"the cluster failed: {first_line(error)}", "--resume goes on from there; --verbose says more"
        ) from error
