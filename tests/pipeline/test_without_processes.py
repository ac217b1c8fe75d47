"""Where the system has no processes to decode in, threads do it."""

from __future__ import annotations

import os

import pytest

from ast_cli.pipeline.decoders import Decoders
from tests.made_up import made_up


def test_threads_decode_and_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    notices: list[str] = []
    decoders = Decoders(made_up, after=0, on_notice=notices.append)
    for name in ("1", "2"):
        assert ("process", os.getpid()) in [*decoders.items(name)]
    decoders.close()
    [notice] = notices
    assert notice == (
        "no more decoding processes can be started (this system cannot hand memory on): threads decode, "
        "which may be slower"
    )
