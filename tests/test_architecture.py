"""Imports run one way, as the table in `docs/architecture.md` says."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from structure import functions, imported_parts, layers, part_of  # noqa: E402

PACKAGE = ROOT / "ast_cli"
LONGEST_MODULE = 420
LONGEST_FUNCTION = 120


def block(kind: str) -> list[str]:
    """The lines of the page's block of this kind."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return found.splitlines()


LAYERS = [line.split() for line in block("layers")]
LIMITS = {part: set(known.split()) for part, known in (line.split(":") for line in block("limits"))}
PLACE = {part: place for place, parts in enumerate(LAYERS) for part in parts}
MODULES = sorted(PACKAGE.rglob("*.py"))
every_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import torch, ast_cli.networks", ["networks"]),
        ("from ast_cli.audio.decode import open_recording", ["audio"]),
        ("from ast_cli import Tagger, __version__, audio", ["Tagger", "audio"]),
        ("def f():\n    from ast_cli.tagger import Tagger", ["tagger"]),
        ("if TYPE_CHECKING:\n    from ast_cli.cli import app", ["cli"]),
        ("from .hub import fetch", ["(relative)"]),
        ("from ast_clip import wrong\nimport ast", []),
    ],
)
def test_every_way_of_importing_is_seen(source: str, parts: list[str]) -> None:
    assert list(imported_parts(source)) == parts


def test_every_part_has_its_place() -> None:
    assert sorted(PLACE) == sorted({part_of(module, PACKAGE) for module in MODULES} - {"__init__"})


@every_module
def test_imports_run_one_way(module: Path) -> None:
    if module == PACKAGE / "__init__.py":
        return  # the table of public names leads everywhere, but imports only what is asked for
    own = part_of(module, PACKAGE)
    for part in set(imported_parts(module.read_text(encoding="utf-8"))) - {own}:
        assert part in PLACE, f"{part} is no module: import from where it is defined"
        assert PLACE[part] < PLACE[own], f"{own} may not import {part}"


@every_module
def test_parts_know_no_more_than_the_page_says(module: Path) -> None:
    own = part_of(module, PACKAGE)
    if own in LIMITS:
        assert set(imported_parts(module.read_text(encoding="utf-8"))) <= {own, *LIMITS[own]}


@every_module
def test_every_module_says_what_it_is_for_and_can_be_read_in_one_sitting(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= LONGEST_MODULE


def test_every_function_can_be_read_at_once() -> None:
    assert [found for found in functions(PACKAGE) if found[0] > LONGEST_FUNCTION] == []


def test_no_module_hides_the_one_of_the_standard_library() -> None:
    assert not {module.stem for module in PACKAGE.glob("*.py")} & set(sys.stdlib_module_names)


def test_imports_run_in_no_circle(tmp_path: Path) -> None:
    assert max(layers(PACKAGE).values()) < len(LAYERS)
    for own, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"{own}.py").write_text(f"from ast_cli.{other} import name")
    with pytest.raises(SystemExit, match="circle among one, two"):
        layers(tmp_path)
