"""What the figures were measured on, without which they mean nothing."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ast_cli import __version__
from ast_cli.bench.memory import MEGABYTE

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "transformers", "openvino")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on.

    Attributes:
        system: Operating system and architecture.
        cpu: The processor's name.
        instructions: The widest vectors that torch uses there.
        cores: That this process may use.
        threads: That torch uses.
        memory_mb: Of the machine; None where it does not tell.
        load: Processes that wanted a core in the minute before; None where the system does not tell.
        gpu: Name of the device, where it is none of the processor's.
        gpu_memory_mb: Of that device.
        versions: Of Python and of the packages that are installed.
    """

    system: str
    cpu: str
    instructions: str
    cores: int
    threads: int
    memory_mb: int | None
    load: float | None
    gpu: str | None
    gpu_memory_mb: int | None
    versions: dict[str, str]

    @classmethod
    def describe(cls, device: torch.device) -> Machine:
        """This machine, whose networks run on a device."""
        gpu, gpu_memory = _gpu(device)
        return cls(
            system=f"{platform.system()} {platform.machine()}",
            cpu=_cpu(),
            instructions=torch.backends.cpu.get_cpu_capability(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            memory_mb=_memory(),
            load=_load(),
            gpu=gpu,
            gpu_memory_mb=gpu_memory,
            versions={
                "ast-tag": __version__,
                "Python": platform.python_version(),
                **_packages(),
                **({"CUDA": torch.version.cuda} if device.type == "cuda" and torch.version.cuda else {}),
            },
        )


def _cpu() -> str:
    with suppress(OSError):
        named = re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(), re.MULTILINE)
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    size = None
    if sys.platform != "win32":
        with suppress(ValueError, OSError):
            size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEGABYTE
    return size


def _load() -> float | None:
    load = None
    if sys.platform != "win32":
        with suppress(OSError):
            load = round(os.getloadavg()[0], 2)
    return load


def _gpu(device: torch.device) -> tuple[str | None, int | None]:
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return found.name, found.total_memory // MEGABYTE
    return ("Apple GPU" if device.type == "mps" else None), None


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
