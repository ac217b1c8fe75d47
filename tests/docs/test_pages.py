"""What the pages for developers, and the links of all pages, point at is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runner import ROOT
from tests.test_architecture import LAYERS

ARCHITECTURE = ROOT / "docs" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
TOOLS = ROOT / "tools" / "README.md"
PAGES = (ARCHITECTURE, CONTRIBUTING, TOOLS, ROOT / "README.md", ROOT / "examples" / "cluster" / "README.md")
SUFFIXES = r"(?:py|md|toml|txt|json|png|sh|tsv)"
STANDS_FOR_ANY = "NAME"  # in a path of a recipe
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named_paths(page: Path) -> Iterator[str]:
    """What stands in backticks and looks like a file or folder of ours."""
    for name in re.findall(
        rf"`([\w./-]+\.{SUFFIXES}|[\w.-]+(?:/[\w.-]+)*/|(?:ast_cli|tests)/[\w/]+)`", text_of(page)
    ):
        if STANDS_FOR_ANY not in name and name != "dist/":  # which building makes
            yield name


def anchors(page: Path) -> set[str]:
    """What a link may name of a page: its headings as they are shown on the web."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def tables(page: Path) -> list[list[str]]:
    """The rows of its tables, cell by cell, without those of dashes."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text_of(page).splitlines()
        if line.startswith("|")
    ]
    return [row for row in rows if set("".join(row)) != {"-"}]


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING, TOOLS], ids=lambda page: page.name)
def test_every_path_that_is_named_is_there(page: Path) -> None:
    paths = {*named_paths(page)}
    assert len(paths) > 10
    places = (ROOT, ROOT / "ast_cli", page.parent)
    assert [name for name in paths if not any((place / name).exists() for place in places)] == []


@each_page
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_architecture_names_every_part() -> None:
    named = [name for row in tables(ARCHITECTURE)[1:] for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(part for parts in LAYERS for part in parts)


WALK = [row for row in tables(CONTRIBUTING) if len(row) == 4][1:]


@pytest.mark.parametrize(
    ("what", "path", "name"), [(row[0], row[2].strip("`"), row[3].strip("`")) for row in WALK]
)
def test_what_is_said_to_be_somewhere_is_there(what: str, path: str, name: str) -> None:
    assert name in text_of(ROOT / path), f"{what} is no longer in {path}"


def test_the_walk_leads_to_what_newcomers_look_for() -> None:
    wanted = (
        "the mel filters",
        "the sinc filter",
        "the CUDA graph",
        "the SpecAugment masks",
        "the exit codes",
    )
    assert {*wanted, "the resume journal", "Raven's columns"} <= {row[0] for row in WALK}


def test_tools_are_all_in_their_table() -> None:
    listed = " ".join(row[0] for row in tables(TOOLS))
    tools = [one.name for one in (ROOT / "tools").iterdir() if one.name[0] not in "._"]
    assert [one for one in sorted(tools) if one not in listed and one != "README.md"] == []


def test_no_page_names_a_home_that_is_not_there() -> None:
    """The project has no public address yet: one that somebody made up leads nowhere, or to somebody else."""
    for page in PAGES:
        assert not re.search(r"(?:github|gitlab)\.com/ast-|example\.(?:com|org)", text_of(page)), page
