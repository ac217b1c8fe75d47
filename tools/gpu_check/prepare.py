"""Make the recordings and a checkpoint of full size with random weights.

2,000 stereo recordings of 10 s at 44.1 kHz as WAV, and as many of which a third each is WAV, FLAC and MP3.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import lru_cache
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ast_cli.bench.signals import RATE, make_clip
from tools.gpu_check.common import CHECKPOINT, FEW, MIXED, WAV, Step, cores

COUNT, FEW_COUNT, DRY_COUNT, SECONDS, BASES = 2000, 300, 24, 10.0, 8
SUFFIXES = (".wav", ".flac", ".mp3")


@lru_cache
def _base(number: int) -> NDArray[np.float32]:
    return make_clip(SECONDS, number)


def make(task: tuple[Path, int]) -> None:
    """Write one recording; a few signals at different loudness and offset do for all."""
    path, number = task
    clip = np.roll(_base(number % BASES), 997 * number, axis=0) * np.float32(0.3 + 0.7 * (number % 89) / 89)
    soundfile.write(path, clip, RATE, subtype="MPEG_LAYER_III" if path.suffix == ".mp3" else "PCM_16")


def main() -> None:
    """Make all of it."""
    step = Step.from_arguments("prepare")
    start = time.monotonic()
    for name in (WAV, MIXED, FEW):
        (step.scratch / name).mkdir(parents=True, exist_ok=True)
    count = DRY_COUNT if step.dry else COUNT
    few = DRY_COUNT if step.dry else FEW_COUNT
    size = ["--width", "64", "--layers", "2"] if step.dry else []
    program = Path(__file__).parents[1] / "random_checkpoint.py"
    checkpoint = subprocess.Popen([sys.executable, program, step.scratch / CHECKPOINT, *size])
    tasks = [(step.scratch / WAV / f"{number:05}.wav", number) for number in range(count)]
    mixed = [(step.scratch / MIXED / f"{n:05}{SUFFIXES[n % 3]}", n) for n in range(count)]
    with Pool(cores()) as pool:
        pool.map(make, tasks + [task for task in mixed if task[0].suffix != ".wav"], chunksize=8)
    for path, number in mixed:
        if path.suffix == ".wav" and not path.exists():
            os.link(tasks[number][0], path)
    for path, _ in mixed[:few]:
        if not (step.scratch / FEW / path.name).exists():
            os.link(path, step.scratch / FEW / path.name)
    if checkpoint.wait():
        sys.exit("the checkpoint could not be made")
    step.write(count=count, seconds=time.monotonic() - start)


if __name__ == "__main__":
    main()
