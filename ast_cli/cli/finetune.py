"""`ast-tag finetune`: labelled recordings in, a checkpoint of one's own out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ast_cli.cli import options
from ast_cli.cli.screen import stderr
from ast_cli.errors import UsageError
from ast_cli.outputs.table import clock
from ast_cli.outputs.text import one_line
from ast_cli.published import DEFAULT_MODEL
from ast_cli.settings import Dtype
from ast_cli.training.extra import require_extra
from ast_cli.training.settings import AugmentationSettings, Optimizer, Schedule, Size, TrainSettings

if TYPE_CHECKING:
    from ast_cli.training.datasets import Dataset
    from ast_cli.training.finetune import Finetuning

DEFAULTS = TrainSettings()
AUGMENT = AugmentationSettings()
HELD_OUT = 0.1

DATA = "The labelled recordings"
START = "The network it starts from"
TRAINING = "How it learns"
CHANCE = "What may happen to a clip"
FEW = 3  # names in a warning


def finetune(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="CSV with the header file,labels; AudioSet's segment CSV; the original AST's JSON; the "
            "folder of ESC-50 or Speech Commands; or a folder for each class.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="The checkpoint's folder.", show_default=False),
    ],
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=DATA,
            help="Where a table's recordings are.",
            show_default="beside it",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=DATA,
            help="What the labels stand for: CSV with index, mid, display_name.",
            show_default="AudioSet's classes",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            rich_help_panel=DATA,
            help="Other recordings to validate on.",
            show_default="the data's own split, else a tenth of each class",
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(metavar="N", rich_help_panel=DATA, help="Validate on this fold, learn from the others."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            rich_help_panel=START,
            help="Hub id, folder, weights file, or the built-in tiny.",
        ),
    ] = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", rich_help_panel=START, help="Start from random weights instead.")
    ] = False,
    size: Annotated[Size, typer.Option(rich_help_panel=START, help="Of a network from scratch.")] = "tiny",
    frames: Annotated[
        int | None,
        typer.Option(
            min=16,
            rich_help_panel=START,
            help="Frames of 10 ms in a window.",
            show_default="what the clips need, at most the checkpoint's",
        ),
    ] = None,
    offline: options.OfflineOption = False,
    epochs: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="Passes over the clips.")
    ] = DEFAULTS.epochs,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", "-b", min=1, rich_help_panel=TRAINING, help="Clips in a forward pass."),
    ] = DEFAULTS.batch_size,
    accumulate: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="Forward passes in a step.")
    ] = DEFAULTS.accumulate,
    lr: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=TRAINING,
            help="Highest learning rate of the backbone.",
            show_default="2e-5 at width 768, more for narrower networks",
        ),
    ] = None,
    head_lr: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=TRAINING, help="Likewise of the classifier.", show_default="10 times --lr"
        ),
    ] = None,
    warmup: Annotated[
        float, typer.Option(rich_help_panel=TRAINING, help="Part of the steps in which the rate climbs.")
    ] = DEFAULTS.warmup,
    schedule: Annotated[
        Schedule, typer.Option(rich_help_panel=TRAINING, help="How the rate falls after that.")
    ] = DEFAULTS.schedule,
    weight_decay: Annotated[
        float, typer.Option(rich_help_panel=TRAINING, help="On matrices.")
    ] = DEFAULTS.weight_decay,
    optimizer: Annotated[
        Optimizer, typer.Option(rich_help_panel=TRAINING, help="muon is for the blocks' matrices.")
    ] = DEFAULTS.optimizer,
    ema: Annotated[
        float,
        typer.Option(
            rich_help_panel=TRAINING, help="Decay of the averaged weights that are kept; 0 for no average."
        ),
    ] = DEFAULTS.ema,
    balance: Annotated[
        bool, typer.Option("--balance", rich_help_panel=TRAINING, help="Draw rare classes as often.")
    ] = False,
    patience: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=TRAINING, help="Stop after so many epochs without a better score."
        ),
    ] = DEFAULTS.patience,
    patchout: Annotated[
        float, typer.Option(rich_help_panel=TRAINING, help="Part of the patches left out in training.")
    ] = DEFAULTS.patchout,
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=TRAINING, help="Of everything that chance decides.")
    ] = DEFAULTS.seed,
    mixup: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Part of the clips mixed with another one.")
    ] = AUGMENT.mixup,
    freq_mask: Annotated[
        int, typer.Option(rich_help_panel=CHANCE, help="Most mel bins that are masked.")
    ] = AUGMENT.freq_mask,
    time_mask: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Most of a clip that is masked, as a part of it.")
    ] = AUGMENT.time_mask,
    gain: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Largest change of level, in dB.")
    ] = AUGMENT.gain,
    roll: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Longest shift in time, in seconds.")
    ] = AUGMENT.roll,
    noise: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Part of the clips that get white noise.")
    ] = AUGMENT.noise,
    no_augment: Annotated[
        bool, typer.Option("--no-augment", rich_help_panel=CHANCE, help="Clips as they are.")
    ] = False,
    device: options.DeviceOption = "auto",
    dtype: Annotated[
        Dtype,
        typer.Option(
            rich_help_panel=options.RUN,
            help="Number format of the forward pass; auto is bfloat16 on a GPU that has it, else float32.",
        ),
    ] = DEFAULTS.dtype,
    attn: options.AttnOption = "sdpa",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            rich_help_panel=options.RUN,
            help="Processes that read clips.",
            show_default="4 beside a GPU, else 0",
        ),
    ] = None,
    save_minutes: Annotated[
        float,
        typer.Option(min=0, rich_help_panel=options.RUN, help="How often the state for --resume is saved."),
    ] = DEFAULTS.save_minutes,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel=options.RUN, help="Go on with the run in --out, if there is one."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=options.RUN, help="Replace the run in --out.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", rich_help_panel=options.MESSAGES, help="Only warnings and errors."),
    ] = False,
) -> None:
    """Train a network on labelled recordings; the folder it leaves is a checkpoint for --model.

    Several GPUs or machines: `accelerate launch -m ast_cli finetune ...`. A run that was killed goes on with
    the same command and --resume, to the same weights as if it had not been.
    """
    require_extra("accelerate", "sklearn", "matplotlib")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    from ast_cli.training.augment import Augmentation
    from ast_cli.training.finetune import Finetuning, Start, prepare_folder

    training, held_out = _split(data, audio, classes, validation, fold, seed)
    screen = _Screen(quiet=quiet)
    screen.say_data(training, held_out)
    prepare_folder(out, resume=resume, overwrite=overwrite)
    run = Finetuning(
        training,
        held_out,
        Start(None if from_scratch else model, revision, size, frames, attn, offline),
        out,
        TrainSettings(
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            lr=lr,
            head_lr=head_lr,
            warmup=warmup,
            schedule=schedule,
            weight_decay=weight_decay,
            optimizer=optimizer,
            patchout=patchout,
            ema=ema,
            patience=patience,
            dtype=dtype,
            seed=seed,
            save_minutes=save_minutes,
        ),
        None
        if no_augment
        else Augmentation(
            mixup=mixup, freq_mask=freq_mask, time_mask=time_mask, gain=gain, roll=roll, noise=noise
        ),
        balance=balance,
        data_name=data.name,
        device=device,
        workers=workers,
        watcher=screen,
    )
    if resume and run.is_done():
        screen.say(f"{out} is done already: nothing to resume")
        return
    with screen.progress(), _stopping_gently(run):
        outcome = run.run(resume=resume)
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in outcome.validation["validation"].items())
    early = ", stopped early" if outcome.stopped_early else ""
    screen.say(
        f"{outcome.clips} clips in {clock(outcome.seconds)}{early}; kept epoch "
        f"{outcome.validation['epoch']}: {metrics}"
    )
    screen.say(f"ast-tag FILE --model {out}")


def _split(
    data: Path, audio: Path | None, classes: Path | None, validation: Path | None, fold: str | None, seed: int
) -> tuple[Dataset, Dataset]:
    """The clips to learn from and those to validate on."""
    from ast_cli.training.datasets import read_dataset
    from ast_cli.training.splits import by_split, hold_out

    if validation is not None and fold is not None:
        raise UsageError("--validation and --fold exclude each other")
    found = read_dataset(data, audio=audio, classes=classes)
    if validation is not None:
        return found, read_dataset(validation, audio=audio, classes=classes, labels=found.labels)
    if fold is not None:
        return found.without_fold(fold), found.of_fold(fold)
    return by_split(found) or hold_out(found, HELD_OUT, seed)


@contextmanager
def _stopping_gently(run: Finetuning) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run after its step, with its state saved; the second at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        run.stop()
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class _Screen:
    """Says on stderr how the training goes."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = stderr()
        self._quiet = quiet
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
            ("files are missing", missing),
            ("classes have no clip to learn from", _having(training, counts, 0)),
            ("classes have a single clip", _having(training, counts, 1)),
        ):
            if names:
                shown = ", ".join(names[:FEW]) + (" and more" if len(names) > FEW else "")
                self.warn(f"{len(names)} {what}: {shown}")

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
            TextColumn("loss {task.fields[loss]:.4f} · {task.fields[rate]:.0f} clips/s"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, epoch=1, loss=float("nan"), rate=0.0)
        with self._bar:
            yield
        self._bar = None

    def on_step(self, row: dict[str, Any], steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                total=steps,
                completed=row["step"],
                epoch=row["epoch"],
                loss=row["loss"],
                rate=row["clips_per_second"],
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
        """A line in any case."""
        self._console.print(Text(one_line(f"ast-tag: warning: {message}"), "yellow"))


def _having(data: Dataset, counts: tuple[int, ...], count: int) -> list[str]:
    return [name for name, number in zip(data.labels, counts, strict=True) if number == count]
