"""What `tests/without_posix.py` hides, and that the command starts without it; see `make test-portable`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import environment


def without_posix(code: str, *args: str) -> str:
    """What code prints where only our own modules lack what POSIX has."""
    done = subprocess.run(
        [sys.executable, "-c", f"import tests.without_posix\n{code}", *args],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ours_lacks_what_others_have(tmp_path: Path) -> None:
    package = tmp_path / "ast_cli"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, os.path, signal\n"
        "from os.path import join\n"
        "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None\n"
        "seen = [hasattr(os, 'fork'), hasattr(signal, 'SIGHUP'), fcntl, os.path.join is join, os.sep]\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport ast_cli, os, fcntl; print(ast_cli.seen)"
    )
    assert without_posix(code + "; os.fork") == f"{[False, False, None, True, '/']}\n"


@pytest.mark.parametrize(("words", "said"), [("--help", "doctor"), ("labels dog", "/m/0bt9lr")])
def test_the_command_starts(words: str, said: str) -> None:
    code = "import sys; sys.argv[0] = 'ast-tag'; from ast_cli.cli.app import main; main()"
    assert said in without_posix(code, *words.split())
