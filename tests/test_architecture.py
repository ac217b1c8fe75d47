"""The way imports run through the rooms, read from the source: one way, and into no neighbour."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ast_cli"
MOST_LINES = 420

# A room may import the rooms of the lines above its own; a folder is one room.
ORDER = """
    errors · names
    allocation · kernels · labels · model_outputs · published · readahead · results
    settings
    hub · outputs
    locate
    layouts
    checkpoint
    config
    selection
    events
    features · model
    aggregate · audio · engines · masking
    batches · clips · decoders · embedding · stored · windows
    flow
    tagger
    bench · cluster · live · training
    views
    doctor · verify
    cli
    __main__
"""

# Rooms that know less than their place allows, as their docstrings promise.
KNOW_ONLY = {
    "allocation": "",
    "kernels": "",
    "labels": "errors",
    "published": "",
    "readahead": "",
    "names": "",
    "results": "errors names",
    "outputs": "errors names results settings",
    "audio": "errors names results",
    "bench": "aggregate audio checkpoint config engines errors features kernels locate published results "
    "selection settings tagger",
    "aggregate": "errors events results selection settings",
    "batches": "errors features results",
    "decoders": "allocation features results",
    "embedding": "aggregate names results settings",
    "events": "labels results settings",
    "cluster": "audio errors names outputs results settings tagger",
    "clips": "audio errors names outputs results settings",
    "stored": "aggregate errors events labels outputs results selection settings",
    "selection": "errors labels results settings",
    "live": "aggregate audio errors events results selection settings tagger windows",
    "views": "audio config engines errors features names outputs results settings stored tagger",
    "model": "checkpoint config errors kernels layouts model_outputs settings",
    "masking": "errors features",
    "model_outputs": "",
}

LINES = [line.strip().split(" · ") for line in ORDER.strip().splitlines()]
PLACE = {room: place for place, rooms in enumerate(LINES) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))
every_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> Iterator[str]:
    """The rooms that a source imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["ast_cli.(relative)"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for _, room in (name.split(".")[:2] for name in names if name.startswith("ast_cli.")):
            if room != "__version__":
                yield room


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import torch, ast_cli.model", ["model"]),
        ("from ast_cli.audio.decode import open_recording", ["audio"]),
        ("from ast_cli import Tagger, __version__, hub", ["Tagger", "hub"]),
        ("def f():\n    from ast_cli.tagger import Tagger", ["tagger"]),
        ("if TYPE_CHECKING:\n    from ast_cli.cli import app", ["cli"]),
        ("from .hub import fetch", ["(relative)"]),
        ("from ast_clip import wrong\nimport ast", []),
    ],
)
def test_every_way_of_importing_is_seen(source: str, rooms: list[str]) -> None:
    assert list(imported_rooms(source)) == rooms


def test_every_room_has_its_place() -> None:
    rooms = [room for line in LINES for room in line]
    assert sorted(rooms) == sorted({room_of(module) for module in MODULES} - {"__init__"})


@every_module
def test_imports_run_one_way(module: Path) -> None:
    if module == PACKAGE / "__init__.py":
        return  # the table of public names leads everywhere, but imports only what is asked for
    own = room_of(module)
    for room in set(imported_rooms(module.read_text(encoding="utf-8"))) - {own}:
        assert room in PLACE, f"{room} is no room: import from where it is defined"
        assert PLACE[room] < PLACE[own], f"{own} may not import {room}"


@every_module
def test_rooms_know_no_more_than_they_promise(module: Path) -> None:
    own = room_of(module)
    if own in KNOW_ONLY:
        assert set(imported_rooms(module.read_text(encoding="utf-8"))) <= {own, *KNOW_ONLY[own].split()}


@every_module
def test_every_module_says_what_it_is_for_and_can_be_read_in_one_sitting(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= MOST_LINES


def test_no_module_hides_the_one_of_the_standard_library() -> None:
    assert "ast.py" not in {module.name for module in MODULES}
