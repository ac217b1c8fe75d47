"""Labeled clips and a network to start from -> a folder that is a checkpoint of its own.

OUT/model.safetensors, config.json, preprocessor_config.json   what `--model OUT` and `transformers` load
OUT/README.md                                                  its model card
OUT/log.jsonl, learning-curve.png                              how it went
OUT/run.json                                                   what it was made of, and whether it is done
OUT/validation.csv                                             the clips it did not learn from
OUT/resume.pt                                                  only until it is done
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ast_cli.checkpoints.checkpoint import Checkpoint, read_json, replacing_weights, write_json
from ast_cli.checkpoints.locate import CONFIG_FILE, FEATURE_FILE, WEIGHT_FILES
from ast_cli.errors import CheckpointError, InputError, OutputError, UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.results import display_name
from ast_cli.text import without_controls
from ast_cli.training.augment import Augmentation
from ast_cli.training.card import CARD_FILE, card
from ast_cli.training.datasets import Dataset, LabelledClip
from ast_cli.training.loop import Trainer
from ast_cli.training.metrics import Metrics, measure
from ast_cli.training.pictures import draw_learning_curve
from ast_cli.training.settings import Size, TrainSettings
from ast_cli.training.splits import balanced_weights
from ast_cli.training.start import from_scratch, with_classes
from ast_cli.training.state import LOG_FILE, STATE_FILE, TrainingResult, Watcher, read_log
from ast_cli.training.stats import measure_norm
from ast_cli.training.waveforms import ClipExamples, read_waveform

RUN_FILE = "run.json"
SCHEMA = "ast-finetune/1"
CURVE_FILE = "learning-curve.png"
VALIDATION_FILE = "validation.csv"
FILES = (
    *(CONFIG_FILE, FEATURE_FILE, WEIGHT_FILES[0], CARD_FILE),
    *(CURVE_FILE, VALIDATION_FILE, LOG_FILE, STATE_FILE),
)
PROBED_CLIPS = 200  # whose length decides how many frames a window gets
PATCH = 16


@dataclass(frozen=True)
class Start:
    """The network that training starts from.

    Attributes:
        model: What `--model` takes; None to start from scratch.
        revision: Hub branch, tag or commit.
        size: Of a network from scratch.
        frames: In a window; None for as many as the clips need, at most the checkpoint's.
        attn: One of `settings.Attention`.
        offline: Never touch the network.
    """

    model: str | None
    revision: str | None = None
    size: Size = "tiny"
    frames: int | None = None
    attn: str = "sdpa"
    offline: bool = False

    def load(
        self, training: Dataset, seed: int
    ) -> tuple[ASTForAudioClassification, ASTFeatureExtractor, str]:
        """Network, feature extractor, and what identifies the weights.

        Raises:
            CheckpointError: No such checkpoint.
            InputError: No clip can be read.
        """
        if self.model is None:
            extractor = ASTFeatureExtractor()
            frames = self.frames or fitting_frames(training.clips, extractor)
            extractor = dataclasses.replace(extractor, max_length=frames)
            stats = measure_norm(some(training.clips), extractor)
            extractor = dataclasses.replace(extractor, mean=round(stats.mean, 6), std=round(stats.std, 6))
            fresh = from_scratch(
                self.size, training.labels, multi_label=training.multi_label, frames=frames, seed=seed
            )
            fresh.attn_implementation = self.attn
            return fresh, extractor, f"from scratch, {self.size}"
        checkpoint = Checkpoint.open(self.model, self.revision, offline=self.offline)
        extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
        frames = self.frames or fitting_frames(training.clips, extractor)
        model = ASTForAudioClassification.from_pretrained(
            checkpoint, attn_implementation=self.attn, max_length=frames
        )
        model = with_classes(model, training.labels, multi_label=training.multi_label)
        return model, dataclasses.replace(extractor, max_length=frames), checkpoint.files.sha256


def some(clips: Sequence[LabelledClip]) -> Sequence[LabelledClip]:
    """A few clips from all over the data, since it is often in the order of its classes."""
    return clips[:: max(1, len(clips) // PROBED_CLIPS)]


def fitting_frames(clips: Sequence[LabelledClip], extractor: ASTFeatureExtractor) -> int:
    """Frames of a window that holds these clips: the longest of some of them, in whole patches."""
    longest = 0
    for clip in some(clips):
        try:
            longest = max(longest, extractor.num_frames(len(read_waveform(clip, extractor))))
        except InputError:  # named when it is its turn in training
            continue
        if longest >= extractor.max_length:
            return extractor.max_length
    return min(extractor.max_length, max(PATCH, -(-longest // PATCH) * PATCH))


def prepare_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of a run, or refuse one that holds something else; removes nothing yet.

    Raises:
        UsageError: It holds a run, which is neither to be resumed nor replaced; or it holds other things.
        OutputError: It cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "Name a folder")
    try:
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        is_run = RUN_FILE in there and read_json(folder / RUN_FILE).get("schema") == SCHEMA
        if not is_run and any(not name.startswith(f"{RUN_FILE}.") for name in there):
            # Whatever is asked for: a run's files have names that other people's files may have too.
            raise UsageError(
                f"{folder} holds other files, such as {min(there)}", "Name a new or empty folder"
            )
        if there and not (resume or overwrite):
            raise UsageError(
                f"{folder} holds a run", "Add --resume to go on with it, or --overwrite to replace it"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {folder}: {error.strerror}", "Name a folder you may write to"
        ) from error


@dataclass
class Finetuning:
    """One run of fine-tuning, in its folder.

    Attributes:
        training: The clips to learn from.
        validation: The clips that choose among the epochs; of the same classes.
        start: The network to start from.
        folder: Made if it is not there.
        settings: How; `lr` is the backbone's.
        augmentation: What may happen to a clip.
        balance: Whether rare classes are drawn as often as frequent ones.
        data_name: What the card calls the data.
        device: As `--device`.
        workers: Processes that make examples; None to choose.
        watcher: Who looks on.
        trainer: While it runs, and afterwards.

    Raises:
        EngineError: The extra `train` is not installed.
        UsageError: There is nothing to learn.
        CheckpointError: No such checkpoint.
    """

    training: Dataset
    validation: Dataset
    start: Start
    folder: Path
    settings: TrainSettings
    augmentation: Augmentation | None
    balance: bool = False
    data_name: str = ""
    device: str = "auto"
    workers: int | None = None
    watcher: Watcher | None = None
    trainer: Trainer | None = field(default=None, init=False)
    _measured: Metrics | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        require_extra("train")
        _refuse_unteachable(self.training, self.validation)
        model = self.start.model
        if model and Path(model).exists() and Path(model).resolve().is_relative_to(self.folder.resolve()):
            raise UsageError(
                f"{model} would be replaced by what starts from it", "Name another folder for --out"
            )

    def is_done(self) -> bool:
        """Whether the folder holds this very run, gone to its end; CheckpointError if another one."""
        path = self.folder / RUN_FILE
        told = read_json(path) if path.is_file() else {}
        if not told.get("done"):
            return False
        differ = [name for name, value in self._asked.items() if told["origin"].get(name) != value]
        asked = dataclasses.asdict(self.settings)
        differ += [
            name
            for name, value in asked.items()
            if value not in (None, "auto") and name != "save_minutes" and told["settings"].get(name) != value
        ]
        if differ:
            raise CheckpointError(
                f"{self.folder} holds a finished run with other settings: {', '.join(differ)} differ",
                "Start anew with --overwrite, or name another folder",
            )
        return True

    @property
    def _asked(self) -> dict[str, str]:
        """What the run is made of, as far as it is known before the network is read."""
        return {
            "model": self.start.model or f"from scratch, {self.start.size}",
            "data": self.data_name,
            "training_clips": _fingerprint(self.training),
            "validation_clips": _fingerprint(self.validation),
            "augmentation": str(self.augmentation),
            "balance": str(self.balance),
        }

    def stop(self) -> None:
        """End after the step under way, with the state saved."""
        if self.trainer is None:
            raise KeyboardInterrupt
        self.trainer.stop = True

    def run(self, *, resume: bool = False) -> TrainingResult:
        """Train, and leave the folder complete; `resume` goes on with a run of the same settings.

        Raises:
            CheckpointError: The folder holds a run of other settings.
            OutputError: The folder cannot be written; the last good checkpoint is whole.
        """
        model, self.extractor, weights = self.start.load(self.training, self.settings.seed)
        classes = len(self.training.labels)
        self.origin = self._asked | {"weights": weights, "frames": str(self.extractor.max_length)}
        self.settings = self.settings.fitted(model.config.hidden_size, fresh=self.start.model is None)
        trainer = self.trainer = Trainer(
            model,
            self.extractor,
            ClipExamples(self.training.clips, classes, self.extractor, self.augmentation),
            ClipExamples(self.validation.clips, classes, self.extractor),
            self._validate,
            self.settings,
            self.folder,
            origin=self.origin,
            weights=balanced_weights(self.training.clips, classes) if self.balance else None,
            device=self.device,
            workers=self.workers,
            save=self._save,
            watcher=self.watcher,
        )
        if trainer.accelerator.is_main_process:
            if not resume:
                # What an old run left must not be taken for the new one's; so late, since all else may fail.
                for name in FILES:
                    (self.folder / name).unlink(missing_ok=True)
            if not resume or not (self.folder / RUN_FILE).exists():
                write_json(self.folder / RUN_FILE, {"schema": SCHEMA, "done": False})
            self._write_validation()
        outcome = trainer.run(resume=resume)
        if trainer.accelerator.is_main_process:
            self._finish(outcome)
        trainer.accelerator.wait_for_everyone()
        return outcome

    def _validate(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        self._measured = measure(scores.numpy(), targets.numpy() > 0)
        names = ("mAP", "accuracy") if self.training.multi_label else ("accuracy", "mAP")
        return {name: round(self._measured.by_name()[name].value, 6) for name in names}

    def _save(self, classifier: ASTForAudioClassification, row: dict[str, Any]) -> None:
        """Replace the checkpoint by a better one, each file as a whole."""
        assert self._measured is not None  # it was validated a moment ago
        classifier.save_pretrained(self.folder)
        self.extractor.save_pretrained(self.folder)
        text = card(
            self.training.labels,
            self.origin,
            (len(self.training.clips), len(self.validation.clips)),
            dataclasses.asdict(self.settings),
            row["epoch"],
            self._measured,
        )
        with replacing_weights(self.folder / CARD_FILE) as part:
            part.write_text(text, encoding="utf-8")

    def _write_validation(self) -> None:
        """The clips that training did not learn from, as a table that `eval` reads."""
        with (
            replacing_weights(self.folder / VALIDATION_FILE) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(("file", "labels", "start", "end"))
            for clip in self.validation.clips:
                labels = ";".join(self.training.labels[index] for index in clip.labels)
                times = ("" if time is None else time for time in (clip.start, clip.end))
                rows.writerow(
                    (without_controls(os.path.realpath(clip.file)), without_controls(labels), *times)
                )

    def _finish(self, outcome: TrainingResult) -> None:
        draw_learning_curve(self.folder / CURVE_FILE, read_log(self.folder))
        write_json(
            self.folder / RUN_FILE,
            {
                "schema": SCHEMA,
                "done": True,
                "origin": self.origin,
                "settings": dataclasses.asdict(self.settings),
                "labels": list(self.training.labels),
                "validation": outcome.validation,
                "steps": outcome.steps,
                "clips_seen": outcome.clips,
                "seconds": round(outcome.seconds, 1),
                "stopped_early": outcome.stopped_early,
                "failed": outcome.failed,
                "missing": sorted({*self.training.missing, *self.validation.missing}),
                "torch": torch.__version__,
            },
        )
        (self.folder / STATE_FILE).unlink(missing_ok=True)


def _refuse_unteachable(training: Dataset, validation: Dataset) -> None:
    """Refuse data that nothing can be learned from, or told about."""
    if len(training.labels) < 2 and not training.multi_label:
        raise UsageError(f"all clips have the same label, {training.labels[0]}", "Add clips of another")
    if validation.multi_label and not training.multi_label:
        raise UsageError(
            "clips to validate on have several labels, those to learn from one each",
            "Give both the same kind of labels",
        )
    if not any(clip.labels for clip in validation.clips):
        raise UsageError("no clip to validate on has a label", "Name other ones with --validation")
    for label in training.labels:
        if label != display_name(label):
            raise UsageError(
                f"the class {display_name(label)} is not named in UTF-8",
                "Rename its folder or mend its table",
            )


def _fingerprint(data: Dataset) -> str:
    """The same for the same clips with the same labels in the same order."""
    document = [list(data.labels), [dataclasses.astuple(clip) for clip in data.clips]]
    return hashlib.sha256(json.dumps(document).encode("utf-8", "surrogateescape")).hexdigest()[:16]
