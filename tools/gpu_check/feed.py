"""From files to labels: with a network that costs nothing and the real one, by threads and by processes.

Each case tells its files a second, the counters of `pipeline.counters`, what the parent and its children took
from the system, how late a thread of the parent wakes that sleeps for 20 ms (Python's lock is taken so long),
and where the parent's threads were found.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from ast_cli import ASTConfig, ASTFeatureExtractor, Tagger
from ast_cli.engines.engine import Engine, Pending
from ast_cli.features.window_stream import Window
from ast_cli.pipeline import pipeline
from ast_cli.scoring.labels import audioset_classes
from tools.gpu_check.common import CHECKPOINT, MIXED, WAV, Step, cores

TICK = 0.02  # seconds between two looks at the threads
FRAMES = 12  # places that are told, for the network's thread and for the others
THREADS, PROCESSES, AT_ONCE = "threads", "processes", "processes from the start"


class StandIn(Engine):
    """Takes waveforms as the one on CUDA does, and answers at once."""

    name = "stand-in"
    takes_waveforms = True
    ahead = 2

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config, "cpu", "float32", "none", lambda message: print(f"notice: {message}"))

    def start(self, windows: Sequence[Window]) -> Pending:
        """Zeros."""
        logits = torch.zeros(len(windows), self.config.num_labels)
        return lambda: logits

    def find_batch_size(self) -> int:
        """One that a large device likes."""
        return 32

    def _run(self, windows: Tensor, lengths: Tensor | None) -> Tensor:
        return torch.zeros(len(windows), self.config.num_labels)


def stand_in() -> Tagger:
    """A tagger whose network costs nothing."""
    config = ASTConfig(id2label=dict(enumerate(node.name for node in audioset_classes())))
    return Tagger([StandIn(config)], ASTFeatureExtractor(), config.labels, "sigmoid")


class Sampler:
    """Looks every `TICK` seconds where the threads of this process are."""

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._stop = threading.Event()
        self.places: dict[str, Counter[str]] = {"network": Counter(), "others": Counter()}
        self.late: list[float] = []
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.is_set():
            start = time.perf_counter()
            time.sleep(TICK)
            self.late.append(time.perf_counter() - start - TICK)
            for thread, frame in sys._current_frames().items():
                if thread == threading.get_ident():
                    continue
                code = frame.f_code
                caller = frame.f_back.f_code.co_name if frame.f_back else ""
                place = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name} < {caller}"
                self.places["network" if thread == self._main else "others"][place] += 1

    def to_dict(self) -> dict[str, Any]:
        """Where they were, most often first, and how late this thread woke."""
        late = sorted(self.late) or [0.0]
        return {
            "looks": len(self.late),
            "late_ms": {"median": 1e3 * late[len(late) // 2], "worst": 1e3 * late[-1]},
            "places": {name: found.most_common(FRAMES) for name, found in self.places.items()},
        }


def measure(
    tagger: Tagger, paths: list[str], decoding: str, workers: int, batch_size: int | None
) -> dict[str, Any]:
    """Tag recordings once."""
    pipeline.LEAST_PROCESSES = 10**9 if decoding == THREADS else 1  # type: ignore[misc]
    pipeline.PROCESSES_AFTER = 0 if decoding == AT_ONCE else 100  # type: ignore[misc]
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    start = time.perf_counter()
    with Sampler() as sampler:
        outcomes, times = [], []
        for outcome in tagger.tag_many(paths, batch_size=batch_size, workers=workers):
            outcomes.append(outcome)
            times.append(time.perf_counter())
    seconds = time.perf_counter() - start
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "files": len(outcomes),
        "failed": sum(not hasattr(one, "tags") for one in outcomes),
        "seconds": seconds,
        "files_per_s": len(outcomes) / seconds,
        "second_half_files_per_s": (len(times) // 2) / (times[-1] - times[-1 - len(times) // 2]),
        "counters": tagger.counters.to_dict(),
        "parent": usage(before[0], after[0], len(outcomes)),
        "children": usage(before[1], after[1], len(outcomes)),
        "sampler": sampler.to_dict(),
    }


def usage(before: Any, after: Any, files: int) -> dict[str, float]:
    """What was taken from the system, for each file."""
    return {
        "user_ms_per_file": 1e3 * (after.ru_utime - before.ru_utime) / files,
        "system_ms_per_file": 1e3 * (after.ru_stime - before.ru_stime) / files,
        "page_faults_per_file": (after.ru_minflt - before.ru_minflt) / files,
        "switches_per_file": (after.ru_nvcsw - before.ru_nvcsw) / files,
        "forced_switches_per_file": (after.ru_nivcsw - before.ru_nivcsw) / files,
    }


def read_ms(task: tuple[list[str], str]) -> float:
    """Milliseconds of a core that libsndfile itself takes for a recording."""
    paths, dtype = task
    start = time.process_time()
    for path in paths:
        soundfile.read(path, dtype=dtype)
    return 1e3 * (time.process_time() - start) / len(paths)


def libsndfile(paths: list[str], pool: Any) -> dict[str, float]:
    """By suffix and type of sample, on one core alone and on all at once."""
    found = {}
    for suffix in (".wav", ".flac", ".mp3"):
        chosen = [path for path in paths if path.endswith(suffix)][:40]
        for dtype in ("int16", "float32"):
            found[f"{suffix} {dtype} alone"] = pool.map(read_ms, [(chosen, dtype)])[0]
            together = pool.map(read_ms, [(chosen, dtype)] * cores(), chunksize=1)
            found[f"{suffix} {dtype} all cores"] = sum(together) / len(together)
    return found


def real(step: Step) -> Tagger:
    """The network of full size."""
    tagger = Tagger.from_pretrained(step.scratch / CHECKPOINT, device=step.device, dtype=step.dtype)  # type: ignore[arg-type]
    extractor = tagger.extractor
    for _ in range(3):
        tagger.engines[0].logits(torch.zeros(8, extractor.max_length, extractor.num_mel_bins))
    return tagger


def main() -> None:
    """Measure every case; the telling ones come first."""
    step = Step.from_arguments("feed")
    files = {WAV: step.recordings(WAV), MIXED: step.recordings(MIXED)}
    with Pool(cores()) as pool:
        alone = libsndfile(files[MIXED], pool)
    for name, ms in alone.items():
        print(f"libsndfile {name}: {ms:.2f} ms")
    many, some = (2, 1) if step.dry else (16, 8)
    taggers: dict[str, Callable[[], Tagger]] = {"stand-in": stand_in, "network": lambda: real(step)}
    cases = [
        ("network", MIXED, PROCESSES, many, 8),  # as `ast-tag bench DIR` runs it
        ("stand-in", WAV, PROCESSES, many, None),
        ("stand-in", WAV, AT_ONCE, many, None),
        ("stand-in", MIXED, AT_ONCE, many, None),
        ("stand-in", WAV, THREADS, many, None),
        ("network", WAV, AT_ONCE, many, None),
        ("network", MIXED, AT_ONCE, many, None),
        ("network", WAV, THREADS, many, None),
        ("network", WAV, PROCESSES, many, None),
        ("stand-in", WAV, AT_ONCE, some, None),
        ("stand-in", WAV, THREADS, some, None),
        ("stand-in", MIXED, THREADS, many, None),
        ("network", MIXED, PROCESSES, many, None),
        ("network", WAV, AT_ONCE, some, None),
        ("network", WAV, AT_ONCE, many, 8),
    ]
    opened: dict[str, Tagger] = {}
    results: list[dict[str, Any]] = []
    for engine, kind, decoding, workers, batch_size in cases:
        if engine not in opened:
            opened[engine] = taggers[engine]()
        asked = {
            "engine": engine,
            "files": kind,
            "decoding": decoding,
            "workers": workers,
            "batch_size": batch_size or "auto",
        }
        try:
            found = measure(opened[engine], files[kind], decoding, workers, batch_size)
        except Exception as error:  # the other cases may do
            results.append({"case": asked, "error": f"{type(error).__name__}: {error}"})
            print(asked, results[-1]["error"])
            continue
        results.append({"case": asked} | found)
        step.write(libsndfile_ms=alone, cases=results)
        rates = (
            f"{found['files_per_s']:7.1f} files/s, {found['second_half_files_per_s']:7.1f} in the second half"
        )
        print(f"{rates}  {', '.join(map(str, asked.values()))}")
        print(f"    {opened[engine].counters.in_words()}")
        for who in ("parent", "children"):
            taken = found[who]
            print(
                f"    {who}: {taken['user_ms_per_file']:.2f} + {taken['system_ms_per_file']:.2f} ms a file "
                f"(user + system), {taken['page_faults_per_file']:.0f} page faults"
            )
        print(f"    a thread wakes {found['sampler']['late_ms']['median']:.1f} ms late", flush=True)


if __name__ == "__main__":
    main()
