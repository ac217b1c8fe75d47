"""What a user of the command has: a model, and a folder of recordings to be in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ast_cli.engines.torch_engine import TorchEngine
from tests.cli.known import save_known_checkpoint
from tests.cli.runner import ROOT, TERMINALS


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process write as into a pipe, whatever the terminal or the CI of those who test."""
    for variable in TERMINALS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", None)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that gives `known.TAGS` to all that it hears."""
    return str(save_known_checkpoint(tmp_path_factory.mktemp("known") / "model"))


Answers = dict[tuple[object, ...], torch.Tensor]


@pytest.fixture(scope="session")
def answers() -> Answers:
    return {}


@pytest.fixture
def remembered(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a network on the CPU says of a batch is computed once, for tests that tag the same many times.

    Only for modules whose runs all have the same model, engine and number format.
    """
    compute = TorchEngine.logits

    def logits(
        engine: TorchEngine, windows: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        key = (
            windows.shape,
            windows.numpy().tobytes(),
            None if lengths is None else (*lengths.tolist(),),
        )
        if key not in answers:
            answers[key] = compute(engine, windows, lengths)
        return answers[key].clone()

    monkeypatch.setattr(TorchEngine, "logits", logits)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: clip.wav of 1 s, long.wav of 4 s in stereo, and no recording called notes.wav."""
    folder = tmp_path / "here"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal((64_000, 2))
    soundfile.write(folder / "clip.wav", noise[:16_000, 0], 16_000)
    soundfile.write(folder / "long.wav", noise, 16_000)
    (folder / "notes.wav").write_text("This is no recording.")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, for runs in this process, whoever has imported its client before."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


@pytest.fixture
def broken_torchaudio(tmp_path: Path) -> str:
    """PYTHONPATH with a torchaudio whose native library was built for another torch."""
    package = tmp_path / "site" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol: [red]_ZN2at')")
    return os.pathsep.join((str(package.parent), str(ROOT)))
