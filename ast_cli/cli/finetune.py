"""`ast-tag finetune`: labelled recordings in, a checkpoint of one's own out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.option_groups import Options, argument, grouped, option, option_group
from ast_cli.cli.training_screen import TrainingScreen
from ast_cli.errors import ExitCode, UsageError
from ast_cli.extras import require_extra
from ast_cli.settings import Attention
from ast_cli.training.settings import AugmentationSettings, Size, TrainSettings

if TYPE_CHECKING:
    from ast_cli.training.datasets import Dataset
    from ast_cli.training.finetune import Finetuning

HELD_OUT = 0.1

TRAINING = "How it learns"
CHANCE = "What may happen to a clip"


described = partial(option, None)
# Beside each setting its option; names, types and defaults are those of the settings.
LEARNING = Options(
    TRAINING,
    epochs=described("Passes over the clips.", min=1),
    batch_size=described("Clips in a forward pass.", "-b", min=1),
    accumulate=described("Forward passes in a step.", min=1),
    lr=described(
        "Highest learning rate of the backbone.", show_default="3e-5 at width 768, more for narrower networks"
    ),
    head_lr=described("Likewise of the classifier.", show_default="4 times --lr"),
    warmup=described("Part of the steps in which the rate climbs."),
    schedule=described("How the rate falls after that."),
    weight_decay=described("On matrices."),
    optimizer=described("muon is for the blocks' matrices; auto takes it for narrow networks."),
    ema=described(
        "Decay of the averaged weights that are kept; 0 for no average.",
        show_default="by the number of steps",
    ),
    patience=described(
        "Stop after so many epochs without a better score; 0 never does.",
        min=0,
        show_default="10 without a better score or loss",
    ),
    patchout=described("Part of the patches left out in training."),
    seed=described("Of everything that chance decides.", min=0),
    dtype=described(
        "Number format of the forward pass; auto is bfloat16 where the device has it, else float32.",
        panel=options.RUN,
        after="device",
    ),
    save_minutes=described(
        "How often the state for --resume is saved.", min=0, panel=options.RUN, after="workers"
    ),
)
AUGMENTING = Options(
    CHANCE,
    freq_mask=described("Most mel bins that are masked."),
    time_mask=described("Most of a clip that is masked, as a part of it."),
    tempo=described("Largest change of tempo, as a part; the pitch stays."),
    pitch=described("Largest change of pitch, as a part; the tempo stays."),
    tone=described("Largest change of level in a part of the spectrum, in dB."),
    gain=described("Largest change of level, in dB."),
    roll=described("Longest shift in time, in seconds."),
    noise=described("Part of the clips that get white noise."),
)


@option_group(options.LABELLED)
class TrainingDataOptions(options.LabelledOptions):
    """Which recordings the network learns from, and which it is validated on."""

    validation: Path | None = option(
        None,
        "Other recordings to validate on.",
        metavar="DATA",
        show_default="the data's split, else its last fold, else a tenth of each class",
    )
    fold: str | None = option(None, "Validate on this fold, learn from the others.", metavar="N")
    folds: bool = option(
        False, "Train once for each fold, into DIR/fold-N, validated on it: a cross-validation."
    )


@option_group(options.MODEL)
class StartOptions:
    """The network that training starts from."""

    model: Annotated[str, options.ONE_MODEL] = DEFAULT_MODEL
    revision: options.RevisionOption = None
    from_scratch: bool = option(False, "Start from random weights instead.")
    size: Size = option("tiny", "Of a network from scratch.")
    frames: int | None = option(
        None,
        "Frames of 10 ms in a window.",
        min=16,
        show_default="what the clips need, at most the checkpoint's",
    )
    offline: options.OfflineOption = False


@option_group(options.RUN)
class MachineOptions:
    """Where training runs."""

    device: options.DeviceOption = "auto"
    attn: Attention = option(
        "sdpa",
        "Attention: sdpa, eager; flash, efficient, cudnn or math, among which sdpa lets torch choose.",
        metavar="NAME",
    )
    workers: int | None = option(
        None, "Processes that read clips.", min=0, show_default="4 beside a GPU, else 0"
    )


@grouped
def finetune(
    *,
    data: Path = argument(..., options.LABELLED_DATA, metavar="DATA"),
    out: Path = option(..., "The checkpoint's folder.", "-o", metavar="DIR", show_default=False),
    labelled: TrainingDataOptions,
    start: StartOptions,
    settings: Annotated[TrainSettings, LEARNING],
    balance: bool = option(False, "Draw rare classes as often.", panel=TRAINING, after="ema"),
    mixup: float | None = option(
        None,
        "Part of the clips mixed with another one.",
        show_default=f"{AugmentationSettings.mixup} where clips may have several labels, else 0",
        panel=CHANCE,
    ),
    augmentation: Annotated[AugmentationSettings, AUGMENTING],
    no_augment: bool = option(False, "Clips as they are.", panel=CHANCE),
    machine: MachineOptions,
    resume: bool = option(False, "Go on with the run in --out, if there is one.", panel=options.RUN),
    overwrite: bool = option(False, "Replace the run in --out.", panel=options.RUN),
    quiet: bool = option(False, "Only warnings and errors.", "-q", panel=options.MESSAGES),
) -> None:
    """Train a network on labelled recordings; the folder it leaves is a checkpoint for --model.

    Several GPUs or machines: `accelerate launch -m ast_cli finetune ...`.
    A run that was killed goes on with the same command and --resume, to the same weights.
    """
    require_extra("train")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    if sum((labelled.folds, labelled.fold is not None, labelled.validation is not None)) > 1:
        raise UsageError("--validation, --fold and --folds exclude each other")
    _refuse_inside(out, data)
    from ast_cli.training.augment import Augmentation
    from ast_cli.training.datasets import read_dataset
    from ast_cli.training.finetune import Finetuning, Start, prepare_folder
    from ast_cli.training.processes import is_first_process

    audio, classes = labelled.audio, labelled.classes
    found = read_dataset(data, audio=audio, classes=classes)
    others = (
        None
        if labelled.validation is None
        else read_dataset(labelled.validation, audio=audio, classes=classes, labels=found.labels)
    )
    if mixup is None:  # where a clip has one label, half of another one only blurs it
        mixup = augmentation.mixup if found.multi_label else 0.0
    network = Start(
        None if start.from_scratch else start.model,
        start.revision,
        start.size,
        start.frames,
        machine.attn,
        start.offline,
    )
    failed = 0
    for one_fold, folder in _folds(found, labelled.fold, out, all_folds=labelled.folds):
        training, held_out = _split(found, others, one_fold, settings.seed)
        screen = TrainingScreen(quiet=quiet, mute=not is_first_process())
        screen.say_data(training, held_out)
        if is_first_process():  # the others would take what it makes for a run that was there
            prepare_folder(folder, resume=resume, overwrite=overwrite)
        run = Finetuning(
            training,
            held_out,
            network,
            folder,
            settings,
            None if no_augment else Augmentation(**asdict(augmentation) | {"mixup": mixup}),
            balance=balance,
            data_name=data.name,
            device=machine.device,
            workers=machine.workers,
            watcher=screen,
        )
        if resume and run.is_done():
            screen.say(f"{folder} is done already: nothing to resume")
            continue
        try:
            with screen.progress(), _stopping_gently(run):
                outcome = run.run(resume=resume)
        except KeyboardInterrupt:
            screen.say_interrupted(run.trainer, folder)
            raise
        screen.say_outcome(outcome, folder)
        failed += len(outcome.failed)
    if labelled.folds:
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
    """The first Ctrl-C, SIGTERM or hangup ends the run after its step, its state saved; the next at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        run.stop()
        for name, handler in before.items():
            signal.signal(name, handler)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What is ignored stays so, as a hangup under nohup.
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
