"""Draw what sets the pace of a machine as its GPU gets faster: python draw.py plan.png.

What is drawn is what plan.py computes from `measured.json`. Needs matplotlib.
"""

from __future__ import annotations

import sys

from matplotlib.figure import Figure
from plan import DECODE, LINE, NETWORK, Machine, Store, Work, decoding_core_ms, limits_of, load_measured

CORES, GIGABITS = 16, 10.0
FASTEST, HIGHEST = 3500, 1500  # windows a second of a GPU and of a machine
COLOURS = {NETWORK: "#2a6fbb", DECODE: "#c8553d", LINE: "#6a994e"}
WHAT = {
    NETWORK: "the GPU sets the pace",
    DECODE: f"{CORES} cores decode",
    LINE: f"{GIGABITS:.0f} Gbit/s carry",
}


def main() -> None:
    """One curve for each format: what a machine does, over what its GPU could."""
    measured = load_measured()
    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for suffix, style in (("mp3", "-"), ("flac", "--"), ("wav", ":")):
        form = measured["formats"][suffix]
        core_ms = decoding_core_ms(suffix, measured)
        work = Work(1, 10.0, form["megabytes"], core_ms)
        limits = limits_of(work, Machine(FASTEST, 1, CORES, GIGABITS), Store(), 1)
        pace = min((limits[part], part) for part in (DECODE, LINE))
        axes.plot([0, pace[0]], [0, pace[0]], color=COLOURS[NETWORK], linewidth=2)
        axes.plot([pace[0], FASTEST], [pace[0]] * 2, style, color=COLOURS[pace[1]], linewidth=2)
        axes.annotate(
            f"{suffix}, {form['megabytes']:g} MB: {WHAT[pace[1]]} {pace[0]:,.0f}",
            (FASTEST, pace[0]),
            xytext=(0, -4 if suffix == "flac" else 4),
            textcoords="offset points",
            ha="right",
            va="top" if suffix == "flac" else "bottom",
            color=COLOURS[pace[1]],
        )
    axes.text(420, 330, WHAT[NETWORK], color=COLOURS[NETWORK])
    for name, device in measured["devices"].items():
        if "cores" in device or name in ("A10", "H100"):  # too slow to be seen; those beside them are alike
            continue
        axes.axvline(device["windows_per_s"], color="#dddddd", zorder=0)
        label = f"{name}{', estimate' if device['estimate'] else ', measured'}"
        axes.text(
            device["windows_per_s"] + 15,
            HIGHEST,
            label,
            rotation=90,
            va="top",
            color="#777777",
            fontsize="small",
        )
    axes.set(
        xlim=(0, FASTEST),
        ylim=(0, HIGHEST),
        xlabel="windows a second of the network on the GPU",
        ylabel="windows a second of the machine",
        title=f"Clips of 10 s, 44.1 kHz, stereo; one GPU, {CORES} cores, {GIGABITS:.0f} Gbit/s",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
