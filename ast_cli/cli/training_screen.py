"""What a person sees on stderr while a network is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ast_cli.checkpoints.published import BUILT_IN_IDS
from ast_cli.cli.screen import stderr
from ast_cli.text import clock, one_line

if TYPE_CHECKING:
    from ast_cli.training.datasets import Dataset
    from ast_cli.training.loop import Trainer
    from ast_cli.training.state import TrainingResult

FEW = 3  # names in a warning
ESTIMATED_OVER = 600.0  # seconds whose steps tell how long the rest takes: one may take a minute


class TrainingScreen:
    """Says on stderr how the training goes."""

    def __init__(self, *, quiet: bool, mute: bool) -> None:
        self._console = stderr()
        self._quiet = quiet or mute
        self._mute = mute
        self._bar: Progress | None = None

    def say_data(self, training: Dataset, validation: Dataset) -> None:
        """What there is, and what is odd about it."""
        kind = "multi-label" if training.multi_label else "single-label"
        self.say(
            f"{len(training.clips)} clips to learn {len(training.labels)} classes from ({kind}), "
            f"{len(validation.clips)} to validate on"
        )
        counts = training.counts
        missing = [*training.missing, *(name for name in validation.missing if name not in training.missing)]
        for what, names in (
            ("files that are missing", missing),
            ("folders without a recording, which are no classes", training.empty),
            ("classes with no clip to learn from", _having(training, counts, 0)),
            ("classes with a single clip", _having(training, counts, 1)),
        ):
            if names:
                shown = ", ".join(names[:FEW]) + (" and more" if len(names) > FEW else "")
                self.warn(f"{what}: {len(names):,}, namely {shown}")

    @contextmanager
    def progress(self) -> Iterator[None]:
        """A bar while the block runs, on a terminal only."""
        if self._quiet or not self._console.is_terminal:
            yield
            return
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f} · {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=ESTIMATED_OVER,
        )
        self._task = self._bar.add_task("", total=None, epoch=1, loss=float("nan"), rate="")
        with self._bar:
            yield
        self._bar = None

    def say_outcome(self, outcome: TrainingResult, folder: Path) -> None:
        """What came of it, and how to use it."""
        row = outcome.validation
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in row["validation"].items())
        early = ", stopped early" if outcome.stopped_early else ""
        failed = f"; clips that could not be read: {len(outcome.failed):,}" if outcome.failed else ""
        self.say(
            f"{outcome.clips} clips in {clock(outcome.seconds)}{early}; kept epoch {row['epoch']}: "
            f"{metrics}{failed}"
        )
        name = f"./{folder}" if str(folder) in BUILT_IN_IDS else folder
        self.say(f"ast-tag FILE --model {name}")

    def say_interrupted(self, trainer: Trainer | None, folder: Path) -> None:
        """What is done, where it is kept, and how to go on."""
        if trainer is None or trainer.saved_step is None:
            self.say("nothing is learned yet: start anew with the same command")
            return
        best = f", with the checkpoint of epoch {trainer.best['epoch']}" if trainer.best else ""
        self.say(
            f"{trainer.saved_step} of {trainer.steps} steps are done and kept in {folder}{best}; "
            "the same command with --resume goes on"
        )

    def on_step(self, row: dict[str, Any], steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                total=steps,
                completed=row["step"],
                epoch=row["epoch"],
                loss=row["loss"],
                rate=f"{row['clips_per_second']:,g} clips/s",
            )

    def on_validation(self, row: dict[str, Any]) -> None:
        """One line an epoch."""
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in row["validation"].items())
        self.say(f"epoch {row['epoch']}: {metrics}")

    def on_failed(self, file: str, cause: str) -> None:
        """Name a clip that was skipped."""
        self.warn(f"skipped {file}: {cause}")

    def say(self, message: str) -> None:
        """A line, unless --quiet."""
        if not self._quiet:
            self._console.print(Text(one_line(message)))

    def warn(self, message: str) -> None:
        """A line in any case, but once where several processes run."""
        if not self._mute:
            self._console.print(Text(one_line(f"ast-tag: warning: {message}"), "yellow"))


def _having(data: Dataset, counts: tuple[int, ...], count: int) -> list[str]:
    return [name for name, number in zip(data.labels, counts, strict=True) if number == count]
