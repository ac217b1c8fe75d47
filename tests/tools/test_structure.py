"""The figures of how a package is built, of one that is small enough to count by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import ROOT
from tools.structure import functions, layers, module_imports, part_imports

SCRIPT = ROOT / "tools" / "structure.py"
SOURCES = {
    "__init__": "from ast_cli.top import run",
    "low": "import os\n",
    "middle/__init__": "",
    "middle/one": "from ast_cli import __version__, low\nfrom ast_cli.middle import two",
    "middle/two": "def f():\n    import ast_cli.low\n\n    return ast_cli.low",
    "top": "from ast_cli.middle.one import a, b\nfrom ast_cli.low import c\n\n\ndef run():\n    pass",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "ast_cli"
    for name, source in SOURCES.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder


def test_imports_and_layers(package: Path) -> None:
    assert part_imports(package) == {"low": set(), "middle": {"low"}, "top": {"low", "middle"}}
    assert layers(package) == {"low": 0, "middle": 1, "top": 2}


def test_imports_between_modules_name_files(package: Path) -> None:
    named = {
        (one.relative_to(package).as_posix(), other.relative_to(package).as_posix())
        for one, other in module_imports(package)
    }
    assert named == {
        ("__init__.py", "top.py"),
        ("middle/one.py", "__init__.py"),
        ("middle/one.py", "low.py"),
        ("middle/one.py", "middle/two.py"),
        ("middle/two.py", "low.py"),
        ("top.py", "low.py"),
        ("top.py", "middle/one.py"),
    }


def test_functions_are_measured(package: Path) -> None:
    assert sorted(functions(package)) == [(2, "top.py:run"), (4, "middle/two.py:f")]


def test_what_is_printed(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, package, "--arrows"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "modules\t6",
        "lines\t14",
        "modules at the top level\t3",
        "packages at the top level\t1",
        "parts\t3",
        "layers\t3",
        "imports between parts\t3",
        "imports between modules\t7",
        "longest functions\t4\tmiddle/two.py:f",
        "longest functions\t2\ttop.py:run",
        " 0 low: ",
        " 1 middle: low",
        " 2 top: low middle",
    ]


def test_a_reader_that_leaves_early_gets_no_traceback(package: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, SCRIPT, package], stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert done.stderr == b""
