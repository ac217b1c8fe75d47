"""The figures of a run, as plain records that become one JSON document, `ast-bench/1`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ast_cli.bench.machine import Machine
from ast_cli.bench.request import TRANSFORMERS
from ast_cli.bench.roofline import Product
from ast_cli.bench.timing import Spread

SCHEMA = "ast-bench/1"
BASELINE = "eager"  # whose time is the measure of the other ways


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage takes for a window.

    Attributes:
        median: Milliseconds, as the other two.
        q1: See `Spread`.
        q3: See `Spread`.
        share: Part of all stages together, by medians.
    """

    median: float
    q1: float
    q3: float
    share: float


def as_stages(spreads: dict[str, Spread]) -> dict[str, Stage]:
    """Milliseconds of each stage, with their shares."""
    total = sum(one.median for one in spreads.values())
    return {
        name: Stage(one.median, one.q1, one.q3, one.median / total if total else 0.0)
        for name, one in spreads.items()
    }


@dataclass(frozen=True, slots=True)
class Roofline:
    """What a run makes of the machine.

    Attributes:
        flops: Operations of matrix products a second.
        gemm_flops: Those of the fastest product alone.
        ratio: The one over the other.
    """

    flops: float
    gemm_flops: float
    ratio: float


@dataclass(frozen=True, slots=True)
class FolderFigures:
    """The whole flow over a folder.

    Attributes:
        files: Recordings that came through.
        failed: Recordings that could not be read.
        seconds: Of audio that was processed.
        windows: Of all recordings.
        load_seconds: Until the network had run once.
        wall_seconds: From the first recording's opening to the last one's result.
        files_per_s: By the median of them.
        counters: Where the last pass spent its time, see `pipeline.counters`; None for `transformers`.
    """

    files: int
    failed: int
    seconds: float
    windows: int
    load_seconds: float
    wall_seconds: Spread
    files_per_s: float
    counters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way of running, with one size of batch.

    Attributes:
        attn: Its attention, as the engine calls it.
        engine: One of `settings.EngineName`, or `transformers`.
        dtype: Its number format.
        device: Where it ran.
        compile: Whether torch had compiled the network.
        batch_size: Windows in a forward pass.
        ms_per_window: Of the network alone; of the whole flow where there is a `flow`.
        windows_per_s: By the median of it.
        x_realtime: Seconds of audio a second, by the median too.
        peak_memory_mb: See `bench.memory`.
        stages: What each stage takes; empty where there is a `flow`.
        roofline: None where there is a `flow`.
        deviation: The farthest that a score is from that of torch in float32 with eager attention; None
            where there is a `flow` or scores are not finite.
        flow: See `FolderFigures`.
    """

    attn: str
    engine: str
    dtype: str
    device: str
    compile: bool
    batch_size: int
    ms_per_window: Spread
    windows_per_s: float
    x_realtime: float
    peak_memory_mb: float | None
    stages: dict[str, Stage] = field(default_factory=dict)
    roofline: Roofline | None = None
    deviation: float | None = None
    flow: FolderFigures | None = None

    @property
    def name(self) -> str:
        """What tells this way from the others of a document."""
        return self.attn if self.engine == "torch" else self.engine

    @property
    def ms_per_batch(self) -> float:
        """Median milliseconds of a forward pass."""
        return self.ms_per_window.median * self.batch_size


@dataclass(frozen=True, slots=True)
class Failure:
    """A way that cannot run here.

    Attributes:
        name: See `Measurement.name`.
        batch_size: Windows in the forward pass that failed.
        error: Why.
    """

    name: str
    batch_size: int
    error: str


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast one run is as another with the same size of batch.

    Attributes:
        name: The faster one, or so one hopes; see `Measurement.name`.
        against: The other one.
        batch_size: Windows in a forward pass.
        ms_per_batch: Median of the one.
        against_ms_per_batch: Of the other.
        speedup: The latter over the former.
    """

    name: str
    against: str
    batch_size: int
    ms_per_batch: float
    against_ms_per_batch: float
    speedup: float


@dataclass(frozen=True, slots=True)
class Document:
    """All figures of one call.

    Attributes:
        command: What measured them.
        model: The checkpoint's name.
        machine: On which.
        runs: By way, then by size of batch.
        failures: Ways that could not run.
        gemm: The fastest product; None for a folder.
        flops_per_window: See `roofline.window_flops`; None for a folder.
        repeats: How often each was timed.
    """

    command: list[str]
    model: str
    machine: Machine
    runs: list[Measurement]
    repeats: int
    failures: list[Failure] = field(default_factory=list)
    gemm: Product | None = None
    flops_per_window: int | None = None

    @property
    def speedup(self) -> list[Speedup]:
        """Every run against eager attention, and every one of ours against transformers."""
        return [
            *speedups(self.runs, BASELINE),
            *(one for one in speedups(self.runs, TRANSFORMERS) if one.name != BASELINE),
        ]

    @property
    def fastest(self) -> Measurement:
        """The run of ours that takes least time for a window."""
        ours = [run for run in self.runs if run.engine != TRANSFORMERS]
        return min(ours or self.runs, key=lambda run: run.ms_per_window.median)

    def to_dict(self) -> dict[str, Any]:
        """The contents of the JSON document."""
        fields = asdict(self)
        return {
            "schema": SCHEMA,
            **{name: fields[name] for name in ("command", "model", "machine", "repeats", "runs")},
            "speedup": [asdict(one) for one in self.speedup],
            **{name: fields[name] for name in ("failures", "gemm", "flops_per_window")},
        }


def speedups(runs: Sequence[Measurement], against: str) -> list[Speedup]:
    """Each other run against that of this name with the same size of batch, where there is one."""
    others = {run.batch_size: run.ms_per_batch for run in runs if run.name == against}
    return [
        Speedup(run.name, against, run.batch_size, run.ms_per_batch, other, other / run.ms_per_batch)
        for run in runs
        if run.name != against and (other := others.get(run.batch_size)) is not None
    ]
