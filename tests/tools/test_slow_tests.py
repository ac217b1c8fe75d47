"""Which slow tests a change concerns: the table has every file with some, and names paths that are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import ROOT
from tools.slow_tests import COVERS, slow_tests

TESTS = ROOT / "tests"
ELSEWHERE = {"tests/gpu/test_cuda.py"}  # run where there is a GPU, whatever changed


def test_every_file_with_slow_tests_is_known() -> None:
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in TESTS.rglob("test_*.py")
        if re.search(r"mark\.slow\b", path.read_text(encoding="utf-8"))
    }
    assert marked - ELSEWHERE - {Path(__file__).relative_to(ROOT).as_posix()} == COVERS.keys()


@pytest.mark.parametrize("file", COVERS)
def test_what_they_cover_is_there(file: str) -> None:
    for prefix in COVERS[file]:
        assert [*ROOT.glob(f"{prefix}*")], prefix


def test_a_change_concerns_those_that_cover_it_and_a_test_itself() -> None:
    assert slow_tests(["docs/architecture.md", "ast_cli/names.py"]) == {}
    assert slow_tests(["ast_cli/explain/heat.py"]) == {
        "tests/explain/test_explain.py": "ast_cli/explain/heat.py"
    }
    assert [*slow_tests(["tests/tools/test_plan.py"])] == ["tests/tools/test_plan.py"]


def test_changes_are_counted_from_the_commit_that_is_named(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    script = tmp_path / "tools" / "slow_tests.py"
    script.parent.mkdir()
    script.write_bytes((ROOT / "tools" / "slow_tests.py").read_bytes())
    readme = tmp_path / "README.md"

    def printed() -> str:
        command = [sys.executable, script]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "--initial-branch=main")
    readme.write_text("one")
    git("add", "--all")
    git("commit", "--message=one")
    assert printed() == ""  # there is no commit before it
    readme.write_text("two")
    git("commit", "--all", "--message=two")
    assert printed() == "tests/docs/test_readme.py\n"
    git("checkout", "-b", "branch")
    (tmp_path / "other").write_text("")
    git("add", "--all")
    git("commit", "--message=three")
    assert printed() == ""
