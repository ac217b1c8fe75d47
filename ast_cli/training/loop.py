"""The training loop: examples in, a trained classifier out, the same on one process or many.

`accelerate` knows the devices and processes; torch the optimizers and averages. What is here is the order of
things, and that a run which was killed at any moment ends as if it had not been: all chance is drawn from the
seed and the number of the step, and the state that is saved holds everything else.

Knows nothing of files of audio, of commands or of screens.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch import Tensor

from ast_cli.engines.devices import what_cannot_run
from ast_cli.errors import AstCliError, CheckpointError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.text import first_line
from ast_cli.training.examples import Batch, EpochBatches, ExampleSource, make_loader
from ast_cli.training.network import TrainedNetwork, targets_loss
from ast_cli.training.optimizers import make_optimizers, running_average
from ast_cli.training.processes import make_accelerator
from ast_cli.training.settings import PATIENCE, TrainSettings
from ast_cli.training.state import Log, TrainingResult, Watcher, load_state, save_state

LOG_EVERY = 20  # steps
STATE_VERSION = 1  # of what the state holds
# Of a trainer; the state holds them under these names.
PROGRESS = ("step", "epoch", "clips", "seconds", "best", "epochs_without_better", "failed")
DEFAULT_WORKERS = 4  # processes that make examples beside an accelerator; the CPU has none to spare

Validate = Callable[[Tensor, Tensor], dict[str, float]]
"""Scores [N, C] and targets [N, C] -> named metrics; the first one counts, more is better."""


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
        UsageError: There is nothing to learn from, or no such kind of device.
        EngineError: The device is not here, or does not know the number format.
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
        settings = settings.fitted(classifier.config.hidden_size)
        self.settings, self.folder, self.validate, self.watcher = settings, folder, validate, watcher
        self.save, self.origin = save, dict(origin or {})
        self.stop = False
        self.accelerator = make_accelerator(settings, device)
        network = TrainedNetwork(classifier, settings.patchout, settings.column_weight)
        optimizers = make_optimizers(network, settings)
        on_cpu = self.accelerator.device.type == "cpu"
        if workers is None:
            workers = 0 if on_cpu else DEFAULT_WORKERS
        self.batches = EpochBatches(
            len(training),
            settings.batch_size,
            settings.seed,
            weights,
            processes=self.accelerator.num_processes,
        )
        self.trials = EpochBatches(len(validation), settings.batch_size, settings.seed, shuffle=False)
        loaders = (
            make_loader(source, batches, extractor, workers, pinned=not on_cpu)
            for source, batches in ((training, self.batches), (validation, self.trials))
        )
        prepare = self.accelerator.prepare
        self.network, *self.optimizers = prepare(network, *optimizers)
        self.training: Iterable[Batch | AstCliError]
        self.validation: Iterable[Batch | AstCliError]
        self.training, self.validation = map(prepare, loaders)
        self.batches_a_step: int = settings.accumulate * self.accelerator.num_processes
        self.steps_an_epoch: int = -(-len(self.batches) // self.batches_a_step)
        self.steps = self.steps_an_epoch * settings.epochs
        decay = settings.ema_decay(self.steps)
        self.average = running_average(self._classifier(), decay) if decay else None
        # What `state` holds besides weights and optimizers.
        self.step = self.epoch = self.clips = self.epochs_without_better = 0
        self.seconds = 0.0
        self.saved_step: int | None = None
        self.best: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def run(self, *, resume: bool = False) -> TrainingResult:
        """Train to the end, or to the end of patience; `resume` goes on from the state in the folder.

        Raises:
            CheckpointError: The state is of a run with other settings, or cannot be read.
            OutputError: State, log or checkpoint cannot be written; what was saved before is whole.
            InputError: Many clips in a row cannot be read.
        """
        if resume:
            self._restore()
        main = self.accelerator.is_main_process
        self.log = Log(self.folder, self.step, self.epoch) if main else None
        self.began = time.monotonic() - self.seconds
        self.saved = time.monotonic()
        if not resume and main:
            self._save_state()
        while self.epoch < self.settings.epochs and not self._out_of_patience():
            self._train_epoch()
            self._validate_epoch()
            self.epoch += 1
            self._save_state()
        return TrainingResult(
            validation=self.best,
            steps=self.step,
            clips=self.clips,
            seconds=time.monotonic() - self.began,
            failed=self.failed,
            stopped_early=self._out_of_patience(),
        )

    def _out_of_patience(self) -> bool:
        patience = PATIENCE if self.settings.patience is None else self.settings.patience
        return 0 < patience <= self.epochs_without_better

    def _train_epoch(self) -> None:
        settings, accelerator = self.settings, self.accelerator
        done = self.step - self.epoch * self.steps_an_epoch
        self.batches.epoch = self.epoch
        self.batches.skip = done * self.batches_a_step
        if done >= self.steps_an_epoch:
            return
        self.network.train()
        failed: list[tuple[str, str]] = []
        passes, clips, started = 0, 0, time.monotonic()
        for batch in self._loaded(self.training):
            # Patchout and dropout draw from torch's own chance: here it is tied to the step, the pass in it
            # and the process.
            part = passes * accelerator.num_processes + accelerator.process_index
            torch.manual_seed(hash((settings.seed, self.step, part)) & 0xFFFF_FFFF)
            whole = self.step >= settings.whole_from * self.steps
            cannot = what_cannot_run(
                accelerator.device, self._classifier().attn_implementation, settings.dtype, len(batch.targets)
            )
            with cannot, accelerator.accumulate(self.network), accelerator.autocast():
                losses = self.network(batch, whole)
                accelerator.backward(losses.total * self._share(len(batch.targets)))
                if accelerator.sync_gradients:
                    if settings.clip_norm:
                        accelerator.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
                    self._set_rates()
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
            passes += 1
            clips += len(batch.targets) * accelerator.num_processes
            failed += batch.failed
            if accelerator.sync_gradients:
                self._end_step(losses.targets, clips, time.monotonic() - started)
                if self._meet(failed):
                    self._save_state()
                    raise KeyboardInterrupt
                failed, passes, clips, started = [], 0, 0, time.monotonic()

    def _loaded(self, batches: Iterable[Batch | AstCliError]) -> Iterator[Batch]:
        """Batches on the device; raises what making one of them raised."""
        for batch in batches:
            if isinstance(batch, AstCliError):
                raise batch
            yield batch.to(self.accelerator.device)

    def _share(self, clips: int) -> float:
        """What a mean over `clips` counts in the step's mean over all of its clips.

        1 but for the last step of an epoch, whose batches may differ in size or number.
        """
        first: int = (
            (self.step - self.epoch * self.steps_an_epoch) * self.batches_a_step * self.batches.batch_size
        )
        of_step = min(self.batches.total - first, self.batches_a_step * self.batches.batch_size)
        return clips * self.batches_a_step / of_step

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
        value = self._finite(float(loss.detach()))
        row = {
            "step": self.step,
            "epoch": self.epoch + 1,
            "loss": round(value, 6),
            "lr": self.optimizers[0].param_groups[0]["lr"],
            "clips_per_second": float(f"{clips / max(seconds, 1e-9):.3g}"),
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
        self._finite(loss)
        metrics = self.validate(scores, targets)
        row = {"step": self.step, "epoch": self.epoch + 1, "validation": {"loss": loss} | metrics}
        found, best = _rank(row), _rank(self.best)
        better = not self.best or found > best
        hopeful = better if self.settings.patience is None else found[0] > best[0]
        self.epochs_without_better = 0 if hopeful else self.epochs_without_better + 1
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
        logits, targets, failed = [], [], []
        for batch in self._loaded(self.validation):
            with self.accelerator.autocast():
                output = classifier(batch.input_values).logits.float()
            gathered = self.accelerator.gather_for_metrics((output, batch.targets, batch.stand_ins))
            own = ~gathered[2]  # a clip must not count twice, in the place of one that cannot be read
            logits.append(gathered[0][own].cpu())
            targets.append(gathered[1][own].cpu())
            failed += batch.failed
        self._meet(failed)
        all_logits, all_targets = torch.cat(logits), torch.cat(targets)
        loss = float(targets_loss(classifier.config, all_logits, all_targets))
        single = classifier.config.problem_type == "single_label_classification"
        return all_logits.softmax(-1) if single else all_logits.sigmoid(), all_targets, round(loss, 6)

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise CheckpointError(
                f"the loss is not a number after step {self.step}",
                "Use a lower --lr, or --dtype float32; what was saved before is whole",
            )
        return loss

    def _meet(self, failed: list[tuple[str, str]]) -> bool:
        """Tell all processes which clips failed; returns whether any of them was asked to stop.

        All learn it after the same step, or one would wait for another that has left.
        """
        own = [(failed, self.stop)]
        everybody = gather_object(own) if self.accelerator.num_processes > 1 else own
        for file, cause in (failure for failures, _ in everybody for failure in failures):
            if file not in self.failed:
                self.failed[file] = cause
                if self.watcher and self.accelerator.is_main_process:
                    self.watcher.on_failed(file, cause)
        return any(stop for _, stop in everybody)

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
                "version": STATE_VERSION,
                "settings": dataclasses.asdict(self.settings),
                "origin": self.origin,
                "processes": self.accelerator.num_processes,
                **{name: getattr(self, name) for name in PROGRESS},
                "seconds": time.monotonic() - self.began,
                "network": self.accelerator.unwrap_model(self.network).state_dict(),
                "average": self.average.state_dict() if self.average is not None else {},
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
            },
        )
        self.saved_step = self.step

    def _restore(self) -> None:
        state = load_state(self.folder)
        # Only the main process saves: machines that share no folder would go on from different steps.
        if self.accelerator.num_processes > 1 and len(set(gather_object([state and state.get("step")]))) > 1:
            raise CheckpointError(
                f"not every machine finds the same state in {self.folder}", "Let all of them share the folder"
            )
        if state is None:
            return
        if state.get("version") != STATE_VERSION:
            raise CheckpointError(
                f"{self.folder} holds the state of another version of this tool",
                "Go on with that version, or start anew with --overwrite",
            )
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
            if self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.folder} holds a run of another network: {first_line(error)}",
                "Go on with the same command, or start anew with --overwrite",
            ) from error
        for name in PROGRESS:
            setattr(self, name, state[name])
        self.saved_step = self.step


def _rank(row: Mapping[str, Any]) -> tuple[float, float]:
    """What the better of two validations has more of: the first metric; where that is equal, less loss.

    Few clips are soon all told apart, and the network still gets surer of them for long.
    """
    if not row:
        return -math.inf, -math.inf
    loss, *metrics = row["validation"].values()
    known = bool(metrics) and metrics[0] is not None and not math.isnan(metrics[0])
    return metrics[0] if known else 0.0, -loss
