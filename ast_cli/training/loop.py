"""The training loop: examples in, a trained classifier out, the same on one process or many.

`accelerate` knows the devices and processes; torch the optimisers and averages. What is here is the order of
things, and that a run which was killed at any moment ends as if it had not been: all chance is drawn from the
seed and the number of the step, and the state that is saved holds everything else.

Knows nothing of files of audio, of commands or of screens.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from ast_cli.errors import CheckpointError, UsageError
from ast_cli.features import ASTFeatureExtractor
from ast_cli.model import ASTForAudioClassification
from ast_cli.training.examples import Batch, Collate, EpochBatches, ExampleSource, SeededExamples
from ast_cli.training.network import TrainedNetwork, targets_loss
from ast_cli.training.optimizers import make_optimizers
from ast_cli.training.settings import TrainSettings
from ast_cli.training.state import Log, load_state, save_state

LOG_EVERY = 20  # steps
DEFAULT_WORKERS = 4  # processes that make examples beside an accelerator; the CPU has none to spare

Validate = Callable[[Tensor, Tensor], dict[str, float]]
"""Scores [N, C] and targets [N, C] -> named metrics; the first one is the one that counts, more is better."""


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
class Outcome:
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


class Trainer:
    """One run of training.

    Args:
        classifier: Where it starts.
        extractor: Makes the network's input.
        training: What it learns from.
        validation: What it is tried on after each epoch.
        validate: Makes metrics of scores.
        settings: How.
        folder: Where state and log are kept.
        origin: What the run is made of besides its settings; a run of another origin is not gone on with.
        weights: How likely each training example is drawn; None for each once an epoch.
        device: As `--device`; accelerate chooses if `auto`.
        workers: Processes that make examples; chosen by the device if None.
        save: Called with the classifier to keep whenever it is a better one; on the main process only.

    Raises:
        UsageError: There is nothing to learn from.
    """

    def __init__(
        self,
        classifier: ASTForAudioClassification,
        extractor: ASTFeatureExtractor,
        training: ExampleSource,
        validation: ExampleSource,
        validate: Validate,
        settings: TrainSettings,
        folder: Path,
        *,
        origin: Mapping[str, str] | None = None,
        weights: list[float] | None = None,
        device: str = "auto",
        workers: int | None = None,
        save: Callable[[ASTForAudioClassification, dict[str, Any]], None] | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        if not len(training):
            raise UsageError("there is no clip to train on")
        self.settings, self.folder, self.validate, self.watcher = settings, folder, validate, watcher
        self.save, self.origin = save, dict(origin or {})
        self.stop = False
        self.accelerator = Accelerator(
            mixed_precision=_precision(settings.dtype, device),
            gradient_accumulation_steps=settings.accumulate,
            cpu=device == "cpu",
        )
        network = TrainedNetwork(classifier, settings.patchout, settings.column_weight)
        optimizers = make_optimizers(network, settings)
        on_cpu = self.accelerator.device.type == "cpu"
        loader = _loader(SeededExamples(training, settings.seed), extractor, workers, on_cpu)
        self.batches = EpochBatches(len(training), settings.batch_size, settings.seed, weights)
        self.trials = EpochBatches(len(validation), settings.batch_size, shuffle=False)
        trial_loader = _loader(SeededExamples(validation, settings.seed), extractor, workers, on_cpu)
        prepare = self.accelerator.prepare
        self.network, *self.optimizers = prepare(network, *optimizers)
        self.training: Iterable[Batch] = prepare(loader(self.batches))
        self.validation: Iterable[Batch] = prepare(trial_loader(self.trials))
        self.average = (
            AveragedModel(self._classifier(), multi_avg_fn=_ema(settings.ema)) if settings.ema else None
        )
        self.batches_an_epoch = -(-len(self.batches) // self.accelerator.num_processes)
        self.steps_an_epoch = -(-self.batches_an_epoch // settings.accumulate)
        self.steps = self.steps_an_epoch * settings.epochs
        # What `state` holds besides weights and optimisers.
        self.step = self.epoch = self.clips = self.epochs_without_better = 0
        self.seconds = 0.0
        self.best: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def run(self, *, resume: bool = False) -> Outcome:
        """Train to the end, or to the end of patience.

        Args:
            resume: Go on from the state in the folder if there is one.

        Raises:
            CheckpointError: The state is of a run with other settings, or cannot be read.
            OutputError: State, log or checkpoint cannot be written; what was saved before is whole.
        """
        if resume:
            self._restore()
        main = self.accelerator.is_main_process
        self.log = Log(self.folder, self.step) if main else None
        self.began = time.monotonic() - self.seconds
        self.saved = time.monotonic()
        if not resume and main:
            self._save_state()
        stopped = False
        while self.epoch < self.settings.epochs:
            self._train_epoch()
            self._validate_epoch()
            self.epoch += 1
            stopped = bool(self.settings.patience) and self.epochs_without_better >= self.settings.patience
            self._save_state()
            if stopped:
                break
        return Outcome(
            validation=self.best,
            steps=self.step,
            clips=self.clips,
            seconds=time.monotonic() - self.began,
            failed=self.failed,
            stopped_early=stopped,
        )

    def _train_epoch(self) -> None:
        settings, accelerator = self.settings, self.accelerator
        done = self.step - self.epoch * self.steps_an_epoch
        self.batches.epoch = self.epoch
        self.batches.skip = done * settings.accumulate * accelerator.num_processes
        if done >= self.steps_an_epoch:
            return
        self.network.train()
        clips, started = 0, time.monotonic()
        for batch in self.training:
            batch = batch.to(accelerator.device)
            # Patchout and dropout draw from torch's own chance: here it is tied to the step and the process.
            torch.manual_seed(hash((settings.seed, self.step, accelerator.process_index)) & 0xFFFF_FFFF)
            whole = self.step >= settings.whole_from * self.steps
            with accelerator.accumulate(self.network), accelerator.autocast():
                losses = self.network(batch, whole)
                accelerator.backward(losses.total)
                if accelerator.sync_gradients:
                    if settings.clip_norm:
                        accelerator.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
                    self._set_rates()
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
            clips += len(batch.targets) * accelerator.num_processes
            self._note_failed(batch.failed)
            if accelerator.sync_gradients:
                self._end_step(losses.targets, clips, time.monotonic() - started)
                if self.stop:
                    self._save_state()
                    raise KeyboardInterrupt
                clips, started = 0, time.monotonic()

    def _set_rates(self) -> None:
        rate = self.settings.rate(self.step, self.steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest_lr"] * rate

    def _end_step(self, loss: Tensor, clips: int, seconds: float) -> None:
        self.step += 1
        self.clips += clips
        if self.average is not None:
            self.average.update_parameters(self._classifier())
        if not self.accelerator.is_main_process:
            return
        value = float(loss.detach())
        if value != value:
            raise CheckpointError(
                f"the loss is not a number after step {self.step}",
                "Use a lower --lr, or --dtype float32; the last saved state is whole",
            )
        row = {
            "step": self.step,
            "epoch": self.epoch + 1,
            "loss": round(value, 6),
            "lr": self.optimizers[0].param_groups[0]["lr"],
            "clips_per_second": round(clips / max(seconds, 1e-9), 1),
        }
        if self.log is not None and (self.step % LOG_EVERY == 0 or self.step == 1):
            self.log.add(row)
        if self.watcher:
            self.watcher.on_step(row, self.steps)
        end_of_epoch = self.step % self.steps_an_epoch == 0
        if time.monotonic() - self.saved >= self.settings.save_minutes * 60 and not end_of_epoch:
            self._save_state()

    def _validate_epoch(self) -> None:
        classifier = self._candidate()
        scores, targets, loss = self._predict(classifier)
        metrics = self.validate(scores, targets)
        row = {"step": self.step, "epoch": self.epoch + 1, "validation": {"loss": loss} | metrics}
        key = next(iter(metrics), "loss")
        better = not self.best or metrics.get(key, 0.0) > self.best["validation"].get(key, 0.0)
        self.epochs_without_better = 0 if better else self.epochs_without_better + 1
        if better or self.settings.keep == "last":
            self.best = row
        if self.accelerator.is_main_process:
            if self.save and (better or self.settings.keep == "last"):
                self.save(classifier, row)
            if self.log is not None:
                self.log.add(row)
            if self.watcher:
                self.watcher.on_validation(row)

    @torch.inference_mode()
    def _predict(self, classifier: ASTForAudioClassification) -> tuple[Tensor, Tensor, float]:
        """Scores and targets [N, C] of the validation examples, and the mean loss."""
        classifier.eval()
        logits, targets = [], []
        for batch in self.validation:
            batch = batch.to(self.accelerator.device)
            with self.accelerator.autocast():
                output = classifier(batch.input_values).logits.float()
            gathered = self.accelerator.gather_for_metrics((output, batch.targets))
            logits.append(gathered[0].cpu())
            targets.append(gathered[1].cpu())
            self._note_failed(batch.failed)
        all_logits, all_targets = torch.cat(logits), torch.cat(targets)
        loss = float(targets_loss(classifier.config, all_logits, all_targets))
        single = classifier.config.problem_type == "single_label_classification"
        return all_logits.softmax(-1) if single else all_logits.sigmoid(), all_targets, round(loss, 6)

    def _note_failed(self, failed: list[tuple[str, str]]) -> None:
        for file, cause in gather_object(failed) if self.accelerator.num_processes > 1 else failed:
            if file not in self.failed:
                self.failed[file] = cause
                if self.watcher and self.accelerator.is_main_process:
                    self.watcher.on_failed(file, cause)

    def _classifier(self) -> ASTForAudioClassification:
        network: TrainedNetwork = self.accelerator.unwrap_model(self.network)
        return network.classifier

    def _candidate(self) -> ASTForAudioClassification:
        """What would be kept now: the average of the weights, if there is one."""
        if self.average is None:
            return self._classifier()
        return cast(ASTForAudioClassification, self.average.module)

    def _save_state(self) -> None:
        self.saved = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        save_state(
            self.folder,
            {
                "settings": dataclasses.asdict(self.settings),
                "origin": self.origin,
                "processes": self.accelerator.num_processes,
                "step": self.step,
                "epoch": self.epoch,
                "clips": self.clips,
                "seconds": time.monotonic() - self.began,
                "best": self.best,
                "epochs_without_better": self.epochs_without_better,
                "failed": self.failed,
                "network": self.accelerator.unwrap_model(self.network).state_dict(),
                "average": self.average.state_dict() if self.average is not None else {},
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            },
        )

    def _restore(self) -> None:
        state = load_state(self.folder)
        if state is None:
            return
        differ = TrainSettings(**state["settings"]).differences(self.settings)
        differ += [name for name, value in self.origin.items() if state["origin"].get(name) != value]
        if state["processes"] != self.accelerator.num_processes:
            differ.append("number of processes")
        if differ:
            raise CheckpointError(
                f"{self.folder} holds a run with other settings: {', '.join(differ)} differ",
                "Go on with the same command, or start anew with --overwrite",
            )
        try:
            self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.folder} holds a run of another network: {str(error).partition(chr(10))[0]}",
                "Go on with the same command, or start anew with --overwrite",
            ) from error
        for name in ("step", "epoch", "clips", "seconds", "best", "epochs_without_better", "failed"):
            setattr(self, name, state[name])


def _ema(decay: float) -> Callable[[Any, Any, Any], None]:
    """Running average whose memory grows from nothing to `decay`, so that the start is soon forgotten."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return update


def _loader(
    examples: SeededExamples, extractor: ASTFeatureExtractor, workers: int | None, on_cpu: bool
) -> Callable[[EpochBatches], DataLoader[Any]]:
    count = workers if workers is not None else 0 if on_cpu else DEFAULT_WORKERS
    return lambda batches: DataLoader(
        examples,
        batch_sampler=batches,
        collate_fn=Collate(extractor),
        num_workers=count,
        persistent_workers=count > 0,
        pin_memory=not on_cpu,
    )


def _precision(dtype: str, device: str) -> str:
    if dtype == "auto":
        dtype = (
            "bfloat16"
            if device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
            else "float32"
        )
    return {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[dtype]
