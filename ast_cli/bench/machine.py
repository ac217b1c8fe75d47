"""The machine: what it is, how much of its memory is in use, and how long something takes on it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ast_cli import __version__
from ast_cli.cores import usable_cores

CPU_INFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
FORGET_PEAK = "5"  # see proc(5)
MEGABYTE = 1 << 20
PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "transformers", "openvino")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on, without which they mean nothing."""

    system: str  # operating system and architecture
    cpu: str  # the processor's name
    instructions: str  # the widest vectors that torch uses there
    cores: int  # that this process may use; see `usable_cores`
    threads: int  # that torch uses
    memory_mb: int | None  # None where the machine does not tell
    load: float | None  # processes that wanted a core in the minute before; None where nobody counts them
    gpu: str | None  # name of the device, where it is none of the processor's
    gpu_memory_mb: int | None
    versions: dict[str, str]  # of Python and of the packages that are installed

    @classmethod
    def describe(cls, device: torch.device) -> Machine:
        """This machine, whose networks run on a device."""
        gpu = "Apple GPU" if device.type == "mps" else None
        gpu_memory = memory = load = None
        versions = {"ast-tag": __version__, "Python": platform.python_version()}
        for package in PACKAGES:
            with suppress(PackageNotFoundError):
                versions[package] = version(package)
        if device.type == "cuda":
            found = torch.cuda.get_device_properties(device)
            gpu, gpu_memory = found.name, found.total_memory // MEGABYTE
            versions |= {"CUDA": torch.version.cuda} if torch.version.cuda else {}
        with suppress(ValueError, OSError):
            if hasattr(os, "sysconf"):
                memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // MEGABYTE
        with suppress(OSError):
            if hasattr(os, "getloadavg"):
                load = round(float(os.getloadavg()[0]), 2)
        return cls(
            system=f"{platform.system()} {platform.machine()}",
            cpu=_cpu(),
            instructions=torch.backends.cpu.get_cpu_capability(),
            cores=usable_cores(),
            threads=torch.get_num_threads(),
            memory_mb=memory,
            load=load,
            gpu=gpu,
            gpu_memory_mb=gpu_memory,
            versions=versions,
        )


def _cpu() -> str:
    with suppress(OSError):
        if named := re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(), re.MULTILINE):
            return named[1].strip()
    return platform.processor() or platform.machine()


class Memory:
    """How much memory a way of running takes by itself, though others are loaded beside it.

    Of networks on CUDA, what torch has allocated there; elsewhere, what of this process is resident, or 0 on
    Windows.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        self._base = self.mark()  # of what would be there in any case

    def mark(self) -> float:
        """Give back what is free, forget earlier peaks, and return what is in use, in megabytes."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device) / MEGABYTE
        if platform.libc_ver()[0] == "glibc":  # which engines have keep what is freed
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            CLEAR.write_text(FORGET_PEAK)
        return _status("VmRSS") if STATUS.exists() else self.peak()

    def peak(self) -> float:
        """The most that was in use since the last mark, in megabytes; ever, where peaks stay."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MEGABYTE
        if STATUS.exists():
            return _status("VmHWM")
        most = 0.0
        if sys.platform != "win32":
            from resource import RUSAGE_SELF, getrusage

            most = getrusage(RUSAGE_SELF).ru_maxrss / (MEGABYTE if sys.platform == "darwin" else 1024)
        return most

    def own(self, before: float, after: float) -> float:
        """What there would be in use if only what was loaded between two marks were there, in megabytes."""
        return self._base + after - before


def _status(name: str) -> float:
    [kilobytes] = re.findall(rf"^{name}:\s*(\d+)", STATUS.read_text(), re.MULTILINE)
    return int(kilobytes) / 1024


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the middle half of some measurements lies."""

    median: float
    q1: float  # a quarter of them are below
    q3: float  # three quarters are

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one measurement; between two of them, quartiles are interpolated."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3)

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(self.median * factor, self.q1 * factor, self.q3 * factor)


@dataclass(frozen=True)
class Stopwatch:
    """Times what runs on a device, until the device has done all of it."""

    device: torch.device
    clock: Callable[[], float] = time.perf_counter  # tells seconds

    def seconds(self, run: Callable[[], object], times: int = 1) -> float:
        """How long one of so many runs takes; they are handed to the device without waiting for each."""
        self._wait()
        start = self.clock()
        for _ in range(times):
            run()
        self._wait()
        return (self.clock() - start) / times

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def take_turns(runs: Sequence[Callable[[], object]], repeats: int, stopwatch: Stopwatch) -> list[list[float]]:
    """Seconds of each run, so many times: A B C, A B C, … rather than A A, B B, C C.

    A machine that gets slower meanwhile, because it heats up or others work on it, is so to all of them.
    """
    rounds = [[stopwatch.seconds(run) for run in runs] for _ in range(repeats)]
    return [list(taken) for taken in zip(*rounds, strict=True)]
