"""Packages of extras, and those that only tests need: imported where a test first uses them."""

from __future__ import annotations

from typing import Any

import pytest


class Extra:
    """A module by name. A test that uses it where it is not installed is skipped, and says so.

    Nothing is imported while tests are collected: a run of one file takes no time for what the others need.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(("_", "pytest")):  # pytest asks whether it is a fixture or a test
            raise AttributeError(attribute)
        reason = f"{self._name.partition('.')[0]} is not installed"
        module = pytest.importorskip(self._name, reason=reason, exc_type=ImportError)
        return getattr(module, attribute)
