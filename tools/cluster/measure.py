"""What a clip costs the cores, stage by stage and in whole processes; for `measured.json`.

python tools/cluster/measure.py [--model tiny] [--few 8] [--many 40] [--repeats 9]

Prints one JSON document. Everything is in core milliseconds, the processor time that was used, on one thread
for the network: others at work on the machine change it less than the time on the clock.
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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ast_cli import Tagger
from ast_cli.audio.decode import open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.bench.machine import Machine
from ast_cli.bench.stages import RATE, write_clip

ROOT = Path(__file__).parents[2]
SECONDS = 10.0
FORMATS = ("wav", "flac", "mp3")


def core_ms(run: Callable[[], object], repeats: int) -> float:
    """The median of the processor time of all threads, after one run to warm up."""
    run()
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        taken.append(time.process_time() - begin)
    return round(1e3 * statistics.median(taken), 2)


def stages(tagger: Tagger, folder: Path, repeats: int) -> dict[str, object]:
    """Each stage of one clip alone; the network in batches of as many windows as a run takes."""
    extractor, [engine] = tagger.extractor, tagger.engines
    decode = {}
    for suffix in FORMATS:
        clip = folder / f"clip.{suffix}"
        write_clip(clip, SECONDS)

        def decoded(clip: Path = clip) -> torch.Tensor:
            with open_recording(str(clip)) as recording:
                return torch.cat([*recording.mono()])

        decode[suffix] = core_ms(decoded, repeats)
        samples = decoded()

    def resampled() -> torch.Tensor:
        resampler = StreamResampler(RATE, extractor.sampling_rate)
        return torch.cat([resampler.push(samples), resampler.finish()])

    waveform = resampled()
    size = engine.batch_size
    batch = torch.stack([extractor.pad(extractor.fbank(waveform))] * size)
    network = core_ms(lambda: engine.logits(batch), max(2, repeats // 3))
    return {
        "decode": decode,
        "resample": core_ms(resampled, repeats),
        "fbank": core_ms(lambda: extractor.pad(extractor.fbank(waveform)), repeats),
        "network": round(network / size, 2),
    }


def whole(model: str, folder: Path, count: int) -> float:
    """Core seconds of a process that tags so many WAV clips."""
    names = folder / "list"
    names.write_text(f"{folder / 'clip.wav'}\n" * count)
    options = ["--model", model, "--out", str(folder / "out.csv"), "--overwrite", "--quiet"]
    command = [sys.executable, "-m", "ast_cli", "--files-from", str(names), *options]
    # Threads that wait for each other in a loop would be counted as if they worked.
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--few", type=int, default=8)
    parser.add_argument("--many", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()

    torch.set_num_threads(1)
    tagger = Tagger.from_pretrained(args.model, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine = asdict(Machine.describe(torch.device("cpu")))
        document = {
            "command": ["python", *sys.argv],
            "machine": {**machine, "torch_threads": 1},
            "core_ms": stages(tagger, folder, args.repeats),
        }
        few, many = (whole(args.model, folder, count) for count in (args.few, args.many))
        document["whole"] = {
            "clips": [args.few, args.many],
            "core_s": [round(few, 2), round(many, 2)],
            "core_ms_a_clip_more": round(1e3 * (many - few) / (args.many - args.few), 2),
        }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
