"""The figures of a run: plain records, the JSON document `ast-bench/1` of them, and their picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ast_cli.bench.machine import Machine, Spread
from ast_cli.bench.request import TRANSFORMERS
from ast_cli.bench.roofline import Product
from ast_cli.errors import OutputError
from ast_cli.extras import require_extra

SCHEMA = "ast-bench/1"
BASELINE = "eager"  # whose time is the measure of the other ways
DOTS_PER_INCH = 100


@dataclass(frozen=True, slots=True)
class Stage(Spread):
    """What one stage takes for a window, in milliseconds."""

    share: float  # part of all stages together, by medians


def as_stages(spreads: dict[str, Spread]) -> dict[str, Stage]:
    """Milliseconds of each stage, with their shares."""
    total = sum(one.median for one in spreads.values())
    return {
        name: Stage(one.median, one.q1, one.q3, one.median / total if total else 0.0)
        for name, one in spreads.items()
    }


@dataclass(frozen=True, slots=True)
class Roofline:
    """What a run makes of the machine."""

    flops: float  # operations of matrix products a second
    gemm_flops: float  # those of the fastest product alone
    ratio: float  # the one over the other


@dataclass(frozen=True, slots=True)
class Processed:
    """What a pass over a folder processed."""

    files: int  # recordings that came through
    failed: int  # recordings that could not be read
    seconds: float  # of audio that was processed
    windows: int  # of all recordings


@dataclass(frozen=True, slots=True)
class FolderFigures(Processed):
    """The whole flow over a folder."""

    load_seconds: float  # until the network had run once
    wall_seconds: Spread  # from the first recording's opening to the last one's result
    files_per_s: float  # by the median of them
    counters: dict[str, Any] | None  # where the last pass spent its time (`pipeline.counters`), if it tells


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way of running, with one size of batch: the network alone, or the whole flow over a folder."""

    attn: str  # as the engine calls it
    engine: str  # one of `settings.EngineName`, or `transformers`
    dtype: str
    device: str
    compile: bool  # whether torch had compiled the network
    batch_size: int  # windows in a forward pass
    ms_per_window: Spread  # of the network alone; of the whole flow where there is a `flow`
    windows_per_s: float  # by the median of it
    x_realtime: float  # seconds of audio a second, by the median too
    peak_memory_mb: float | None  # see `Memory`; None where the system does not tell
    stages: dict[str, Stage] = field(default_factory=dict)  # empty where there is a `flow`
    roofline: Roofline | None = None  # None where there is a `flow`
    # The farthest that a score is from that of torch in float32 with eager attention; None where there is a
    # `flow` or scores are not finite.
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
    """A way that cannot run here."""

    name: str  # see `Measurement.name`
    batch_size: int  # windows in the forward pass that failed
    error: str


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast one run is as another with the same size of batch."""

    name: str  # the faster one, or so one hopes; see `Measurement.name`
    against: str  # the other one
    batch_size: int  # windows in a forward pass
    ms_per_batch: float  # median of the one
    against_ms_per_batch: float  # of the other
    speedup: float  # the latter over the former


@dataclass(frozen=True, slots=True)
class Document:
    """All figures of one call."""

    command: list[str]  # what measured them
    model: str  # the checkpoint's name
    machine: Machine  # on which
    runs: list[Measurement]  # by way, then by size of batch
    repeats: int  # how often each was timed
    failures: list[Failure] = field(default_factory=list)
    gemm: Product | None = None  # the fastest product; None for a folder
    flops_per_window: int | None = None  # see `roofline.window_flops`; None for a folder

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


def draw(path: Path, document: Document) -> None:
    """Draw the network's runs: windows a second by size of batch, and where a window's time goes.

    What is at the path is replaced.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: It cannot be written.
    """
    require_extra("plot")
    from matplotlib.figure import Figure  # without the global state that a program may draw with itself

    figure = Figure(figsize=(10, 4.5), dpi=DOTS_PER_INCH, layout="constrained")
    speed, stages = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_speed(speed, document.runs)
    _draw_stages(stages, document.fastest)
    machine = document.machine
    title = f"{document.model} on {machine.gpu or machine.cpu}, {document.fastest.dtype}"
    figure.suptitle(title, fontsize="medium", parse_math=False)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}", "Free some space, or choose another place"
        ) from error


def _draw_speed(axes: Any, runs: Sequence[Measurement]) -> None:
    for name in dict.fromkeys(run.name for run in runs):
        own = [run for run in runs if run.name == name]
        # The slower quartile of the time is the lower one of the speed.
        below = [run.windows_per_s - 1e3 / run.ms_per_window.q3 for run in own]
        above = [1e3 / run.ms_per_window.q1 - run.windows_per_s for run in own]
        sizes, speeds = zip(*((run.batch_size, run.windows_per_s) for run in own), strict=True)
        axes.errorbar(sizes, speeds, yerr=(below, above), marker="o", capsize=3, label=name)
    ticks = sorted({run.batch_size for run in runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [*map(str, ticks)])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="windows at once", ylabel="windows a second, the network alone")
    axes.grid(alpha=0.4)
    axes.legend()


def _draw_stages(axes: Any, run: Measurement) -> None:
    bars = axes.barh([*run.stages], [stage.median for stage in run.stages.values()])
    axes.bar_label(bars, [f"{stage.share:.1%}" for stage in run.stages.values()], padding=3)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set(xlabel=f"ms a window, {run.name}, {run.batch_size} at once")
