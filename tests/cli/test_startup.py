"""What is imported when: help and completion are instant, and so is the package itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ast_cli
from ast_cli.cli import process
from ast_cli.cli.app import app
from ast_cli.errors import ExitCode
from tests.cli.runner import ROOT, environment, in_a_process

HEAVY = {"torch", "torchaudio", "numpy", "transformers", "soundfile", "av", "huggingface_hub", "safetensors"}
REPORT = "import json, sys; print(json.dumps([*sys.modules]), file=sys.stderr)"
COMPLETION = "_AST_TAG_COMPLETE"


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def heavy_modules(code: str, **env: str) -> tuple[str, set[str]]:
    """What code prints, and which heavy packages it leaves imported."""
    done = python(f"import atexit; atexit.register(lambda: exec({REPORT!r}))\n{code}", **env)
    *errors, report = done.stderr.splitlines()
    assert not errors
    return done.stdout, HEAVY & set(json.loads(report))


def command(*args: str) -> str:
    return f"import sys; sys.argv = {['ast-tag', *args]!r}; from ast_cli.cli.app import main; main()"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--help", "doctor"),
        ("-h", "doctor"),
        ("tag --help", "--top-k"),
        ("verify -h", "--against"),
        ("export -h", "--timeline"),
        ("clips -h", "--margin"),
        ("listen -h", "--encoding"),
        ("--version", ast_cli.__version__),
        ("labels dog", "/m/0bt9lr\tDog"),
    ],
)
def test_what_needs_no_network_of_neurons_loads_none(line: str, said: str) -> None:
    out, heavy = heavy_modules(command(*line.split()))
    assert said in out
    assert heavy == set()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ast-tag la", {"labels"}),
        ("ast-tag tag --top", {"--top-k"}),
        ("ast-tag tag --dtype b", {"bfloat16"}),
        ("ast-tag models p", {"pull"}),
        ("ast-tag tag --format js", {"json", "jsonl"}),
        ("ast-tag tag --include Spee", {"Speech"}),
    ],
)
def test_completion_is_instant(words: str, offered: set[str]) -> None:
    line: dict[str, Any] = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    out, heavy = heavy_modules(command(), **{COMPLETION: "complete_bash"}, **line)
    assert set(out.split()) == offered
    assert heavy == set()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ast-tag tag --format js", {"json", "jsonl"}),
        ("ast-tag export r.json -f r", {"raven", "rttm"}),
        ("ast-tag tag --model ti", {"tiny"}),
        ("ast-tag embed --model MIT/ast-finetuned-speech", {"MIT/ast-finetuned-speech-commands-v2"}),
        ("ast-tag tag --include Spee", {"Speech"}),
        ("ast-tag clips r.json --label Sire", {"Siren"}),
        ("ast-tag tag --device c", {"cpu", "cuda"}),
        ("ast-tag tag --engine o", {"openvino"}),
    ],
)
def test_values_are_completed(words: str, offered: set[str]) -> None:
    line = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), COMPLETION: "complete_bash"}
    done = CliRunner().invoke(app, [], env=line, prog_name="ast-tag")
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(("asked", "threads"), [(None, "2"), ("5", "5")])
def test_threads_are_as_many_as_cores_may_be_used(
    asked: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, torch would count those of the machine."""
    monkeypatch.setattr(process, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    environ = {} if asked is None else {"OMP_NUM_THREADS": asked}
    monkeypatch.setattr(os, "environ", environ)
    process.prepare_process()
    assert environ == {"OMP_NUM_THREADS": threads}
    monkeypatch.setattr(process, "usable_cores", lambda: 64)
    environ.clear()
    process.prepare_process()
    assert environ == {}


@pytest.mark.parametrize(("quiet", "said"), [(True, []), (False, ["Note: of mpg123", "a warning of torch"])])
def test_quiet_holds_for_libraries_too(quiet: bool, said: list[str]) -> None:
    done = python(
        "import os, warnings\n"
        "from ast_cli.cli.options import MessageOptions\n"
        f"screen = MessageOptions(quiet={quiet}).screen()\n"
        "os.write(2, b'Note: of mpg123\\n')\n"
        "warnings.warn('a warning of torch')\n"
        "screen.failure('clip.wav: unreadable')\n",
        PYTHONWARNINGS="default",
    )
    lines = done.stderr.splitlines()
    assert lines[-1] == "ast-tag: clip.wav: unreadable"
    assert all(any(one in line for line in lines) for one in said)
    assert (len(lines) == 1) is quiet


def test_completion_can_be_set_up() -> None:
    out, heavy = heavy_modules(command(), **{COMPLETION: "source_bash"})
    assert COMPLETION in out
    assert heavy == set()


@pytest.mark.parametrize("line", ["tag clip.wav", "explain clip.wav"])
def test_a_model_that_is_not_here_is_told_before_torch_is_loaded(
    line: str, here: Path, hub_cache: Path
) -> None:
    run = command(*line.split(), "--offline")
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))\n{run}"
    done = python(code, HF_HUB_CACHE=str(hub_cache))
    assert (done.returncode, done.stdout) == (ExitCode.CANNOT_RUN, "False\n")
    [error] = done.stderr.splitlines()
    assert "MIT/ast-finetuned-audioset-10-10-0.4593" in error


def test_only_addresses_and_shards_load_what_opens_them(known: str, here: Path) -> None:
    (here / "folder").mkdir()
    (here / "clip.wav").rename(here / "folder" / "clip.wav")
    modules = {"fsspec", "s3fs", "aiohttp", "pyarrow", "tarfile", "gcsfs"}
    code = f"{command('folder', '-m', known, '--format', 'csv')}"
    report = "import sys; print(sorted(MODULES & {*sys.modules}), file=sys.stderr)".replace(
        "MODULES", repr(modules)
    )
    done = python(f"import atexit; atexit.register(lambda: exec({report!r}))\n{code}")
    assert done.stdout.startswith("file,")
    assert done.stderr.splitlines()[-1] in ("[]", "['tarfile']")  # which torch may load


def test_the_package_imports_its_public_names_only_when_they_are_used() -> None:
    assert heavy_modules("import ast_cli; dir(ast_cli); ast_cli.__version__") == ("", set())


@pytest.mark.parametrize("name", ast_cli.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(ast_cli, name).__name__ == name
    assert name in dir(ast_cli)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'ast_cli' has no attribute 'Tager'"):
        ast_cli.Tager  # noqa: B018


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ast_cli", "--version"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    try:
        torchaudio = version("torchaudio")
    except PackageNotFoundError:
        torchaudio = "not installed"
    assert (
        done.stdout == f"ast-tag {ast_cli.__version__} (torch {version('torch')}, torchaudio {torchaudio})\n"
    )


def test_the_version_says_that_a_package_is_not_installed() -> None:
    done = python(
        "import importlib.metadata as metadata\n"
        "def version(package): raise metadata.PackageNotFoundError(package)\n"
        f"metadata.version = version\n{command('--version')}"
    )
    assert done.stdout == f"ast-tag {ast_cli.__version__} (torch not installed, torchaudio not installed)\n"


def test_torchaudio_is_imported_in_one_place_which_only_comparisons_use() -> None:
    importing = re.compile(r"^\s*(import|from) torchaudio\b", re.MULTILINE)
    package = ROOT / "ast_cli"
    sources = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    assert [name for name, source in sources.items() if importing.search(source)] == ["reference.py"]
    users = {name.partition("/")[0] for name, source in sources.items() if "ast_cli.reference" in source}
    assert users == {"bench", "checks"}


def test_recordings_are_tagged_alike_where_torchaudio_does_not_load(
    here: Path, broken_torchaudio: str
) -> None:
    line = ("clip.wav", "long.wav", "--model", "tiny", "--top-k", "0", "--format", "tsv")
    done = in_a_process(*line, env={"PYTHONPATH": broken_torchaudio})
    assert done.code == 0
    assert done.out == in_a_process(*line).out
    assert "torchaudio" not in done.err
