"""Draw the figures of `side_by_side.py`: python tools/benchmarks/draw.py cpu.json docs/pictures/cpu.png."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

PEER = "transformers"
PEER_COLOUR, OUR_COLOUR = "#9a9a9a", "#2a6fbb"


def main() -> None:
    """Bars of clips a second, and of seconds to the first label."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    ways = document["ways"]
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    speed, start = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colours = [PEER_COLOUR if way == PEER else OUR_COLOUR for way in ways]
    for axes, key, label in (
        (speed, "clips_per_s", f"clips of {document['seconds_a_clip']:.0f} s, a second"),
        (start, "first_label_s", "seconds to the first label"),
    ):
        bars = axes.barh([*ways], [way[key] for way in ways.values()], color=colours)
        axes.bar_label(bars, [f"{way[key]:.2f}" for way in ways.values()], padding=3)
        axes.margins(x=0.15)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    speed.invert_yaxis()
    machine = document["machine"]
    figure.suptitle(
        f"{document['clips']} clips, whole processes, {machine['cores']} cores of {machine['cpu']}",
        fontsize="medium",
    )
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
