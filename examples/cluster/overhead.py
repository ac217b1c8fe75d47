"""How fast a run on Ray is beside the plain command on the same cores, start-up apart.

python examples/cluster/overhead.py [--clips 320] [--model tiny] [--repeats 3] [--out overhead.json]

Each runs over the clips once and over the clips twice, in turns; the difference is what the second time took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import torch

from ast_cli.bench.clips import write_clip
from ast_cli.bench.machine import Machine

SECONDS = 10.0


def seconds(listed: Path, model: str, out: Path, *options: str) -> float:
    """What a run over the listed recordings takes, as a shell sees it."""
    command = [sys.executable, "-m", "ast_cli", "--files-from", str(listed), "--model", model, "--quiet"]
    begin = time.perf_counter()
    subprocess.run([*command, "--overwrite", "--out", str(out), *options], check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        clips = [work / f"{number:04}.wav" for number in range(args.clips)]
        with ProcessPoolExecutor() as processes:
            list(processes.map(write_clip, clips, repeat(SECONDS), range(args.clips)))
        once, twice = work / "once.txt", work / "twice.txt"
        once.write_text("\n".join(map(str, clips)))
        twice.write_text("\n".join(map(str, clips * 2)))
        ways = {
            "plain": (work / "plain.jsonl", ()),
            "ray": (work / "ray", ("--ray", "local")),
        }
        taken: dict[str, dict[str, list[float]]] = {way: {"once": [], "twice": []} for way in ways}
        for _ in range(args.repeats):
            for listed in (once, twice):
                for way, (out, options) in ways.items():
                    taken[way][listed.stem].append(seconds(listed, args.model, out, *options))
                    print(f"{way}, {listed.stem}: {taken[way][listed.stem][-1]:.1f} s", file=sys.stderr)
    rates = {
        way: args.clips / (statistics.median(times["twice"]) - statistics.median(times["once"]))
        for way, times in taken.items()
    }
    document = {
        "command": ["python", *sys.argv],
        "machine": asdict(Machine.describe(torch.device("cpu"))),
        "clips": args.clips,
        "seconds_a_clip": SECONDS,
        "model": args.model,
        "seconds": taken,
        "clips_per_s": {way: round(rate, 2) for way, rate in rates.items()},
        "ray_of_plain": round(rates["ray"] / rates["plain"], 3),
    }
    text = json.dumps(document, indent=2) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
