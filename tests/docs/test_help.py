"""Every `--help` text against the one that was looked at; UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest
from typer.main import get_command

from ast_cli.cli.app import app
from tests.cli.runner import environment
from tests.golden.compare import FOLDER, assert_golden, updating

# What lays the texts out. Another version may lay them out otherwise, and then only their words are compared.
MADE_WITH = "".join(f"{package} {version(package)}\n" for package in ("typer", "rich"))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it, each with the words that lead there."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(get_command(app)))
SHORT = [(), ("tag",), ("models", "pull")]
every_command = pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(("ast-tag", *path)))


# Each text as the command prints it; all in one process, which the first of them wants.
ALL_HELP = """
import json, sys
from typer.testing import CliRunner
from ast_cli.cli.app import app
for arguments in json.load(sys.stdin):
    done = CliRunner().invoke(app, arguments)
    print(json.dumps((done.exit_code, done.stdout, done.stderr)))
"""


@cache
def printed() -> dict[tuple[str, ...], str]:
    """What each command prints of its help, and some of them when asked by the short option."""
    asked = [*((*path, "--help") for path in COMMANDS), *((*path, "-h") for path in SHORT)]
    command = [sys.executable, "-c", ALL_HELP]
    env = environment(COLUMNS="100")
    ran = subprocess.run(
        command, input=json.dumps(asked), env=env, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(code, err) for code, _, err in answers] == [(0, "")] * len(asked)
    return {arguments: out for arguments, (_, out, _) in zip(asked, answers, strict=True)}


def help_text(path: tuple[str, ...]) -> str:
    out = printed()[(*path, "--help")]
    return "".join(f"{line.rstrip()}\n" for line in out.splitlines()).strip("\n") + "\n"


def words(text: str) -> str:
    """A text without its layout: no boxes, no line ends, no markup."""
    return " ".join(re.sub(r"[│╭╮╰╯─|+]|\[/?bold\]", " ", text).split())


def golden_name(path: tuple[str, ...]) -> str:
    return f"help/{'-'.join(('ast-tag', *path))}.txt"


@every_command
def test_help_is_what_it_was(path: tuple[str, ...]) -> None:
    if updating():
        assert_golden("help/made-with", MADE_WITH)
    made_with = (FOLDER / "help/made-with").read_text()
    if made_with != MADE_WITH:
        pytest.skip(f"laid out by {made_with.split()}, here is {MADE_WITH.split()}")
    assert_golden(golden_name(path), help_text(path))


def test_no_help_is_kept_of_what_is_gone() -> None:
    kept = {f"help/{file.name}" for file in (FOLDER / "help").glob("*.txt")}
    assert kept == {golden_name(path) for path in COMMANDS}


@every_command
def test_help_names_every_option_and_what_it_is_for(path: tuple[str, ...]) -> None:
    text = words(help_text(path))
    for parameter in COMMANDS[path].params:
        for option in parameter.opts:
            if option.startswith("-"):
                assert option in text
        assert parameter.help, f"{parameter.name} has no help"
        # Beside it stand other columns, so that its words do not follow each other.
        assert set(words(parameter.help).split()) <= set(text.split())


@every_command
def test_help_begins_with_what_the_command_does(path: tuple[str, ...]) -> None:
    [summary, *_] = COMMANDS[path].help.split("\n\n")
    assert words(summary) in words(help_text(path))


@pytest.mark.parametrize("path", SHORT)
def test_the_short_option_shows_the_same(path: tuple[str, ...]) -> None:
    assert words(printed()[(*path, "-h")]) == words(help_text(path))


@pytest.mark.parametrize("command", ["listen", "clips"])
def test_where_only_events_are_told_the_threshold_is_theirs(command: str) -> None:
    shown = words(help_text((command,)))
    assert "The score at which an event begins" in shown
    assert "none dropped" not in shown
