"""What the steps share: their arguments, the machine, and JSON written whole after each measurement."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHECKPOINT, WAV, MIXED, FEW = "checkpoint", "wav", "mixed", "few"  # in the scratch folder


@dataclass(frozen=True)
class Step:
    """What a step is asked for."""

    name: str
    out: Path
    scratch: Path
    dry: bool

    @classmethod
    def from_arguments(cls, name: str) -> Step:
        """Read the command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--out", required=True, type=Path)
        parser.add_argument("--scratch", required=True, type=Path)
        parser.add_argument("--dry", action="store_true")
        asked = parser.parse_args()
        return cls(name, asked.out, asked.scratch, asked.dry)

    @property
    def device(self) -> str:
        """Where networks run."""
        return "cpu" if self.dry else "cuda"

    @property
    def dtype(self) -> str:
        """The number format of the network in the flow."""
        return "float32" if self.dry else "float16"

    def write(self, **results: Any) -> None:
        """Write what is known so far; called after each measurement, as the next may not end in time."""
        write_json(
            self.out / f"{self.name}.json", {"dry": self.dry, "machine": machine(self.device)} | results
        )

    def recordings(self, folder: str) -> list[str]:
        """The recordings of a folder that `prepare` made."""
        return [str(path) for path in sorted((self.scratch / folder).iterdir())]


def machine(device: str) -> dict[str, Any]:
    """What the figures are of."""
    import torch

    from ast_cli.bench.machine import Machine

    return asdict(Machine.describe(torch.device(device))) | {"time": time.strftime("%Y-%m-%d %H:%M:%S")}


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a file by this content."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=1, default=str))
    beside.replace(path)
