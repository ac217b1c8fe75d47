"""A Ray cluster that is started here or there already: being connected to it, and what it has room for.

Ray is imported when a cluster is wanted. Knows nothing of recordings.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any

from ast_cli.errors import EngineError
from ast_cli.extras import require_extra

LOCAL = "local"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # a machine may have to start Python first


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


@contextmanager
def cluster(address: str, *, verbose: bool = False) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        address: `local` starts one here, which ends with the block; `auto` is the one of RAY_ADDRESS or of
            this machine; or the address of one.
        verbose: Whether what the actors print is seen here.

    Raises:
        EngineError: Ray is not installed, or there is no such cluster.
    """
    require_extra("ray")
    _set_unless_set(RAY_USAGE_STATS_ENABLED="0")  # nothing is reported to anybody
    _set_unless_set(RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")  # or it tells how it will hide GPUs one day
    import ray

    _require_answer(address)
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"include_dashboard": False}
        _set_unless_set(RAY_enable_metrics_collection="0")  # nobody looks at metrics without a dashboard
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
            f"there is no Ray cluster at {address}: {first_line(error)}",
            "Start one with `ray start --head`, or use --ray local",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def without_stdout() -> Iterator[None]:
    """Ray prints there whatever it gets over, such as a lost machine, and what Ctrl-C did to its actors."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
        yield


def _set_unless_set(**variables: str) -> None:
    """What Ray takes from the environment, where nobody said otherwise."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


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
    _set_unless_set(RAY_BACKEND_LOG_LEVEL="fatal")
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


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    Attributes:
        name: As Ray calls it, with its address.
        cores: That Ray may use.
        gpus: That Ray may use.
        versions: By package; empty where `problem` is not.
        problem: Why nothing can run there.
    """

    name: str
    cores: int
    gpus: int
    versions: Mapping[str, str]
    problem: str = ""


def nodes() -> list[Node]:
    """The machines of the cluster, each asked for what is installed there."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    machines = sorted((one for one in ray.nodes() if one["Alive"]), key=lambda one: str(one["NodeName"]))
    asked = [
        ray.remote(installed)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(one["NodeID"], soft=False))
        .remote()
        for one in machines
    ]
    found = []
    for one, answer in zip(machines, asked, strict=True):
        has = one["Resources"]
        name = str(one["NodeName"])
        versions, problem = {}, ""
        try:
            versions = ray.get(answer, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            problem = first_line(error)
        found.append(Node(name, int(has.get("CPU", 0)), int(has.get("GPU", 0)), versions, problem))
    return found


def installed() -> dict[str, str]:
    """The versions that must be the same on all machines, of this one."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "missing"

    return {
        "Python": platform.python_version(),
        "ast-tag": of("ast-cli"),
        "ray": of("ray"),
        "torch": of("torch"),
    }


def first_line(error: BaseException) -> str:
    """Of what an error says; its kind if it says nothing."""
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
