"""What all tests share; imports no package of an extra, so that the tests of the core run without any."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.random_checkpoint import save_random_checkpoint
from tests.stores import ENVIRONMENT, S3Server, WebServer

# A job in the background inherits that these are ignored, as would all that the tests start and interrupt.
for name in ("SIGINT", "SIGHUP"):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

if find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    # How long an example takes, or takes to be made up, tells of the machine, not of us: on a busy one, 0.2 s
    # for an example, Hypothesis' own deadline, pass with nothing done. In CI, the same examples every time.
    slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("here", slow_machine)
    settings.register_profile("CI", slow_machine, derandomize=True, database=None, print_blob=True)
    settings.load_profile("CI" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where a plugin is missing, what pyproject.toml says of it means nothing, and is no mistake."""
    if not find_spec("pytest_timeout"):
        parser.addini("timeout", "of pytest-timeout")
    if not find_spec("pytest_benchmark"):
        parser.addoption("--benchmark-disable", action="store_true", help="of pytest-benchmark")


def pytest_configure(config: pytest.Config) -> None:
    if not find_spec("pytest_timeout"):
        config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs POSIX is left out where there is none, or where we do as if there were none."""
    if os.name == "posix" and "tests.without_posix" not in sys.modules:
        return
    for item in items:
        if mark := item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason=f"needs POSIX: {mark.args[0]}"))


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
    for module in ("moto", "s3fs"):
        pytest.importorskip(module, reason=f"{module} is not installed")
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
    for module in ("fsspec", "aiohttp"):
        pytest.importorskip(module, reason=f"{module} is not installed")
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
