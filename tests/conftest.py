from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints import save_random_checkpoint


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing a test does may reach the Hub or the user's cache; tests of the Hub name their own server."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano AST with AudioSet's classes and windows of 128 frames (1.28 s)."""
    return save_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))
