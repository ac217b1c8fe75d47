"""Runs the command: in this process where that tells as much, else in one of its own, as a shell does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer.testing
from typer.testing import CliRunner

from ast_cli.cli.app import app

ROOT = Path(__file__).parents[2]
# What would make rich and Typer draw for a terminal, or for one of another width.
TERMINALS = (
    "FORCE_COLOR",
    "PY_COLORS",
    "GITHUB_ACTIONS",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "NO_COLOR",
    "COLUMNS",
)
# Typer builds the command with all below it for each run, which takes longer than many a test.
typer.testing._get_command = cache(typer.testing._get_command)
WITHOUT_POSIX = "tests.without_posix"
MAIN = "from ast_cli.cli.app import main; main()"


@dataclass(frozen=True)
class Done:
    """What a run left behind; the closing line of a single input, which tells its speed, stands apart."""

    code: int
    out: str
    err: str
    closing: str = field(default="", compare=False)

    @classmethod
    def of(cls, code: int, out: str, err: str) -> Done:
        rest, closing = err, ""
        if match := re.search(r"^1 (input|recording): .*\n\Z", err, re.MULTILINE):
            rest, closing = err[: match.start()], match[0].strip()
        return cls(code, out, rest, closing)

    @property
    def errors(self) -> list[str]:
        return self.err.splitlines()

    def one_line(self) -> str:
        """All there is on stderr, which must be one line."""
        [line] = self.errors
        return line


def ast_tag(*args: str | Path, stdin: bytes = b"") -> Done:
    """Run it here; an exception that a user would see as a traceback is raised."""
    result = CliRunner().invoke(app, [*map(str, args)], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done.of(result.exit_code, result.stdout_bytes.decode("utf-8"), result.stderr)


def environment(**more: str) -> dict[str, str]:
    """For a process of its own: ours, without what depends on who runs the tests."""
    ours = {name: value for name, value in os.environ.items() if name not in TERMINALS}
    return ours | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TERM": "dumb"} | more


def start(
    *args: str | Path, before: str = "", env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start it on its own, after the Python statement `before`."""
    if WITHOUT_POSIX in sys.modules:
        before = f"import {WITHOUT_POSIX}; {before}"
    code = f"import sys; sys.argv[0] = 'ast-tag'; {before}\n{MAIN}"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], env=environment(**env or {}), **pipes | options
    )


def in_a_process(*args: str | Path, stdin: bytes = b"", **options: Any) -> Done:
    """Run it on its own to its end."""
    with start(*args, **options) as process:
        out, err = process.communicate(stdin, timeout=120)
    return Done.of(process.returncode, (out or b"").decode(), (err or b"").decode())
