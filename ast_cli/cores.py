"""How many cores this process may use: in a container, often fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """The cores of this process's affinity, and no more than the CPU time of its control groups is worth.

    Args:
        root: Under which the system tells of control groups, in `proc` and `sys`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(_quotas(root), default=cores))))


def _quotas(root: Path) -> Iterator[float]:
    """In cores, those of the process's groups and of all above them; see cgroups(7), versions 1 and 2."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not on Linux
        return
    for _, controllers, path in (line.split(":", 2) for line in groups):
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = top / path.lstrip("/")  # in a container, it may not be seen: then what is seen is its own
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            with suppress(OSError, ValueError):  # there is none, or it says `max`
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
                quota, period = " ".join((folder / file).read_text() for file in files).split()
                if int(quota) > 0:  # version 1 says -1 for none
                    yield int(quota) / int(period)
