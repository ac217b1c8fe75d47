"""Which way is taken on which processor, as it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ast_cli.networks import processor

INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\n"
AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("cpuinfo", "capability", "attention", "onednn"),
    [
        (AMD, "AVX512", "heads", True),
        (AMD, "AVX2", "sdpa", True),
        (INTEL, "AVX512", "sdpa", False),
        (INTEL, "AVX2", "sdpa", False),
        (ARM, "DEFAULT", "sdpa", False),
    ],
)
def test_the_fastest_way_follows_the_processor(
    cpuinfo: str, capability: str, attention: str, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, **_: cpuinfo)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    processor.is_amd.cache_clear()
    try:
        assert processor.fastest_attention() == attention
        assert processor.products_want_onednn() is onednn
    finally:
        processor.is_amd.cache_clear()


@pytest.mark.parametrize(
    ("name", "amd"), [("AMD64 Family 25, AuthenticAMD", True), ("arm", False), ("", False)]
)
def test_without_linux_the_system_names_the_processor(
    name: str, amd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: Path, **_: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(processor.platform, "processor", lambda: name)
    processor.is_amd.cache_clear()
    try:
        assert processor.is_amd() is amd
    finally:
        processor.is_amd.cache_clear()
