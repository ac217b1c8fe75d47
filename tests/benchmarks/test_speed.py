"""How long each stage takes, watched by pytest-benchmark; in the default run each is only tried once.

pytest tests/benchmarks/test_speed.py --benchmark-enable -n 0
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ast_cli.audio.decode import open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.bench.signals import RATE, make_clip, write_clip
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.factory import open_engine
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.outputs.csv_writer import CsvWriter
from ast_cli.results import Facts, FileResult, RunInfo
from ast_cli.scoring.aggregate import Aggregate, to_scores
from ast_cli.scoring.labels import LabelSet, audioset_classes
from ast_cli.scoring.selection import Selection
from ast_cli.settings import LabelSettings, ModelSettings, TagSettings

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")

SECONDS = 10.24
LABELS = LabelSet.from_names(node.name for node in audioset_classes())
SCORES = np.random.default_rng(0).random(len(LABELS), np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speed") / "clip.wav"
    write_clip(path, SECONDS)
    return path


def waveform(rate: int) -> torch.Tensor:
    return torch.from_numpy(make_clip(SECONDS)[: round(SECONDS * rate), 0].copy())


def test_decode(benchmark: Any, clip: Path) -> None:
    def decode() -> int:
        with open_recording(str(clip)) as recording:
            return sum(len(block) for block in recording.mono())

    assert benchmark(decode) == round(SECONDS * RATE)


def test_resample(benchmark: Any) -> None:
    samples = waveform(RATE)

    def resample() -> int:
        resampler = StreamResampler(RATE, 16_000)
        return len(resampler.push(samples)) + len(resampler.finish())

    assert benchmark(resample) == round(SECONDS * 16_000)


def test_fbank(benchmark: Any) -> None:
    frames = benchmark(ASTFeatureExtractor().fbank, waveform(16_000))
    assert frames.shape == (1022, 128)


def test_network(benchmark: Any) -> None:
    engine, extractor = open_engine(Checkpoint.open("tiny"), ModelSettings(device="cpu"))
    windows = torch.randn(2, extractor.max_length, 128, generator=torch.Generator().manual_seed(0))
    assert len(benchmark(engine.logits, windows)) == 2


def result(windows: int = 1) -> FileResult:
    settings = TagSettings()
    aggregate = Aggregate("clip.wav", Selection(LABELS, settings), settings, "sigmoid")
    for window in range(windows):
        aggregate.add(window * 1024, 1024, 1024, SCORES)
    return aggregate.result(Facts(windows * SECONDS, windows * 1024, RATE, 2))


def test_aggregate(benchmark: Any) -> None:
    assert len(benchmark(result, 100).tags) == 5


def test_scores_and_top_k(benchmark: Any) -> None:
    logits = torch.from_numpy(SCORES)[None]
    selection = Selection(LABELS, LabelSettings())

    def top_k() -> int:
        return len(selection.tags(to_scores(logits, "sigmoid").numpy()[0]))

    assert benchmark(top_k) == 5


def test_writer(benchmark: Any) -> None:
    outcome = result()

    def write() -> int:
        stream = io.StringIO()
        with CsvWriter(stream, lambda: RunInfo((), {})) as writer:
            for _ in range(100):
                writer.write(outcome)
        return stream.getvalue().count("\n")

    assert benchmark(write) == 1 + 100 * 5
