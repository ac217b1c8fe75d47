"""The figures as a picture: windows a second by size of batch, and where the time of a window goes.

Drawn without matplotlib's global state, so that nothing a program draws itself is disturbed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ast_cli.bench.document import Document, Measurement
from ast_cli.errors import OutputError
from ast_cli.extras import require_extra

DOTS_PER_INCH = 100


def draw(path: Path, document: Document) -> None:
    """Draw a document of the network's runs as PNG.

    Args:
        path: PNG to write; replaced if it is there.
        document: With stages.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: It cannot be written.
    """
    require_extra("plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), dpi=DOTS_PER_INCH, layout="constrained")
    speed, stages = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_speed(speed, document)
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


def _draw_speed(axes: Any, document: Document) -> None:
    by_name: dict[str, list[Measurement]] = {}
    for run in document.runs:
        by_name.setdefault(run.name, []).append(run)
    for name, runs in by_name.items():
        speeds = [run.windows_per_s for run in runs]
        # The slower quartile of the time is the lower one of the speed.
        below = [run.windows_per_s - 1e3 / run.ms_per_window.q3 for run in runs]
        above = [1e3 / run.ms_per_window.q1 - run.windows_per_s for run in runs]
        sizes = [run.batch_size for run in runs]
        axes.errorbar(sizes, speeds, yerr=(below, above), marker="o", capsize=3, label=name)
    sizes = sorted({run.batch_size for run in document.runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="windows at once", ylabel="windows a second, the network alone")
    axes.grid(alpha=0.4)
    axes.legend()


def _draw_stages(axes: Any, run: Measurement) -> None:
    names = [*run.stages]
    times = [stage.median for stage in run.stages.values()]
    bars = axes.barh(names, times)
    axes.bar_label(bars, [f"{stage.share:.1%}" for stage in run.stages.values()], padding=3)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set(xlabel=f"ms a window, {run.name}, {run.batch_size} at once")
