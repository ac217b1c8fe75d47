"""Shards through Ray Data's pool of actors, on a cluster that is started here or there already.

The only place that knows Ray, which is imported when a cluster is wanted.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from ast_cli.cluster.manifest import Shard
from ast_cli.cluster.worker import Job, Report, ShardTagger
from ast_cli.errors import AstCliError, EngineError

LOCAL = "local"
CONNECT_SECONDS = 10.0
MOST_BLOCKS = 4000  # which the driver keeps track of; of more shards, several are one
INSTALL = "pip install 'ast-cli[ray]'"


@dataclass(frozen=True, slots=True)
class Actors:
    """The actors that a cluster has room for now.

    Attributes:
        count: Their number, at least one.
        cores: Of each.
        gpus: Of each, 0 or 1.
    """

    count: int
    cores: int
    gpus: int


def require_ray() -> None:
    """Raise EngineError unless Ray is installed."""
    if find_spec("ray") is None:
        raise EngineError("Ray is not installed", INSTALL)


@contextmanager
def cluster(address: str, *, cores: int | None = None, verbose: bool = False) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        address: `local` starts one here, which ends with the block; `auto` is the one of RAY_ADDRESS or of
            this machine; or the address of one.
        cores: That a local one may use; all if None.
        verbose: Whether what the actors print is seen here.

    Raises:
        EngineError: Ray is not installed, or there is no such cluster.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # how it will treat machines without GPUs
    import ray

    _require_answer(address)
    own: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False} if address == LOCAL else {}
    try:
        with nullcontext() if verbose else _without_what_ray_says_of_itself():
            ray.init(
                address=address,
                logging_level=logging.WARNING if verbose else logging.ERROR,
                log_to_driver=verbose,
                **own,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"there is no Ray cluster at {address}: {_first_line(error)}",
            "Start one with `ray start --head`, or use --ray local",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"there is no Ray cluster at {address}: {error}",
            "Start one with `ray start --head`, or use --ray local",
        ) from error


@contextmanager
def _without_what_ray_says_of_itself() -> Iterator[None]:
    """Have the compiled part of Ray say nothing but what is fatal, not even that it was told to."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def room_for(device: str) -> Actors:
    """The actors that the cluster has room for: one a GPU, or one for the cores of its smallest machine.

    Args:
        device: `cpu`, or what may be a GPU.

    Raises:
        EngineError: It has no GPU, but one is asked for.
    """
    import ray

    machines = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    with_gpu = [one for one in machines if one.get("GPU", 0) >= 1]
    if device.startswith("cuda") and not with_gpu:
        raise EngineError("the cluster has no GPU", "Use --device cpu")
    if device != "cpu" and with_gpu:
        cores = min(int(one.get("CPU", 0) // one["GPU"]) for one in with_gpu)
        return Actors(sum(int(one["GPU"]) for one in with_gpu), max(1, cores), 1)
    each = [int(one.get("CPU", 0)) for one in machines if one.get("CPU", 0) >= 1]
    cores = min(each, default=1)
    return Actors(max(1, sum(one // cores for one in each)), cores, 0)


def tag_shards(job: Job, shards: Sequence[Shard], actors: Actors) -> Iterator[Report]:
    """Have shards tagged; a report for each, as it is done. One whose actor is lost is tagged again.

    Raises:
        AstCliError: What every shard would raise, as that there is no such model.
    """
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
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
            yield from (Report(**json.loads(text)) for text in rows["report"])
    except RayError as error:
        ours = _cause(error)
        if ours is not None:
            raise ours from error
        raise EngineError(
            f"the cluster failed: {_first_line(error)}", "--resume goes on from there; --verbose says more"
        ) from error


def _cause(error: BaseException | None) -> AstCliError | None:
    """The error of ours that Ray has wrapped."""
    while error is not None:
        if isinstance(error, AstCliError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
