"""Pictures of an evaluation and of a training run, as PNG; a file that is there is replaced.

Each raises OutputError if it cannot be written and EngineError if matplotlib is not installed. Figures are
made without matplotlib's global state, so that nothing a program draws itself is disturbed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ast_cli.errors import OutputError
from ast_cli.extras import require_extra
from ast_cli.text import shorten
from ast_cli.training.metrics import ClassMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100
LINE_INCHES = 0.18  # of a class in a chart or in a matrix
MOST_NUMBERED = 40  # classes in a confusion matrix whose cells still fit their number
MOST_NAMED = 150  # classes in a confusion matrix whose names still fit
LONGEST_NAME = 40  # characters of a class name


def draw_average_precision(path: Path, classes: Sequence[ClassMetrics], labels: Sequence[str]) -> None:
    """Draw a bar for each class that has positives, the best at the top."""
    measured = sorted(
        (one for one in classes if not math.isnan(one.ap)), key=lambda one: (one.ap, -one.index)
    )
    figure = _figure(8, 1.2 + LINE_INCHES * len(measured))
    axes = figure.add_subplot()
    axes.barh(range(len(measured)), [one.ap for one in measured], height=0.8)
    _name(axes.yaxis, [f"{shorten(labels[one.index], LONGEST_NAME)} ({one.positives})" for one in measured])
    axes.set(
        xlim=(0, 1), ylim=(-0.5, len(measured) - 0.5), xlabel="average precision (positives behind names)"
    )
    axes.grid(axis="x", alpha=0.4)
    axes.set_axisbelow(True)
    _save(figure, path)


def draw_confusion(path: Path, matrix: NDArray[np.int64], labels: Sequence[str]) -> None:
    """Draw a confusion matrix [C, C], each row, a class, shaded by its shares of what it was taken for."""
    count = len(labels)
    side = 3 + (2 if count <= MOST_NUMBERED else 1) * LINE_INCHES * min(count, MOST_NAMED)
    figure = _figure(side + 1, side)
    axes = figure.add_subplot()
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class")
    axes.set(xlabel="taken for", ylabel="class")
    if count <= MOST_NAMED:
        _name(axes.yaxis, [shorten(label, LONGEST_NAME) for label in labels])
        _name(axes.xaxis, [shorten(label, LONGEST_NAME) for label in labels])
        axes.tick_params(axis="x", rotation=90)
    if count <= MOST_NUMBERED:
        for row, column in np.argwhere(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            number = str(matrix[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=7)
    _save(figure, path)


def draw_learning_curve(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Draw a training log: loss and learning rate over the steps, and each validation's metrics.

    Rows in order: `{"step", "loss", "lr"}` of a step, `{"step", "validation": {metric: value}}` of a
    validation, whose own `loss` is drawn beside that of training. More entries are passed over.
    """
    steps: dict[str, list[tuple[float, float]]] = {"loss": [], "lr": []}
    validated: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name in steps.keys() & row.keys():
            steps[name].append((row["step"], row[name]))
        for name, value in row.get("validation", {}).items():
            if isinstance(value, int | float):
                validated.setdefault(name, []).append((row["step"], value))
    figure = _figure(8, 9)
    loss, metrics, rate = figure.subplots(3, sharex=True, height_ratios=(3, 3, 1))
    for axes, curves in (
        (loss, {"training": steps["loss"], "validation": validated.pop("loss", [])}),
        (metrics, validated),
        (rate, {"learning rate": steps["lr"]}),
    ):
        for name, points in curves.items():
            if points:
                # A point alone would be no line.
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 50 else None)
        if any(curves.values()):
            axes.legend()
        axes.grid(alpha=0.4)
    loss.set_ylabel("loss")
    metrics.set_ylabel("validation")
    rate.set(xlabel="step", ylabel="learning rate")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    require_extra("train", "matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def _name(axis: Any, names: Sequence[str]) -> None:
    """Put names beside an axis; a `$` in one is no formula."""
    axis.set_ticks(range(len(names)), names, fontsize=7)
    for text in axis.get_ticklabels():
        text.set_parse_math(False)


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about letters that the font does not have
            figure.savefig(path, format="png")
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}", "Free some space, or choose another place"
        ) from error
