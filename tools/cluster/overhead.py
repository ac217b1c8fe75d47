"""How fast a run on Ray is beside the plain command on the same cores, start-up apart.

python tools/cluster/overhead.py [--clips 768] [--shard-size 256] [--model tiny] [--repeats 6] [--out FILE]

In turns, each as a process of its own, and each first every other time: a machine that others share is not
equally fast from one minute to the next, so that only neighbours are compared. What counts is the time from
the end of the first shard, or of as many recordings, to the end of the last.
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
from functools import partial
from itertools import repeat
from pathlib import Path

import torch

from ast_cli.bench.machine import Machine
from ast_cli.bench.stages import write_clip

SECONDS = 10.0


def plain(listed: Path, args: argparse.Namespace) -> float:
    """Recordings a second of the plain command."""
    with subprocess.Popen([*command(listed, args), "--format", "jsonl"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ends = [time.monotonic() for line in process.stdout if line.startswith(b'{"file"')]
    return rate(ends[args.shard_size - 1 :: args.shard_size], args.shard_size)


def on_ray(listed: Path, out: Path, args: argparse.Namespace) -> float:
    """Recordings a second on Ray."""
    subprocess.run(
        [*command(listed, args), "--ray", "local", "--out", out, "--shard-size", str(args.shard_size)],
        check=True,
    )
    return rate(sorted(part.stat().st_mtime for part in out.glob("part-*")), args.shard_size)


def command(listed: Path, args: argparse.Namespace) -> list[str]:
    """What both have in common."""
    own = [sys.executable, "-m", "ast_cli", "--files-from", str(listed)]
    return [*own, "--model", args.model, "--quiet"]


def rate(ends: list[float], shard_size: int) -> float:
    """Recordings a second from the first end to the last."""
    return shard_size * (len(ends) - 1) / (ends[-1] - ends[0])


def main() -> None:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=768)
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    rates: dict[str, list[float]] = {"plain": [], "ray": []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        clips = [work / f"{number:04}.wav" for number in range(args.clips)]
        with ProcessPoolExecutor() as processes:
            list(processes.map(write_clip, clips, repeat(SECONDS), range(args.clips)))
        listed = work / "clips.txt"
        listed.write_text("\n".join(map(str, clips)))
        for number in range(args.repeats):
            ways = {
                "plain": partial(plain, listed, args),
                "ray": partial(on_ray, listed, work / f"ray-{number}", args),
            }
            for way in sorted(ways, reverse=number % 2 == 1):
                rates[way].append(ways[way]())
            print({way: round(one[-1], 2) for way, one in rates.items()}, file=sys.stderr)
    ratios = [ray / plain_ for plain_, ray in zip(rates["plain"], rates["ray"], strict=True)]
    document = {
        "command": ["python", *sys.argv],
        "machine": asdict(Machine.describe(torch.device("cpu"))),
        "clips": args.clips,
        "seconds_a_clip": SECONDS,
        "shard_size": args.shard_size,
        "model": args.model,
        "clips_per_s": rates,
        "ray_of_plain": [round(ratio, 3) for ratio in ratios],
        "median": round(statistics.median(ratios), 3),
    }
    text = json.dumps(document, indent=2) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
