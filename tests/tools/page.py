"""What PLAN.md shows."""

from __future__ import annotations

from tests.tools import CLUSTER

PLAN = (CLUSTER / "PLAN.md").read_text(encoding="utf-8")


def rows(after: str) -> list[list[str]]:
    """The cells of the first table behind a text that stands there once."""
    _, behind = PLAN.split(after)
    table = next(part for part in behind.split("\n\n") if part.startswith("|"))
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()[2:]]
