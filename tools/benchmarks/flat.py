"""Does a clip cost the same however many there are? 10, 100 and 1,000 files of 10 s, in whole processes.

python tools/benchmarks/flat.py --out flat.json [--model tiny] [--files 10 100 1000]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from side_by_side import SECONDS, run

from ast_cli.bench.machine import Machine
from ast_cli.bench.stages import write_clip

DISTINCT = 10  # clips; the others are further names of these


def main() -> None:
    """Time each number of files, and write what one more clip costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--files", type=int, nargs="+", default=[10, 100, 1000])
    args = parser.parse_args()

    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clips"
        folder.mkdir()
        for number in range(max(args.files)):
            path = folder / f"{number:05}.wav"
            if number < DISTINCT:
                write_clip(path, SECONDS, number)
            else:
                os.link(folder / f"{number % DISTINCT:05}.wav", path)
        for count in sorted(args.files):
            names = Path(name) / "list"
            names.write_text("".join(f"{path}\n" for path in sorted(folder.iterdir())[:count]))
            out = Path(name) / "out.csv"
            command = ["--files-from", str(names), "--model", args.model, "--out", str(out)]
            command = [sys.executable, "-m", "ast_cli", *command, "--overwrite", "--quiet"]
            run(command)
            seconds[count] = run(command)[0]
            print(f"{count} files in {seconds[count]:.2f} s", file=sys.stderr)
    counts = sorted(seconds)
    document = {
        "command": ["python", *sys.argv],
        "machine": asdict(Machine.describe(torch.device("cpu"))),
        "seconds": {str(count): round(seconds[count], 3) for count in counts},
        "ms_a_clip_more": {
            f"{few} to {many}": round(1e3 * (seconds[many] - seconds[few]) / (many - few), 2)
            for few, many in itertools.pairwise(counts)
        },
    }
    args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
