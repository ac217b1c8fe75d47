"""A user whom the system does not know: a container may run under any user id."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from ast_cli.cli.user import settle_user
from tests.cli.runner import in_a_process
from tests.training.practice import save_tones

pwd = pytest.importorskip("pwd", reason="users without a name are a matter of POSIX")
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME")
NOBODY = """
import os, pwd
def unknown(uid): raise KeyError(f"uid not found: {{uid}}")
pwd.getpwuid = unknown
for name in {names}: os.environ.pop(name, None)
"""


def test_a_user_without_name_and_home_gets_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in NAMES:
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    settle_user()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    home = Path.home()
    assert (home.parent, home.stat().st_mode & 0o777) == (tmp_path, 0o700)
    settle_user()
    assert Path.home() == home


def test_a_user_without_name_on_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", unknown)
    monkeypatch.setenv("LOGNAME", "to be put back")
    settle_user()
    assert os.environ["LOGNAME"] == f"uid-{os.getuid()}"


def test_who_has_a_name_and_a_home_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    settle_user()
    assert dict(os.environ) == before


@pytest.mark.slow
def test_finetune_of_nobody(tmp_path: Path) -> None:
    """torch asks for the user's name when the first optimizer is made."""
    tones = save_tones(tmp_path / "tones", clips=2)
    options = ("--from-scratch", "--epochs", "1", "--device", "cpu")
    before = NOBODY.format(names=NAMES)
    told = in_a_process(
        "finetune", tones, "--out", tmp_path / "out", *options, before=before, env={"TMPDIR": str(tmp_path)}
    )
    assert told.code == 0, told.err
