"""What is asked of the C library, which stands aside: its newer and older versions take different numbers."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from ast_cli.allocation import M_MMAP_THRESHOLD, keep_memory


@pytest.mark.parametrize(("most", "taken"), [(1 << 30, 1 << 30), (1 << 25, 1 << 25)], ids=["new", "old"])
def test_freed_memory_is_kept_by_every_glibc(most: int, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: dict[int, int] = {}

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            if parameter == M_MMAP_THRESHOLD and value > most:
                return 0
            set_to[parameter] = value
            return 1

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.28"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    keep_memory.__wrapped__()
    assert set_to[M_MMAP_THRESHOLD] == taken


def test_only_processes_of_our_own_ask_for_it() -> None:
    """The memory of a program that imports `Tagger` is that program's business."""
    package = Path(__file__).parents[1] / "ast_cli"
    asking = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "keep_memory()" in path.read_text(encoding="utf-8")
    }
    assert asking == {"allocation.py", "cli/process.py", "cluster/worker.py", "pipeline/decoders.py"}
