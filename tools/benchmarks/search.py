"""How long `ast-tag search` takes among a million vectors.

    python tools/benchmarks/search.py [ROWS] > tools/benchmarks/search.json

Random unit vectors of 768 numbers lie in a file and are read in place, as those of an .npz are. Three figures
are printed as JSON: the first search, which takes the file from the system's cache of it where that has room;
the median of those that follow; and the pairs among the first 10,000.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ast_cli.scoring.embedding import unit_length
from ast_cli.scoring.search import near_duplicates, nearest

ROWS, WIDTH = 1_000_000, 768
AT_ONCE = 50_000
REPEATS = 7
PAIRS_AMONG = 10_000


def seconds(run: Callable[[], object]) -> float:
    """What it takes, once."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def write(path: Path, rows: int) -> None:
    """A file of random vectors."""
    generator = np.random.default_rng(0)
    with path.open("wb") as stream:
        for start in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - start)
            stream.write(unit_length(generator.standard_normal((count, WIDTH), np.float32)).tobytes())


def main(rows: int = ROWS) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.f32"
        write(path, rows)
        vectors = np.memmap(path, np.float32, "r", shape=(rows, WIDTH))
        query = np.array(vectors[rows // 2])
        times = [seconds(lambda: nearest(vectors, query, top_k=10, is_unit=True)) for _ in range(1 + REPEATS)]
        few = vectors[:PAIRS_AMONG]
        pairs = seconds(lambda: near_duplicates(few, np.arange(len(few)), top_k=1000, is_unit=True))
    document = {
        "rows": rows,
        "width": WIDTH,
        "first_search_s": round(times[0], 3),
        "search_s": round(statistics.median(times[1:]), 3),
        "pairs_among": len(few),
        "pairs_s": round(pairs, 3),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "numpy": np.__version__,
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
