"""`ast-tag doctor`: a healthy installation, and broken ones with their remedies."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from ast_cli.features.extractor import ASTFeatureExtractor
from tests.cli.runner import Done, ast_tag, in_a_process
from tests.reference import needs_torchaudio, torchaudio

MARKS = {"✓": "works", "✗": "broken", "–": "missing"}
ALL = [
    *("ast-tag", "torch", "torchaudio", "device", "soundfile"),
    *("PyAV", "OpenVINO", "pyarrow", "transformers", "cache"),
]
WORKS = dict.fromkeys(ALL, "works") | ({} if torchaudio else {"torchaudio": "missing"})


def findings(done: Done) -> dict[str, str]:
    """What doctor says of each thing."""
    lines = [line.split(maxsplit=2) for line in done.out.splitlines() if not line.startswith(" ")]
    return {what: MARKS[mark] for mark, what, _ in lines}


def test_a_healthy_installation_passes(hub_cache: Path) -> None:
    done = ast_tag("doctor")
    assert (done.code, done.err) == (0, "")
    assert findings(done) == WORKS
    assert str(hub_cache) in done.out


def test_a_torchaudio_that_does_not_fit_torch_costs_a_line_and_nothing_else(broken_torchaudio: str) -> None:
    done = in_a_process("doctor", env={"PYTHONPATH": broken_torchaudio, "LC_ALL": "C.UTF-8"})
    assert (done.code, done.err) == (0, "")
    assert findings(done) == WORKS | {"torchaudio": "missing"}
    [_, remedy] = done.out.split(
        "– torchaudio  does not load: libtorchaudio.so: undefined symbol: [red]_ZN2at\n"
    )
    assert remedy.lstrip().startswith("Features are only compared with it\n")


@needs_torchaudio
def test_features_unlike_those_of_torchaudio_are_found(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fbank = ASTFeatureExtractor.fbank
    monkeypatch.setattr(ASTFeatureExtractor, "fbank", lambda self, waveform: fbank(self, 1.01 * waveform))
    done = ast_tag("doctor")
    assert done.code == ExitCode.CANNOT_RUN
    assert findings(done) == WORKS | {"torchaudio": "broken"}


@pytest.mark.parametrize(
    ("package", "bounds", "what", "code"),
    [
        ("torch", ">=99,<100", "torch", ExitCode.CANNOT_RUN),
        ("torch", "<1.5", "torch", ExitCode.CANNOT_RUN),
        ("soundfile", ">=7", "soundfile", ExitCode.CANNOT_RUN),
        ("transformers", '>=99; extra == "verify"', "transformers", 0),
    ],
)
def test_versions_are_held_against_what_the_package_says_it_needs(
    package: str, bounds: str, what: str, code: int, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = f"{package}{bounds}"
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda name: ["numpy>=1", needed] * (name == "ast-cli")
    )
    done = ast_tag("doctor")
    assert done.code == code
    assert findings(done) == WORKS | {what: "broken" if code else "missing"}
    bare = ",".join(sorted(needed.partition(";")[0].removeprefix(package).split(",")))
    assert f"; ast-tag needs {package}{bare}\n    pip install '{package}{bare}'\n" in done.out


def test_from_a_folder_of_source_text_no_version_is_refused(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", requires)
    assert findings(ast_tag("doctor")) == WORKS


@pytest.mark.parametrize(
    ("module", "what", "remedy"),
    [
        ("av", "PyAV", "pip install 'ast-cli[av]'"),
        ("openvino", "OpenVINO", "pip install 'ast-cli[openvino]'"),
        ("pyarrow", "pyarrow", "pip install 'ast-cli[parquet]'"),
        ("transformers", "transformers", "pip install 'ast-cli[verify]'"),
        ("torchaudio", "torchaudio", "Features are only compared with it: pip install 'ast-cli[verify]'"),
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
        monkeypatch.setattr("ast_cli.reference._why_hidden", [])
    monkeypatch.setitem(sys.modules, module, None)
    done = ast_tag("doctor")
    assert done.code == 0
    assert findings(done) == WORKS | {what: "missing"}
    assert remedy in done.out


@pytest.mark.parametrize(
    ("module", "what"),
    [("soundfile", "soundfile"), ("huggingface_hub", "cache")],
)
def test_what_is_needed_and_missing_is_told_without_a_crash(
    module: str, what: str, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = ast_tag("doctor")
    assert (done.code, done.err) == (ExitCode.CANNOT_RUN, "")
    assert findings(done) == WORKS | {what: "broken"}
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
    assert findings(done) == WORKS | {"cache": "broken"}
    assert "not writable\n    Set HF_HOME" in done.out
