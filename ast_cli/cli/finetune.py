"""`ast-tag finetune`: labelled recordings in, a checkpoint of one's own out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.training_screen import TrainingScreen
from ast_cli.errors import ExitCode, UsageError
from ast_cli.extras import require_extra
from ast_cli.settings import TorchDtype
from ast_cli.training.settings import AugmentationSettings, Optimizer, Schedule, Size, TrainSettings

if TYPE_CHECKING:
    from ast_cli.training.datasets import Dataset
    from ast_cli.training.finetune import Finetuning

DEFAULTS = TrainSettings()
AUGMENT = AugmentationSettings()
HELD_OUT = 0.1

TRAINING = "How it learns"
CHANCE = "What may happen to a clip"
FEW = 3  # names in a warning


def finetune(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help=options.LABELLED_DATA,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="The checkpoint's folder.", show_default=False),
    ],
    audio: options.AudioOption = None,
    classes: options.ClassesOption = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            rich_help_panel=options.LABELLED,
            help="Other recordings to validate on.",
            show_default="the data's split, else its last fold, else a tenth of each class",
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            rich_help_panel=options.LABELLED,
            help="Validate on this fold, learn from the others.",
        ),
    ] = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            rich_help_panel=options.LABELLED,
            help="Train once for each fold, into DIR/fold-N, validated on it: a cross-validation.",
        ),
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            rich_help_panel=options.MODEL,
            help="Hub id, folder, weights file, or the built-in tiny.",
        ),
    ] = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", rich_help_panel=options.MODEL, help="Start from random weights instead."
        ),
    ] = False,
    size: Annotated[
        Size, typer.Option(rich_help_panel=options.MODEL, help="Of a network from scratch.")
    ] = "tiny",
    frames: Annotated[
        int | None,
        typer.Option(
            min=16,
            rich_help_panel=options.MODEL,
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
            show_default="3e-5 at width 768, more for narrower networks",
        ),
    ] = None,
    head_lr: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=TRAINING, help="Likewise of the classifier.", show_default="4 times --lr"
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
        Optimizer,
        typer.Option(
            rich_help_panel=TRAINING,
            help="muon is for the blocks' matrices; auto takes it for narrow networks.",
        ),
    ] = DEFAULTS.optimizer,
    ema: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=TRAINING,
            help="Decay of the averaged weights that are kept; 0 for no average.",
            show_default="by the number of steps",
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
        float | None,
        typer.Option(
            rich_help_panel=CHANCE,
            help="Part of the clips mixed with another one.",
            show_default=f"{AUGMENT.mixup} where clips may have several labels, else 0",
        ),
    ] = None,
    freq_mask: Annotated[
        int, typer.Option(rich_help_panel=CHANCE, help="Most mel bins that are masked.")
    ] = AUGMENT.freq_mask,
    time_mask: Annotated[
        float, typer.Option(rich_help_panel=CHANCE, help="Most of a clip that is masked, as a part of it.")
    ] = AUGMENT.time_mask,
    tempo: Annotated[
        float,
        typer.Option(rich_help_panel=CHANCE, help="Largest change of tempo, as a part; the pitch stays."),
    ] = AUGMENT.tempo,
    pitch: Annotated[
        float,
        typer.Option(rich_help_panel=CHANCE, help="Largest change of pitch, as a part; the tempo stays."),
    ] = AUGMENT.pitch,
    tone: Annotated[
        float,
        typer.Option(
            rich_help_panel=CHANCE, help="Largest change of level in a part of the spectrum, in dB."
        ),
    ] = AUGMENT.tone,
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
        TorchDtype,
        typer.Option(
            rich_help_panel=options.RUN,
            help="Number format of the forward pass; auto is bfloat16 where the device has it, else float32.",
        ),
    ] = DEFAULTS.dtype,
    attn: options.TrainAttnOption = "sdpa",
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

    Several GPUs or machines: `accelerate launch -m ast_cli finetune ...`.
    A run that was killed goes on with the same command and --resume, to the same weights.
    """
    require_extra("train")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if sum((folds, fold is not None, validation is not None)) > 1:
        raise UsageError("--validation, --fold and --folds exclude each other")
    _refuse_inside(out, data)
    from ast_cli.training.augment import Augmentation
    from ast_cli.training.datasets import read_dataset
    from ast_cli.training.finetune import Finetuning, Start, prepare_folder
    from ast_cli.training.processes import is_first_process

    found = read_dataset(data, audio=audio, classes=classes)
    others = (
        None
        if validation is None
        else read_dataset(validation, audio=audio, classes=classes, labels=found.labels)
    )
    settings = TrainSettings(
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
    )
    if mixup is None:  # where a clip has one label, half of another one only blurs it
        mixup = AUGMENT.mixup if found.multi_label else 0.0
    augmentation = (
        None
        if no_augment
        else Augmentation(
            mixup=mixup,
            freq_mask=freq_mask,
            time_mask=time_mask,
            tempo=tempo,
            pitch=pitch,
            tone=tone,
            gain=gain,
            roll=roll,
            noise=noise,
        )
    )
    start = Start(None if from_scratch else model, revision, size, frames, attn, offline)
    failed = 0
    for one_fold, folder in _folds(found, fold, out, all_folds=folds):
        training, held_out = _split(found, others, one_fold, seed)
        screen = TrainingScreen(quiet=quiet, mute=not is_first_process())
        screen.say_data(training, held_out)
        if is_first_process():  # the others would take what it makes for a run that was there
            prepare_folder(folder, resume=resume, overwrite=overwrite)
        run = Finetuning(
            training,
            held_out,
            start,
            folder,
            settings,
            augmentation,
            balance=balance,
            data_name=data.name,
            device=device,
            workers=workers,
            watcher=screen,
        )
        if resume and run.is_done():
            screen.say(f"{folder} is done already: nothing to resume")
            continue
        with screen.progress(), _stopping_gently(run):
            outcome = run.run(resume=resume)
        screen.say_outcome(outcome, folder)
        failed += len(outcome.failed)
    if folds:
        screen.say(f"ast-tag eval {data} --folds --model '{out}/fold-{{fold}}'")
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _refuse_inside(out: Path, data: Path) -> None:
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"--out {out} lies in the data, and would be taken for a part of it", "Name another")


def _folds(found: Dataset, fold: str | None, out: Path, *, all_folds: bool) -> list[tuple[str | None, Path]]:
    """The folds to validate on, one run each, and the folder of each run."""
    if not all_folds:
        return [(fold, out)]
    if len(found.folds) < 2:
        raise UsageError("the data has no folds", "Leave --folds out")
    return [(name, out / f"fold-{name}") for name in found.folds]


def _split(found: Dataset, others: Dataset | None, fold: str | None, seed: int) -> tuple[Dataset, Dataset]:
    """The clips to learn from and those to validate on."""
    from ast_cli.training.splits import refuse_overlap, split_for_training

    if others is None:
        return split_for_training(found, fold=fold, part=HELD_OUT, seed=seed)
    training = found.of_split("train") if "train" in found.splits else found
    refuse_overlap(training, others)
    return training, others


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
