"""An explanation as a picture: the log-mel spectrogram with the heat over it, a row for each label.

Drawn without matplotlib's global state, so that nothing a program draws itself is disturbed.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ast_cli.explain.attribution import Explanation, LabelHeat
from ast_cli.explain.patches import Grid
from ast_cli.extras import require_extra
from ast_cli.features.extractor import FRAMES_PER_SECOND
from ast_cli.files import open_replacing
from ast_cli.text import one_line, shorten

DOTS_PER_INCH = 90
TICKS_HZ = (100, 300, 1000, 3000, 8000)
FOR, AGAINST = (1.0, 0.35, 0.0), (0.1, 0.6, 1.0)  # red, green, blue of heat above and below zero
MOST_OPAQUE = 0.8
BRIGHT = 1.3  # of the loudest: white is left for none, so that heat over it shows
LONGEST_NAME = 60
MEANING = {
    "occlusion": "by occlusion, orange speaks for the label and blue against it",
    "gradient": "by gradients, orange is what attention hears for the label",
    "rollout": "by rollout, orange is what attention hears, whatever the label",
}

UNITS = {
    "occlusion": "log-odds lost without the patch",
    "gradient": "attention, weighted by its gradient",
    "rollout": "attention",
}


def write_explanation(path: Path, explanation: Explanation, name: str) -> None:
    """Write an explanation as `.png`, `.html` or `.npz`, whichever the suffix is; a file there is replaced.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: It cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix != ".npz":
        require_extra("plot")
    with open_replacing(path) as file:
        if suffix == ".npz":
            arrays: dict[str, Any] = {**explanation.arrays()}
            np.savez_compressed(file, **arrays)
        elif suffix == ".html":
            file.write(_page(explanation, name).encode("utf-8", "backslashreplace"))
        else:
            file.write(_png(explanation, name))


def overlay(heat: NDArray[np.float32], most: float | None = None) -> NDArray[np.float64]:
    """Heat [F, P] -> red, green, blue and opacity [F, P, 4]; `most`, or the farthest, is the most opaque."""
    most = most or float(np.abs(heat).max()) or 1.0
    colours = np.where((heat >= 0)[..., None], FOR, AGAINST)
    opacity = MOST_OPAQUE * np.abs(heat)[..., None] / most
    return np.concatenate([colours, opacity], axis=-1)


def cell_edges(patches: int, stride: int, size: int) -> NDArray[np.float64]:
    """[patches + 1]: where the cells of patches meet, in bins or frames; halfway in an overlap."""
    inner = np.arange(1, patches) * stride + (size - stride) / 2
    return np.concatenate([[0.0], inner, [(patches - 1) * stride + size]])


def _draw(axes: Any, explanation: Explanation, one: LabelHeat, most: float) -> None:
    grid = explanation.grid
    audio = explanation.frames[: grid.length]
    low, high = np.percentile(audio, (1, 99.5))
    end = grid.start + grid.length / FRAMES_PER_SECOND
    bins = audio.shape[1]
    axes.imshow(
        audio.T,
        cmap="gray",
        origin="lower",
        aspect="auto",
        vmin=low,
        vmax=low + BRIGHT * max(high - low, 1),
        extent=(grid.start, end, 0, bins),
        interpolation="nearest",
    )
    config = grid.config
    times = grid.start + cell_edges(grid.shape[1], config.time_stride, config.patch_size) / FRAMES_PER_SECOND
    bands = cell_edges(grid.shape[0], config.frequency_stride, config.patch_size)
    axes.pcolormesh(times, bands, overlay(one.heat, most), linewidth=0)
    spot = one.spot
    axes.set(xlim=(grid.start, end), ylim=(0, bins), ylabel="Hz")
    ticks = [hertz for hertz in TICKS_HZ if hertz <= grid.sampling_rate / 2]
    axes.set_yticks([_bin_of(grid, hertz) for hertz in ticks], [f"{hertz:,}" for hertz in ticks])
    told = (
        f"{_short(one.label)} {one.score:.3f}   strongest from {spot.start:.2f} to {spot.end:.2f} s; "
        f"lost without the hottest tenth {one.lost:.3f}, without a random one {one.random:.3f}"
    )
    axes.set_title(told, loc="left", fontsize="small", parse_math=False)


def _bin_of(grid: Grid, hertz: float) -> float:
    """Where a frequency is among the mel bins, whose edges are evenly spaced on the mel scale."""
    edges = np.log1p(grid.mel_edges / 700)
    return float((np.log1p(hertz / 700) - edges[0]) / (edges[1] - edges[0]))


def _png(explanation: Explanation, name: str) -> bytes:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    rows = len(explanation.labels)
    figure = Figure(figsize=(10, 1.1 + 2.2 * rows), dpi=DOTS_PER_INCH, layout="constrained")
    every = figure.subplots(rows, squeeze=False, sharex=True)[:, 0]
    # One scale for all labels, so that what is shown as strong in one is as strong in another.
    most = max(float(np.abs(one.heat).max()) for one in explanation.labels) or 1.0
    for axes, one in zip(every, explanation.labels, strict=True):
        _draw(axes, explanation, one, most)
    least = min(0.0, *(float(one.heat.min()) for one in explanation.labels))
    colors = ListedColormap(overlay(np.linspace(least, most, 256, dtype=np.float32)[None], most)[0])
    bar = figure.colorbar(ScalarMappable(Normalize(least, most), colors), ax=list(every))
    bar.set_label(UNITS[explanation.method])
    every[-1].set_xlabel("seconds of the recording")
    figure.suptitle(f"{_short(name)}: {MEANING[explanation.method]}", fontsize="medium", parse_math=False)
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about letters that the font does not have
        figure.savefig(picture, format="png")
    return picture.getvalue()


def _page(explanation: Explanation, name: str) -> str:
    """One file that needs no other: the picture is in it, and it runs no script."""
    title = html.escape(f"{one_line(name)}: why")
    picture = base64.b64encode(_png(explanation, name)).decode("ascii")
    rows = "".join(
        f"<tr><td>{html.escape(one_line(one.label))}<td>{one.score:.3f}<td>{one.spot.start:.2f}–"
        f"{one.spot.end:.2f} s<td>{one.spot.low_hz:.0f}–{one.spot.high_hz:.0f} Hz<td>{one.lost:.3f}"
        f"<td>{one.random:.3f}</tr>\n"
        for one in explanation.labels
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em 1em .2em 0;text-align:left}"
        "img{max-width:100%}</style>\n"
        f"<h1>{title}</h1>\n<p>Method: {explanation.method}. Lost: the score that goes with the hottest "
        "tenth of the patches.</p>\n"
        f'<img alt="spectrogram with heat" src="data:image/png;base64,{picture}">\n'
        "<table><tr><th>label<th>score<th>strongest<th>at<th>lost<th>random</tr>\n"
        f"{rows}</table></html>\n"
    )


def _short(name: str) -> str:
    return shorten(one_line(name), LONGEST_NAME)
