"""Runs commands of `ast-tag` and Python scripts in this one process, so that torch is loaded once.

python -m tests.docs.driver

Takes lines of JSON on standard input and answers each with one; see `test_readme.Driver`.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ast_cli.checkpoints import locate
from ast_cli.cli.app import app


def command(arguments: list[str], stdin: str) -> dict[str, Any]:
    """What `ast-tag` does; an exception that a user would see as a traceback is raised."""
    result = CliRunner().invoke(app, arguments, input=stdin.encode("latin-1"))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return {"code": result.exit_code, "out": result.stdout_bytes.decode("latin-1"), "err": result.stderr}


def script(arguments: list[str]) -> dict[str, Any]:
    """What a Python script does."""
    sys.argv = arguments
    with redirect_stdout(io.StringIO()) as out:
        runpy.run_path(arguments[0], run_name="__main__")
    return {"code": 0, "out": out.getvalue().encode().decode("latin-1"), "err": ""}


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        asked = json.loads(line)
        locate.BUILT_IN = Path(asked["built_in"])
        name, *arguments = asked["words"]
        answer = command(arguments, asked["stdin"]) if name == "ast-tag" else script(arguments)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
