"""Small things to train on, and to train: examples drawn at random, recordings of tones, a nano network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.training.examples import AS_IT_IS, Batch, Collate, Example
from ast_cli.training.loop import Trainer
from ast_cli.training.settings import TrainSettings
from ast_cli.training.state import TrainingResult
from tests.random_checkpoint import random_config, random_model

FRAMES, CLASSES = 64, 5  # 8 × 4 patches at stride 16
EXTRACTOR = ASTFeatureExtractor(max_length=FRAMES)
SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def nano(problem: str = SINGLE, seed: int = 0, **config: Any) -> ASTForAudioClassification:
    return random_model(
        random_config(stride=16, frames=FRAMES, labels=CLASSES, problem_type=problem, **config), seed
    )


@dataclass
class Drawn:
    """Examples of noise, each with a level of its own for its class; varied by the chance they are handed."""

    count: int
    multi_label: bool = False
    columns: bool = False
    shortest: int = FRAMES
    failing: Sequence[int] = ()
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        self.asked.append((epoch, index))
        own = np.random.default_rng(index)
        frames = own.normal(-4 + index % CLASSES, 4, (int(own.integers(self.shortest, FRAMES + 1)), 128))
        if epoch != AS_IT_IS:
            frames = frames + rng.normal(0, 0.5, frames.shape)
        targets = torch.zeros(CLASSES)
        targets[index % CLASSES] = 1
        if self.multi_label:
            targets[int(own.integers(CLASSES))] = 1
        columns = torch.from_numpy(own.random((4, CLASSES), dtype=np.float32)) if self.columns else None
        failed = ((f"{index}.wav", "it is broken"),) if index in self.failing else ()
        return Example(torch.from_numpy(frames).float(), targets, columns, failed)


def batch_of(examples: Drawn, *indices: int) -> Batch:
    """Examples as they are, as one batch."""
    rng = np.random.default_rng(0)
    made = Collate(EXTRACTOR)([examples.example(index, AS_IT_IS, rng) for index in indices])
    assert isinstance(made, Batch)
    return made


class Looking:
    """A watcher that remembers, and that `look` may make do more."""

    def __init__(self, look: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self.look = look
        self.steps: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.failed: list[tuple[str, str]] = []
        self.all_steps = 0

    def on_step(self, row: dict[str, Any], steps: int) -> None:
        self.steps.append(row)
        self.all_steps = steps
        self.look(row)

    def on_validation(self, row: dict[str, Any]) -> None:
        self.validations.append(row)
        self.look(row)

    def on_failed(self, file: str, cause: str) -> None:
        self.failed.append((file, cause))


def accuracy(scores: Tensor, targets: Tensor) -> dict[str, float]:
    right = targets.gather(1, scores.argmax(dim=1, keepdim=True)) > 0
    return {"accuracy": round(float(right.float().mean()), 6)}


def trainer(
    folder: Path,
    settings: TrainSettings,
    examples: Drawn | None = None,
    classifier: ASTForAudioClassification | None = None,
    **more: Any,
) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(
        nano() if classifier is None else classifier,
        EXTRACTOR,
        Drawn(10) if examples is None else examples,
        more.pop("validation", Drawn(7)),
        more.pop("validate", accuracy),
        settings,
        folder,
        device="cpu",
        **more,
    )


def train(
    folder: Path, settings: TrainSettings, *args: Any, resume: bool = False, **more: Any
) -> TrainingResult:
    return trainer(folder, settings, *args, **more).run(resume=resume)


def save_tones(folder: Path, clips: int = 6, seconds: float = 0.6, rate: int = 16_000) -> Path:
    """A folder for each of three classes, which a nano network tells apart: low, high, noise."""
    rng = np.random.default_rng(0)
    times = np.arange(round(seconds * rate)) / rate
    for name, (lowest, highest) in {"high": (3000, 3300), "low": (300, 330), "noise": (0, 0)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(clips):
            if highest:
                sound = np.sin(2 * np.pi * rng.uniform(lowest, highest) * times + rng.uniform(0, 6))
            else:
                sound = rng.standard_normal(len(times))
            soundfile.write(folder / name / f"{number}.wav", 0.1 * sound, rate)
    return folder
