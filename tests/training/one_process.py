"""One process of a run that `test_processes.py` starts: FOLDER BATCH_SIZE CLIPS DIES_AFTER [resume]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from ast_cli.training.settings import TrainSettings
from tests.training.practice import Drawn, Looking, nano, trainer


def main(folder: Path, batch_size: int, clips: int, dies_after: int, resume: bool) -> None:
    def validate(scores: Tensor, targets: Tensor) -> dict[str, float]:
        torch.save((scores, targets), folder / f"scores-{running.accelerator.process_index}.pt")
        if running.step == dies_after:
            os._exit(9)  # as a signal ends it: nothing is tidied up
        return {"accuracy": 0.5}

    settings = TrainSettings(
        epochs=2,
        batch_size=batch_size,
        lr=1e-3,
        optimizer="adamw",
        ema=0.9,
        dtype="float32",  # whose rounding is finer than what is compared
        save_minutes=0,
    )
    watcher = Looking()
    running = trainer(
        folder,
        settings,
        Drawn(clips, failing=[3]),
        nano(),
        validation=Drawn(7, failing=[5]),
        validate=validate,
        watcher=watcher,
    )
    outcome = running.run(resume=resume)
    if running.accelerator.is_main_process:
        torch.save(
            {
                "weights": running._classifier().state_dict(),
                "average": running._candidate().state_dict(),
                "steps": outcome.steps,
                "clips": outcome.clips,
                "failed": sorted(outcome.failed),
            },
            folder / "end.pt",
        )
    running.accelerator.wait_for_everyone()
    running.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), resume="resume" in sys.argv)
