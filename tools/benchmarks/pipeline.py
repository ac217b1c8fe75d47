"""What one would run without ast-tag: the audio-classification pipeline of transformers over a folder.

python tools/benchmarks/pipeline.py CHECKPOINT FOLDER OUT [--batch-size 8] [--dtype float32] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import soundfile
import torch

from ast_cli.audio.sinc_filter import resample  # equal to torchaudio's, which not every torch loads
from ast_cli.reference import load_transformers

transformers = load_transformers()

RATE = 16_000


def waveforms(paths: list[Path]) -> Iterator[dict[str, object]]:
    """The recordings, mono at the model's rate."""
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = torch.from_numpy(samples.mean(axis=1))
        yield {
            "raw": resample(mono, rate, RATE).numpy(),
            "sampling_rate": RATE,
        }


def main() -> None:
    """Tag every file of the folder; a line of JSON for each, with the scores of all classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    tagger = transformers.pipeline(
        "audio-classification",
        model=args.checkpoint,
        device=args.device,
        dtype=getattr(torch, args.dtype),
    )
    paths = sorted(args.folder.iterdir())
    found = tagger(waveforms(paths), batch_size=args.batch_size, top_k=None, function_to_apply="sigmoid")
    with args.out.open("w", encoding="utf-8") as lines:
        for path, tags in zip(paths, found, strict=True):
            lines.write(json.dumps({"file": path.name, "tags": tags}) + "\n")


if __name__ == "__main__":
    main()
