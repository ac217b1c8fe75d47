"""The README's table of deviations: `python -m tools.parity` measures and prints it (some minutes).

Everything is compared at full size (width 768, 12 layers) with random weights, in float32 on the CPU unless
said. `transformers` is the installed one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from torch import Tensor

from ast_cli import ASTFeatureExtractor, ASTForAudioClassification, FileResult, Tagger
from tests.checkpoints.test_checkpoint import original_forward, original_weights, save_original, windows
from tests.parity.test_features import RATE, WAVEFORMS
from tests.random_checkpoint import random_config, save_random_checkpoint


def largest(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference."""
    return (ours - theirs).abs().max().item()


def features() -> str:
    """Of the features."""
    ours, theirs = ASTFeatureExtractor(), transformers.ASTFeatureExtractor()
    worst = max(
        largest(
            ours(make(), RATE, return_tensors="pt").input_values,
            theirs(make(), sampling_rate=RATE, return_tensors="pt").input_values,
        )
        for make in WAVEFORMS.values()
    )
    return f"features of {len(WAVEFORMS)} waveforms | `transformers` | {worst:.1e}"


def network(folder: Path) -> list[str]:
    """Logits for every published stride, hidden states and attentions, and what half precision costs."""
    rows, logits, hidden, attentions, half = [], 0.0, 0.0, 0.0, {torch.bfloat16: 0.0, torch.float16: 0.0}
    for stride in (10, 12, 14, 16):
        config = random_config("base", stride=stride, frames=1024)
        checkpoint = save_random_checkpoint(folder / str(stride), config)
        theirs = transformers.ASTForAudioClassification.from_pretrained(
            checkpoint, attn_implementation="eager"
        ).eval()
        ours = ASTForAudioClassification.from_pretrained(checkpoint)
        inputs = torch.randn(2, 1024, 128, generator=torch.Generator().manual_seed(stride))
        with torch.inference_mode():
            expected = theirs(inputs, output_hidden_states=True, output_attentions=True)
            for attn in ("sdpa", "eager"):
                ours.attn_implementation = attn
                logits = max(logits, largest(ours(inputs).logits, expected.logits))
            found = ours(inputs, output_hidden_states=True, output_attentions=True)
            hidden = max(hidden, *map(largest, found.hidden_states, expected.hidden_states))
            attentions = max(attentions, *map(largest, found.attentions, expected.attentions))
            ours.attn_implementation = "sdpa"
            scores = ours(inputs).logits.sigmoid()
            for dtype in half:
                rounded = ours.to(dtype)(inputs.to(dtype)).logits.float().sigmoid()
                half[dtype] = max(half[dtype], largest(rounded, scores))
                ours = ASTForAudioClassification.from_pretrained(checkpoint)
    strides = "strides 10, 12, 14, 16"
    rows.append(f"logits, {strides}, sdpa and eager | `transformers`, eager | {logits:.1e}")
    rows.append(f"hidden states, {strides} | `transformers`, eager | {hidden:.1e}")
    rows.append(f"attentions, {strides} | `transformers`, eager | {attentions:.1e}")
    for dtype, deviation in half.items():
        name = str(dtype).removeprefix("torch.")
        rows.append(f"scores in {name}, {strides} | the same in float32 | {deviation:.1e}")
    return rows


def original(folder: Path) -> str:
    """Of the logits of original `.pth` files."""
    worst = 0.0
    for stride, frames, patches in ((10, 1024, 1212), (16, 1024, 512), (10, 128, 144)):
        weights = original_weights(patches, 527)
        path = save_original(folder / f"{stride}-{frames}.pth", weights)
        model = ASTForAudioClassification.from_pretrained(path)
        with torch.inference_mode():
            expected = original_forward(weights, windows(frames), stride)
            worst = max(worst, largest(model(windows(frames)).logits, expected))
    return f"logits of original `.pth` files (width 128) | the original's forward pass | {worst:.1e}"


def end_to_end(folder: Path) -> str:
    """`Tagger` on a folder of files in mixed formats, against the pipeline with sigmoid scores."""
    checkpoint = save_random_checkpoint(folder / "whole", random_config("base", frames=1024))
    audio = folder / "audio"
    audio.mkdir()
    kinds = (("wav", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("mp3", None), ("aiff", "PCM_16"))
    rng = np.random.default_rng(0)
    for number in range(20):
        suffix, subtype = kinds[number % len(kinds)]
        times = np.arange(int(RATE * rng.uniform(0.5, 10))) / RATE
        sound = 0.3 * np.sin(2 * np.pi * 110 * (number + 1) * times) + 0.05 * rng.standard_normal(len(times))
        soundfile.write(audio / f"{number:02}.{suffix}", sound, RATE, subtype=subtype)
    paths = sorted(audio.iterdir())
    pipeline = transformers.pipeline("audio-classification", model=str(checkpoint), device="cpu")
    clips = [{"array": soundfile.read(path, dtype="float32")[0], "sampling_rate": RATE} for path in paths]
    expected = pipeline(clips, batch_size=4, top_k=5, function_to_apply="sigmoid")
    found = list(Tagger.from_pretrained(checkpoint, device="cpu").tag_many(paths, batch_size=4))
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, FileResult)
        assert [tag.label for tag in ours.tags] == [tag["label"] for tag in theirs], ours.file
        worst = max(worst, *(abs(a.score - b["score"]) for a, b in zip(ours.tags, theirs, strict=True)))
    return (
        f"top-5 scores of {len(paths)} files, same order | the `transformers` pipeline, sigmoid | {worst:.1e}"
    )


def start() -> str:
    """How long `ast-tag --help` takes, as a share of importing torch."""

    def median(*command: str) -> float:
        def once() -> float:
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            return time.perf_counter() - began

        once()
        return statistics.median(once() for _ in range(7))

    ast_tag = median(str(Path(sys.executable).with_name("ast-tag")), "--help")
    alone = median(sys.executable, "-c", "import torch")
    took = f"`ast-tag --help` takes {ast_tag:.2f} s, `python -c 'import torch'` {alone:.2f} s"
    return f"{took} (medians of 7)"


def main() -> None:
    """Print the table."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}, {torch.get_num_threads()} threads\n")
    print("| what is compared | with | largest deviation |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps: list[Callable[[], str | list[str]]] = [
            features,
            lambda: network(folder),
            lambda: original(folder),
            lambda: end_to_end(folder),
        ]
        for step in steps:
            rows = step()
            for row in [rows] if isinstance(rows, str) else rows:
                print(f"| {row} |", flush=True)
    print(f"\n{start()}")


if __name__ == "__main__":
    main()
