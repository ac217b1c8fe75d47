"""What becomes of inputs that are no recordings, or lead elsewhere, as the command tells it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.runner import ast_tag
from tests.stores import clip, save_parquet


def test_what_a_walk_passes_over_is_told(known: str, here: Path) -> None:
    for name in ("a.jpg", "b.JPG", "sub/c.txt", "LICENSE", ".hidden.txt"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    done = ast_tag(".", "--model", known)
    assert "passed over 4 files of other kinds: .jpg 2, " in done.err
    assert done.errors[-1].startswith("3 inputs: 2 tagged, 1 failed")
    assert "passed over" not in ast_tag("clip.wav", "--model", known).err
    assert "passed over" not in ast_tag(".", "--model", known, "--quiet").err


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/a.wav", "-", "clip.wav"])
def test_a_parquet_leads_nowhere(path: str, known: str, here: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    save_parquet(here / "evil.parquet", [{"bytes": None, "path": path}, {"bytes": clip(1), "path": "b.wav"}])
    done = ast_tag("evil.parquet", "--model", known, "--offline", stdin=clip(2))
    assert done.code == 1
    assert "not-found: the row holds no audio" in done.err
    assert done.errors[-1].startswith("2 inputs: 1 tagged, 1 failed")


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX")
def test_standard_input_that_has_no_room_is_no_fault_of_ours(
    known: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/nowhere")
    done = ast_tag("-", "--model", known, stdin=clip(2))
    assert done.code == 1
    assert "TMPDIR" in done.err
    assert "internal-error" not in done.err


def test_a_list_in_utf_16_is_a_mistake_that_is_told(known: str, here: Path) -> None:
    (here / "list.txt").write_text("clip.wav\r\n", encoding="utf-16")
    done = ast_tag("--files-from", "list.txt", "--model", known)
    assert done.code == 2
    assert "UTF-16" in done.err
