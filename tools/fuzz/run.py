"""Tags damaged files and holds the tool to its promises.

python -m tools.fuzz.run --count 5000 --seed 7

The files are tagged in a process of its own, with a stand-in for the network. Whatever ends, stalls or fills
that process is found out and told with the file that did it, and the others go on in a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.fuzz.damage import Fuzzed, fuzzed
from tools.fuzz.recordings import Good, good_recordings

ROOT = Path(__file__).parents[2]
TAG_ALL = [sys.executable, "-m", "tools.fuzz.tag_all"]
WORKERS = 2
SLOWEST = 5  # files that are told
MEGABYTES = 1024
START_SECONDS = 300.0  # that loading torch may take on a busy machine
FILES_AT_ONCE = 500  # on the disk, and in one process
# All that may be said of a file that is there; see `errors.InputError`.
WORDS = frozenset(("unreadable", "unsupported-format", "empty", "non-finite", "too-short", "no-audio"))


@dataclass
class Report:
    """What came of the files.

    Attributes:
        words: How many have which word; `tagged` for a result.
        broken: The files for which a promise was not kept, and how.
        slow: The files whose outcomes were waited for longest, and how many seconds.
        peak: The file after which the process that tagged had held most memory, and how many megabytes.
    """

    words: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[Fuzzed, str]] = field(default_factory=list)
    slow: list[tuple[Fuzzed, float]] = field(default_factory=list)
    peak: tuple[str, float] = ("", 0.0)

    def add(self, file: Fuzzed, line: dict[str, Any], alone: dict[bytes, str]) -> None:
        """Take what was said of a file and hold it to the promises."""
        self.words[line["word"]] += 1
        self.slow = sorted([*self.slow, (file, line["seconds"])], key=lambda one: -one[1])[:SLOWEST]
        self.peak = max(self.peak, (file.name, line["peak"]), key=lambda one: one[1])
        if line["word"] not in WORDS | {"tagged"}:
            self.broken.append((file, f"{line['word']}: {line['message']}"))
        if not line["file"].endswith(file.name):
            self.broken.append((file, f"the outcome in its place is that of {line['file']}"))
        if file.good and line["word"] + line["message"] != alone[file.data]:
            self.broken.append((file, f"not as it is alone: {line['word']}"))


class _BrokenOffError(Exception):
    """The process that tags ended, stalled or holds too much."""


def run(count: int, seed: int, seconds: float) -> Report:
    """Tag files 0 to `count` of a seed, and wait at most so many seconds for each."""
    report = Report()
    recordings = list(good_recordings())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = _good_alone(recordings, folder / "alone", seconds)
        for first in range(0, count, FILES_AT_ONCE):
            files = [fuzzed(recordings, seed, n) for n in range(first, min(count, first + FILES_AT_ONCE))]
            tag(files, folder / "files", alone, report, seconds)
    return report


def _good_alone(recordings: Sequence[Good], folder: Path, seconds: float) -> dict[bytes, str]:
    """What is said of each good recording where it is the only one."""
    folder.mkdir()
    good = [Fuzzed(f"{number}.{one.suffix}", one.data, good=True) for number, one in enumerate(recordings)]
    lines = _said(_written(good, folder), 0, seconds)
    return {one.data: line["word"] + line["message"] for one, line in zip(good, lines, strict=True)}


def tag(
    files: Sequence[Fuzzed], folder: Path, alone: dict[bytes, str], report: Report, seconds: float
) -> None:
    """Tag these files; `alone` says what is said of good ones where they are the only ones."""
    folder.mkdir(exist_ok=True)
    paths, workers = _written(files, folder), WORKERS
    done = 0
    while done < len(files):
        try:
            for line in _said(paths[done:], workers, seconds):
                if line["peak"] > MEGABYTES:
                    raise _BrokenOffError(f"{line['peak']:.0f} MB")
                report.add(files[done], line, alone)
                done += 1
        except _BrokenOffError as error:  # noqa: PERF203 — once a process, not once a file
            if workers:  # it may be any of those that were read ahead: one by one from here
                workers = 0
            else:
                report.broken.append((files[done], str(error)))
                report.words["broken off"] += 1
                done += 1
    for path in paths:
        path.unlink()


def _written(files: Sequence[Fuzzed], folder: Path) -> list[Path]:
    for file in files:
        (folder / file.name).write_bytes(file.data)
    return [folder / file.name for file in files]


def _said(paths: Sequence[Path], workers: int, seconds: float) -> Iterator[dict[str, Any]]:
    """An outcome for each file, from a new process.

    Raises:
        _BrokenOffError: The process ended before the last outcome, or let one wait too long.
    """
    with tempfile.TemporaryDirectory() as name:
        list_, errors = Path(name) / "list", Path(name) / "errors"
        list_.write_text("\n".join(map(str, paths)), encoding="utf-8")
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [*TAG_ALL, str(list_), str(workers)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            )
        with process:
            try:
                lines = _lines(process, seconds)
                for _ in paths:
                    yield next(lines)
            except StopIteration:
                said = errors.read_text(encoding="utf-8", errors="replace")[-500:]
                raise _BrokenOffError(f"the process ended with {process.wait()}: {said}") from None
            finally:
                process.kill()


def _lines(process: subprocess.Popen[bytes], seconds: float) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    rest, wait = b"", START_SECONDS
    while select.select([process.stdout], [], [], wait)[0]:
        if not (piece := os.read(process.stdout.fileno(), 1 << 16)):
            return
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            try:
                line = json.loads(text)
            except ValueError:
                raise _BrokenOffError(f"wrote to stdout: {text!r}") from None
            if "ready" not in line:
                yield line
        wait = seconds
    raise _BrokenOffError(f"no outcome for {seconds:g} s")


def main() -> None:
    """Print what came of the files; end with 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description="Tag damaged files and hold the tool to its promises.")
    parser.add_argument("--count", type=int, default=2000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--seconds", type=float, default=10.0, help="to wait for an outcome at most")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the files that broke a promise, and the slowest"
    )
    options = parser.parse_args()
    report = run(options.count, options.seed, options.seconds)
    for file, how in report.broken:
        print(f"{file.name}: {how}")
    for file, seconds in report.slow:
        print(f"{file.name}: {seconds:.1f} s")
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        for file, _ in [*report.broken, *report.slow]:
            (options.keep / file.name).write_bytes(file.data)
    print(f"{report.peak[1]:.0f} MB at most, after {report.peak[0]}")
    print(f"{options.count:,} files of seed {options.seed}: {dict(report.words.most_common())}")
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
