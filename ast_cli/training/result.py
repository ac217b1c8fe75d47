"""What a run of training tells: while it goes on, and in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class Watcher(Protocol):
    """Who looks on."""

    def on_step(self, row: dict[str, Any], steps: int) -> None:
        """A step is done; `row` is what the log would hold."""
        ...

    def on_validation(self, row: dict[str, Any]) -> None:
        """An epoch is validated."""
        ...

    def on_failed(self, file: str, cause: str) -> None:
        """A clip could not be read and was skipped."""
        ...


@dataclass
class TrainingResult:
    """What a run came to.

    Attributes:
        validation: The metrics of the network that was kept, with its epoch and step.
        steps: Done in all.
        clips: Examples seen in all.
        seconds: Spent in training, over all its interruptions.
        failed: Clips that could not be read, with the cause.
        stopped_early: Whether patience ran out.
    """

    validation: dict[str, Any]
    steps: int
    clips: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)
    stopped_early: bool = False
