"""Whole processes in turns: the pipeline of transformers, and ast-tag in each of its ways.

python tools/benchmarks/side_by_side.py --out cpu.json [--device cpu] [--checkpoint FOLDER] [--clips 64]
    [--formats wav] [--repeats 1]

Without --checkpoint, a full-size one with random weights is made, of which the scores can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
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

from ast_cli.bench.machine import Machine
from ast_cli.bench.stages import write_clip

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 10.0
PEER = "transformers"  # how the names of its ways begin
HALF = ["--device", "cuda", "--dtype", "float16"]
# By device; all scores are compared with those of the first, and times with the fastest of the peer.
WAYS = {
    "cpu": {
        PEER: [],
        "torch float32": ["--engine", "torch"],
        "torch bfloat16": ["--engine", "torch", "--dtype", "bfloat16"],
        "openvino float32": ["--engine", "openvino"],
        "openvino bfloat16": ["--engine", "openvino", "--dtype", "bfloat16"],
        "openvino int8": ["--engine", "openvino", "--dtype", "int8"],
    },
    "cuda": {
        **{f"{PEER}, {size} at once": [*HALF, "--batch-size", str(size)] for size in (8, 32)},
        "torch float16": HALF,
        "torch float16, compiled": [*HALF, "--compile"],
    },
}


def command(way: str, options: list[str], checkpoint: str, folder: Path, out: Path) -> list[str]:
    """What runs a way over a folder."""
    if way.startswith(PEER):
        return [sys.executable, str(HERE / "pipeline.py"), checkpoint, str(folder), str(out), *options]
    own = [sys.executable, "-m", "ast_cli", str(folder), "--model", checkpoint, "--out", str(out)]
    return [*own, "--overwrite", "--quiet", "--top-k", "0", *options]


def run(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak memory in bytes of a process."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(errors.read().decode(errors="replace"))
    return seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """The scores of each file, by class."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        Path(line["file"]).name: {tag["label"]: tag["score"] for tag in line["tags"]}
        for line in lines
        if "tags" in line
    }


def compare(found: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> dict[str, float]:
    """The farthest that a score is from the expected one, and how often the first label is the same."""
    assert found.keys() == expected.keys()
    farthest = max(abs(found[file][label] - expected[file][label]) for file in found for label in found[file])
    same = [max(found[f], key=found[f].get) == max(expected[f], key=expected[f].get) for f in found]  # type: ignore[arg-type]
    return {"score_deviation": round(farthest, 7), "same_first_label": sum(same) / len(same)}


def measure(
    checkpoint: str, folder: Path, one: Path, repeats: int, ways: dict[str, list[str]]
) -> dict[str, object]:
    """Every way over one clip, for its start, and over all, in turns."""
    clips = len(list(folder.iterdir()))
    starts: dict[str, list[float]] = {way: [] for way in ways}
    wholes: dict[str, list[float]] = {way: [] for way in ways}
    peaks: dict[str, int] = dict.fromkeys(ways, 0)
    outs = {way: folder.parent / f"{number}.jsonl" for number, way in enumerate(ways)}
    first = folder.parent / "first.jsonl"
    for way, options in ways.items():
        run(command(way, options, checkpoint, one, first))  # files are read, graphs are made
    for _ in range(repeats):
        for way, options in ways.items():
            starts[way].append(run(command(way, options, checkpoint, one, first))[0])
            seconds, peak = run(command(way, options, checkpoint, folder, outs[way]))
            wholes[way].append(seconds)
            peaks[way] = max(peaks[way], peak)
            print(f"{way}: {clips} clips in {seconds:.1f} s", file=sys.stderr)
    expected = read_scores(outs[next(iter(ways))])
    peer = min(statistics.median(wholes[way]) for way in ways if way.startswith(PEER))
    return {
        way: {
            "command": ["pipeline.py" if way.startswith(PEER) else "ast-tag", "clips/", *options],
            "first_label_s": round(statistics.median(starts[way]), 3),
            "whole_s": round(statistics.median(wholes[way]), 3),
            "clips_per_s": round(clips / statistics.median(wholes[way]), 3),
            "times_as_fast": round(peer / statistics.median(wholes[way]), 2),
            "peak_memory_mb": peaks[way] >> 20,
            **compare(read_scores(outs[way]), expected),
        }
        for way, options in ways.items()
    }


def main() -> None:
    """Make what is needed, measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--formats", default="wav", help="taken in turns, such as wav,flac,mp3")
    parser.add_argument("--device", choices=WAYS, default="cpu")
    parser.add_argument("--ways", nargs="*", metavar="WAY", help="besides the peer's; all if none")
    args = parser.parse_args()

    all_ways = WAYS[args.device]
    if unknown := {*(args.ways or ())} - {*all_ways}:
        parser.error(f"no such way: {', '.join(unknown)}; there are: {', '.join(all_ways)}")
    ways = {
        way: options
        for way, options in all_ways.items()
        if not args.ways or way in args.ways or way.startswith(PEER)
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder, one = work / "clips", work / "one"
        for where, clips in ((folder, args.clips), (one, 1)):
            where.mkdir()
            formats = args.formats.split(",")
            files = [where / f"{seed:04}.{formats[seed % len(formats)]}" for seed in range(clips)]
            with ProcessPoolExecutor() as processes:
                list(processes.map(write_clip, files, repeat(SECONDS), range(clips)))
        checkpoint = args.checkpoint
        if checkpoint is None:
            checkpoint = str(work / "checkpoint")
            subprocess.run([sys.executable, ROOT / "tools" / "random_checkpoint.py", checkpoint], check=True)
        document = {
            "command": ["python", *sys.argv],
            "machine": asdict(Machine.describe(torch.device(args.device))),
            "clips": args.clips,
            "seconds_a_clip": SECONDS,
            "ways": measure(checkpoint, folder, one, args.repeats, ways),
        }
    args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
