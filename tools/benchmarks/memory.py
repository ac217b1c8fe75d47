"""Whether memory stays where it is, however long or many recordings are.

python -m tools.benchmarks.memory [--files FEW MANY] [--seconds SHORT LONG]

Each run is the whole command in a process of its own, journal and output included, with a stand-in for the
network. What is compared is the resident peak of a small case and of a large one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.stand_in import save_stand_in

ROOT = Path(__file__).parents[2]
RATE = 8000
MOST = 1.10  # times the memory of the small case
LINKS = 50_000  # to one file; file systems bound them
IN_A_FOLDER = 200
DONE_BEFORE = 0.9  # of the inputs of a run that goes on
LENGTHS = (
    ("csv",),
    ("jsonl",),
    ("csv", "--timeline"),
    ("jsonl", "--timeline"),
    ("json", "--events", "--timeline", "--include", "64"),  # 12,000 events a day
)


@dataclass(frozen=True)
class Run:
    """What the command took.

    Attributes:
        peak_mb: Resident, at most.
        seconds: By the clock.
        cpu_seconds: Of all cores.
    """

    peak_mb: float
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Pair:
    """A small case, and the same large."""

    name: str
    inputs: tuple[int, int]
    small: Run
    large: Run

    @property
    def growth(self) -> float:
        """How many times the memory of the small case the large one takes."""
        return self.large.peak_mb / self.small.peak_mb

    def __str__(self) -> str:
        more = self.inputs[1] - self.inputs[0]
        each = f", {1000 * (self.large.seconds - self.small.seconds) / more:.2f} ms a file" if more else ""
        return (
            f"{self.name:32} {self.small.peak_mb:6.0f} -> {self.large.peak_mb:6.0f} MB, × {self.growth:.3f}; "
            f"{self.small.seconds:.1f} -> {self.large.seconds:.1f} s, of CPU {self.small.cpu_seconds:.1f} -> "
            f"{self.large.cpu_seconds:.1f} s{each}"
        )


class Bench:
    """Makes recordings in a folder and tags them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = save_stand_in(folder / "model")

    def lengths(self, small: int, large: int) -> Iterator[Pair]:
        """One recording of so many seconds, in several formats."""
        recordings = [
            _write_recording(self._folder / f"{seconds}.wav", seconds) for seconds in (small, large)
        ]
        for format_, *options in LENGTHS:
            runs = [self._tag(format_, str(recording), *options) for recording in recordings]
            yield Pair(" ".join(("one recording:", format_, *options)), (1, 1), *runs)
        for recording in recordings:
            recording.unlink()

    def numbers(self, small: int, large: int) -> Iterator[Pair]:
        """So many short recordings, in folders and in lists."""
        for name, case in NUMBERS.items():
            yield Pair(name, (small, large), case(self, small), case(self, large))

    def flat(self, count: int) -> Run:
        """So many recordings in one folder."""
        self._link(Path(f"flat{count}"), count)
        return self._tag("csv", str(self._folder / f"flat{count}"))

    def nested(self, count: int) -> Run:
        """The same, a few in a folder."""
        for start in range(0, count, IN_A_FOLDER):
            inside = Path(f"nested{count}/{start // 5000:03}/{start:06}")
            self._link(inside, min(IN_A_FOLDER, count - start))
        return self._tag("jsonl", str(self._folder / f"nested{count}"))

    def resumed(self, count: int) -> Run:
        """A run is ended by a file that is not there; the next one finds it, and goes on."""
        self._link(Path(f"list{count}"), count)
        names = sorted(map(str, (self._folder / f"list{count}").iterdir()))
        late = self._folder / f"late{count}.wav"
        names.insert(int(DONE_BEFORE * count), str(late))
        list_ = self._folder / "list"
        list_.write_text("\n".join(names), encoding="utf-8")
        self._tag("jsonl", "--files-from", str(list_), "--fail-fast", code=1, remove=False)
        _write_recording(late, 1)
        return self._tag("jsonl", "--files-from", str(list_), "--resume")

    def missing(self, count: int) -> Run:
        """A list of so many that are not there."""
        list_ = self._folder / "list"
        list_.write_text("\n".join(f"not/there/{number}.wav" for number in range(count)), encoding="utf-8")
        return self._tag("json", "--files-from", str(list_), code=1)

    def _link(self, inside: Path, count: int) -> None:
        folder = self._folder / inside
        folder.mkdir(parents=True)
        for number in range(count):
            if number % LINKS == 0:
                original = _write_recording(folder / f"{number:06}.wav", 0.2)
            else:
                os.link(original, folder / f"{number:06}.wav")

    def _tag(self, format_: str, *arguments: str, code: int = 0, remove: bool = True) -> Run:
        out, peak = self._folder / f"out.{format_}", self._folder / "peak"
        command = [sys.executable, "-m", "tools.benchmarks.one_run", str(peak), "tag", *arguments]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [*command, "--model", str(self._model), "--scores", "sigmoid", "--out", str(out), "--quiet"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != code:
            raise RuntimeError(done.stderr[-1000:])
        if remove:
            out.unlink()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(float(peak.read_text(encoding="utf-8")), seconds, cpu)


NUMBERS = {
    "flat folder: csv": Bench.flat,
    "nested folders: jsonl": Bench.nested,
    "list, resumed at 90 %: jsonl": Bench.resumed,
    "list of what is not there: json": Bench.missing,
}


def _write_recording(path: Path, seconds: float) -> Path:
    """Noise that comes and goes, so that there are labels and events; a minute of it, again and again."""
    length = round(min(60.0, seconds) * RATE)
    loudness = 0.3 * np.sin(np.pi * np.arange(length) / (7 * RATE)) ** 8
    minute = loudness * np.random.default_rng(0).standard_normal(length)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for start in range(0, round(seconds * RATE), length):
            file.write(minute[: round(seconds * RATE) - start])
    return path


def measure(
    files: tuple[int, int], seconds: tuple[int, int], told: Callable[[str], None] = print
) -> list[Pair]:
    """All cases: so many short recordings, and one recording of so many seconds; small and large."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for cases in (bench.lengths(*seconds), bench.numbers(*files)):
            for pair in cases:
                told(str(pair))
                pairs.append(pair)
    return pairs


def main() -> None:
    """Print every pair, and all as JSON; end with 1 if memory grew."""
    parser = argparse.ArgumentParser(description="Compare the memory of small and of large runs.")
    parser.add_argument("--files", type=int, nargs=2, default=(200, 200_000), metavar=("FEW", "MANY"))
    parser.add_argument("--seconds", type=int, nargs=2, default=(600, 86_400), metavar=("SHORT", "LONG"))
    options = parser.parse_args()
    pairs = measure(tuple(options.files), tuple(options.seconds))
    grown = [pair.name for pair in pairs if pair.growth > MOST]
    document = {
        "cores": os.cpu_count(),
        "most": MOST,
        "grown": grown,
        "pairs": [asdict(pair) for pair in pairs],
    }
    print(json.dumps(document))
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
