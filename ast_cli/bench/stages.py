"""What the stages around the network cost for one window, on clips that are the same on every machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.audio.decode import open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.bench.machine import Spread, Stopwatch, take_turns
from ast_cli.features.extractor import FRAME_SHIFT_SECONDS, ASTFeatureExtractor
from ast_cli.networks.config import ASTConfig
from ast_cli.results import Facts
from ast_cli.scoring.aggregate import Aggregate, to_scores
from ast_cli.scoring.selection import Selection
from ast_cli.settings import TagSettings

STAGES = ("decode", "resample", "fbank", "model", "aggregate")
RATE = 44_100  # in Hz; what must be resampled, as most recordings must
TONES = 5
LOWEST_HZ, HIGHEST_HZ = 100.0, 8000.0
CLIPS = 4  # of which scores are compared
FILE = "clip.wav"


def make_clip(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """A stereo clip [S, 2] at `RATE`: a few tones of random pitch on either side, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    clip = 0.02 * random.standard_normal((len(time), 2))
    for pitch in np.exp(random.uniform(np.log(LOWEST_HZ), np.log(HIGHEST_HZ), TONES)):
        wave = np.sin(2 * np.pi * pitch * time + random.uniform(0, 2 * np.pi))
        clip += wave[:, None] * random.uniform(0.01, 0.15, 2)
    return clip.astype(np.float32)


def write_clip(path: Path, seconds: float, seed: int = 0) -> None:
    """Write such a clip in the format of its suffix; without loss, in 16 bits."""
    lossless = path.suffix in (".wav", ".flac")
    soundfile.write(path, make_clip(seconds, seed), RATE, subtype="PCM_16" if lossless else None)


def window_seconds(extractor: ASTFeatureExtractor) -> float:
    """Seconds of audio in a window: 10.24 for most networks."""
    return extractor.max_length * FRAME_SHIFT_SECONDS


def sample_windows(extractor: ASTFeatureExtractor, count: int = CLIPS) -> Tensor:
    """Unnormalised windows [B, T, M] of clips that differ, each a window long."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / FILE
        windows = []
        for seed in range(count):
            write_clip(clip, window_seconds(extractor), seed)
            waveform = _resample(_decode(clip), extractor)
            windows.append(extractor.pad(extractor.fbank(waveform)))
    return torch.stack(windows)


def time_stages(config: ASTConfig, extractor: ASTFeatureExtractor, repeats: int) -> dict[str, Spread]:
    """Milliseconds that each stage but the model takes for one window, on one thread, after a warm-up."""
    settings, frames = TagSettings(), extractor.max_length
    selection = Selection(config.labels, settings)
    facts = Facts(window_seconds(extractor), frames, RATE, 2)
    logits = torch.randn(1, config.num_labels, generator=torch.Generator().manual_seed(0))

    def aggregate() -> object:
        scores = to_scores(logits, config.scores).numpy()[0]
        recording = Aggregate(FILE, selection, settings, config.scores)
        recording.add(0, frames, frames, scores)
        return recording.result(facts)

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / FILE
        write_clip(clip, window_seconds(extractor))
        decoded = _decode(clip)
        waveform = _resample(decoded, extractor)
        runs: dict[str, Callable[[], object]] = {
            "decode": lambda: _decode(clip),
            "resample": lambda: _resample(decoded, extractor),
            "fbank": lambda: extractor.pad(extractor.fbank(waveform)),
            "aggregate": aggregate,
        }
        for run in runs.values():
            run()
        seconds = take_turns([*runs.values()], repeats, Stopwatch(torch.device("cpu")))
    return {name: Spread.of(taken).times(1e3) for name, taken in zip(runs, seconds, strict=True)}


def _decode(clip: Path) -> Tensor:
    with open_recording(str(clip)) as recording:
        return torch.cat([*recording.mono()])


def _resample(waveform: Tensor, extractor: ASTFeatureExtractor) -> Tensor:
    resampler = StreamResampler(RATE, extractor.sampling_rate)
    return torch.cat([resampler.push(waveform), resampler.finish()])
