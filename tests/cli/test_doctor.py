"""`ast-tag doctor`: a healthy installation, and broken ones with their remedies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from tests.cli.runner import Done, ast_tag, in_a_process

MARKS = {"✓": "works", "✗": "broken", "–": "missing"}
ALL = [
    *("ast-tag", "torch", "torchaudio", "device", "soundfile"),
    *("PyAV", "OpenVINO", "pyarrow", "transformers", "cache"),
]


def findings(done: Done) -> dict[str, str]:
    """What doctor says of each thing."""
    lines = [line.split(maxsplit=2) for line in done.out.splitlines() if not line.startswith(" ")]
    return {what: MARKS[mark] for mark, what, _ in lines}


def test_a_healthy_installation_passes(hub_cache: Path) -> None:
    done = ast_tag("doctor")
    assert (done.code, done.err) == (0, "")
    assert findings(done) == dict.fromkeys(ALL, "works")
    assert str(hub_cache) in done.out


def test_a_torchaudio_that_does_not_fit_torch_is_found_with_its_remedy(tmp_path: Path) -> None:
    package = tmp_path / "site" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol: [red]_ZN2at')")
    path = os.pathsep.join((str(package.parent), str(Path(__file__).parents[2])))
    done = in_a_process("doctor", env={"PYTHONPATH": path, "LC_ALL": "C.UTF-8"})
    assert (done.code, done.err) == (ExitCode.CANNOT_RUN, "")
    assert findings(done) == dict.fromkeys(ALL, "works") | {"torchaudio": "broken"}
    [_, remedy] = done.out.split("✗ torchaudio  libtorchaudio.so: undefined symbol: [red]_ZN2at\n")
    assert remedy.lstrip().startswith("Install the matching pair: pip install 'torch")


@pytest.mark.parametrize(
    ("module", "what", "remedy"),
    [
        ("av", "PyAV", "pip install 'ast-cli[av]'"),
        ("openvino", "OpenVINO", "pip install 'ast-cli[openvino]'"),
        ("pyarrow", "pyarrow", "pip install 'ast-cli[parquet]'"),
        ("transformers", "transformers", "pip install 'ast-cli[verify]'"),
    ],
)
def test_what_is_optional_may_be_missing(
    module: str, what: str, remedy: str, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "transformers":  # of which only the version is asked

        def version(package: str) -> str:
            raise ModuleNotFoundError(f"no {package}")

        monkeypatch.setattr("importlib.metadata.version", version)
    else:
        monkeypatch.setitem(sys.modules, module, None)
    done = ast_tag("doctor")
    assert done.code == 0
    assert findings(done) == dict.fromkeys(ALL, "works") | {what: "missing"}
    assert remedy in done.out


@pytest.mark.parametrize(
    ("module", "what"),
    [("soundfile", "soundfile"), ("huggingface_hub", "cache"), ("torchaudio", "torchaudio")],
)
def test_what_is_needed_and_missing_is_told_without_a_crash(
    module: str, what: str, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = ast_tag("doctor")
    assert (done.code, done.err) == (ExitCode.CANNOT_RUN, "")
    assert findings(done) == dict.fromkeys(ALL, "works") | {what: "broken"}
    assert "pip install" in done.out


def test_a_device_that_computes_wrongly_is_found(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "ones", torch.zeros)
    done = ast_tag("doctor")
    assert done.code == ExitCode.CANNOT_RUN
    assert findings(done)["device"] == "broken"


def test_a_cache_that_cannot_be_written_is_told(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    done = ast_tag("doctor")
    assert done.code == ExitCode.CANNOT_RUN
    assert findings(done) == dict.fromkeys(ALL, "works") | {"cache": "broken"}
    assert "not writable\n    Set HF_HOME" in done.out
