"""The Python package as others see it: what it exports, its types, its metadata."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import ast_cli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ast_cli"
EXPORTED = {
    *("Tagger", "TagSettings", "EventSettings", "FileResult", "FileFailure", "Embedding", "Listener"),
    *("AstCliError", "InputError"),
    *("ASTConfig", "ASTFeatureExtractor", "ASTModel", "ASTForAudioClassification"),
}


def typed_parts(name: str) -> Iterator[Any]:
    """An exported class, and every public function that it defines or inherits from another class of ours."""
    exported = getattr(ast_cli, name)
    yield exported
    for base in exported.__mro__:
        if not base.__module__.startswith("ast_cli"):
            continue
        for attribute, value in vars(base).items():
            if attribute.startswith("_") and attribute not in ("__init__", "__call__"):
                continue
            if isinstance(value, property):
                yield value.fget
            elif inspect.isfunction(function := inspect.unwrap(getattr(value, "__func__", value))):
                yield function


def test_what_is_exported() -> None:
    assert set(ast_cli.__all__) == EXPORTED
    assert len(ast_cli.__all__) == len(EXPORTED)


def test_type_checkers_see_what_is_imported_when_first_used() -> None:
    """The names that `__getattr__` finds stand a second time in the file, for those who do not run it."""
    imports = {}
    for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ast_cli."):
            for alias in node.names:
                assert alias.asname == alias.name, "only `X as X` is exported for a type checker"
                imports[alias.name] = node.module
    assert imports == {name: f"ast_cli.{module}" for name, module in ast_cli._MODULES.items()}


def test_everything_can_be_imported_at_once() -> None:
    names: dict[str, Any] = {}
    exec("from ast_cli import *", names)
    assert set(names) - {"__builtins__"} == EXPORTED


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_the_types_of_what_is_exported_can_be_looked_up(name: str) -> None:
    for part in typed_parts(name):
        assert isinstance(get_type_hints(part), dict), part


def test_settings_and_errors_are_there_without_torch() -> None:
    light = ("TagSettings", "EventSettings", "AstCliError", "InputError")
    code = f"import ast_cli, sys; [getattr(ast_cli, name) for name in {light}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "ast_cli.errors" in done.stdout.split()
    assert not {"torch", "numpy", "soundfile"} & set(done.stdout.split())


def test_an_error_of_one_recording_is_one_of_ours() -> None:
    assert issubclass(ast_cli.InputError, ast_cli.AstCliError)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").read_bytes() == b""  # PEP 561: empty means that all of it is


def test_the_metadata_name_the_supported_versions_of_python() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    named = re.findall(r'^    "Programming Language :: Python :: 3\.(\d+)",$', project, re.MULTILINE)
    assert named == ["10", "11", "12", "13"]
    assert f'requires-python = ">=3.{named[0]}"' in project
