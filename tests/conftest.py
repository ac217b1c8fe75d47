from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.random_checkpoint import save_random_checkpoint
from tests.stores import ENVIRONMENT, S3Server, WebServer


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing a test does may reach the Hub or the user's cache; tests of the Hub name their own server."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano AST with AudioSet's classes and windows of 128 frames (1.28 s)."""
    return save_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 on this machine; tests take other buckets each."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, stores: None, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same, as the one that addresses of s3 are looked up in."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    return s3_server


@pytest.fixture
def web(tmp_path: Path, stores: None) -> Iterator[WebServer]:
    """A server of the folder `web`."""
    (tmp_path / "web").mkdir()
    server = WebServer(tmp_path / "web")
    yield server
    server.stop()


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores are opened anew, by what the test says of them; nothing waits long."""
    from ast_cli.audio import remote, shards

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_systems", {})
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    shards.forget()
