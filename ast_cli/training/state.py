"""What a run of training tells and keeps: its log, and the one file that it goes on from when cut off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from ast_cli.checkpoints.checkpoint import replacing_weights
from ast_cli.errors import CheckpointError, OutputError
from ast_cli.text import first_line

STATE_FILE = "resume.pt"
LOG_FILE = "log.jsonl"


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


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run; the one before stays until this one is complete, or OutputError is raised."""
    with replacing_weights(folder / STATE_FILE) as part:
        torch.save(dict(state), part)


def load_state(folder: Path) -> dict[str, Any] | None:
    """The state that was saved last, on the CPU; None if none was, CheckpointError if it is damaged."""
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"cannot read {path}: {first_line(error)}",
            "Remove it and start anew without --resume",
        ) from error
    return state


class Log:
    """The run's history, one JSON object a line; a run that goes on drops what came after its state.

    The state's are `upto_step`, and `upto_epoch`, the epochs that were validated before it was saved.
    """

    def __init__(self, folder: Path, upto_step: int, upto_epoch: int) -> None:
        self.path = folder / LOG_FILE
        self.rows = [
            row
            for row in read_log(folder)
            if row["step"] <= upto_step and not ("validation" in row and row["epoch"] > upto_epoch)
        ]
        with replacing_weights(self.path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, which is in the file before this returns; raises OutputError if it cannot be."""
        self.rows.append(dict(row))
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}", "Free some space") from error


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log; a last line that was cut off is left out."""
    path = folder / LOG_FILE
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows
