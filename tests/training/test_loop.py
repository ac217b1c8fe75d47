"""The order of things in training: steps, rates, averages, validation, what is kept, and what goes wrong."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ast_cli.errors import AstCliError, CheckpointError, EngineError, InputError, UsageError
from ast_cli.training.examples import AS_IT_IS, Example
from ast_cli.training.loop import Trainer
from ast_cli.training.settings import TrainSettings
from ast_cli.training.state import load_state, read_log
from tests.training.practice import EXTRACTOR, MULTI, Drawn, Looking, nano, train, trainer

QUICK = TrainSettings(epochs=2, batch_size=4, lr=1e-3, ema=0, dtype="float32")


# Steps


@pytest.mark.parametrize(
    ("clips", "batch_size", "accumulate", "steps"),
    [(10, 4, 1, 3), (8, 4, 1, 2), (10, 4, 2, 2), (10, 2, 4, 2), (3, 8, 4, 1)],
)
def test_steps_and_clips_are_counted(
    clips: int, batch_size: int, accumulate: int, steps: int, tmp_path: Path
) -> None:
    watcher = Looking()
    settings = dataclasses.replace(QUICK, batch_size=batch_size, accumulate=accumulate)
    outcome = train(tmp_path, settings, Drawn(clips), watcher=watcher)
    assert [row["step"] for row in watcher.steps] == list(range(1, 2 * steps + 1))
    assert [row["epoch"] for row in watcher.steps] == [1] * steps + [2] * steps
    assert (watcher.all_steps, outcome.steps, outcome.clips) == (2 * steps, 2 * steps, 2 * clips)


def test_each_epoch_meets_each_example_once_and_validation_as_it_is(tmp_path: Path) -> None:
    training, validation = Drawn(9), Drawn(5)
    train(tmp_path, QUICK, training, validation=validation)
    for epoch in range(2):
        assert sorted(index for one, index in training.asked if one == epoch) == list(range(9))
    assert validation.asked == [(AS_IT_IS, index) for index in range(5)] * 2


def test_the_loss_falls(tmp_path: Path) -> None:
    watcher = Looking()
    outcome = train(tmp_path, dataclasses.replace(QUICK, epochs=6), Drawn(20), watcher=watcher)
    first, last = watcher.steps[0]["loss"], np.mean([row["loss"] for row in watcher.steps[-5:]])
    assert last < 0.5 * first
    assert outcome.validation["validation"]["accuracy"] >= 6 / 7


def test_the_log_holds_steps_and_validations(tmp_path: Path) -> None:
    train(tmp_path, dataclasses.replace(QUICK, epochs=5, batch_size=2))
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows if "loss" in row] == [1, 20]
    assert [row["step"] for row in rows if "validation" in row] == [5, 10, 15, 20, 25]
    assert set(rows[0]) == {"step", "epoch", "loss", "lr", "clips_per_second"}
    assert list(rows[1]["validation"]) == ["loss", "accuracy"]


# Rates


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.853553, 0.5, 0.146447]),  # (1 + cos(k·π/4)) / 2
    ],
)
def test_rates_at_their_corners(schedule: Any, expected: list[float], tmp_path: Path) -> None:
    settings = TrainSettings(warmup=1 / 3, schedule=schedule, epochs=2, batch_size=4, lr=0.01, ema=0)
    assert [settings.rate(step, 6) for step in range(6)] == pytest.approx(expected, abs=1e-6)
    watcher = Looking()
    train(tmp_path, settings, Drawn(12), watcher=watcher)
    assert [row["lr"] for row in watcher.steps] == pytest.approx([0.01 * rate for rate in expected], abs=1e-7)


def test_no_warm_up_and_nothing_else() -> None:
    assert TrainSettings(warmup=0).rate(0, 10) == 1
    assert [TrainSettings(warmup=1).rate(step, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1]
    assert TrainSettings(warmup=0.05).rate(0, 1) == 1  # a twentieth of one step is none


def test_highest_rates_suit_the_width() -> None:
    assert TrainSettings().fitted(768).highest_rates == pytest.approx((3e-5, 1.2e-4))
    assert TrainSettings().fitted(768, fresh=True).highest_rates == pytest.approx((6e-5, 6e-5))
    assert TrainSettings().fitted(192).highest_rates == pytest.approx((9.6e-4, 3.84e-3))
    assert TrainSettings().fitted(192, fresh=True).highest_rates == pytest.approx((9.6e-4, 9.6e-4))
    assert TrainSettings(lr=1e-4).fitted(192).highest_rates == pytest.approx((1e-4, 4e-4))
    assert TrainSettings(lr=1e-4, head_lr=5e-5).fitted(768).highest_rates == (1e-4, 5e-5)


def test_narrow_networks_are_for_muon_unless_another_optimiser_is_asked_for() -> None:
    assert TrainSettings().fitted(192).optimizer == "muon"
    assert TrainSettings().fitted(768).optimizer == "adamw"
    assert TrainSettings(dtype="float16").fitted(192).optimizer == "adamw"
    assert TrainSettings(optimizer="adamw").fitted(192).optimizer == "adamw"


@pytest.mark.parametrize(("falling", "epochs"), [(3, 13), (20, 20)])
def test_it_stops_by_itself_where_neither_score_nor_loss_gets_better(
    falling: int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([max(1 - 0.01 * epoch, 1 - 0.01 * falling) for epoch in range(1, 21)])
    monkeypatch.setattr(Trainer, "_predict", lambda *_: (torch.ones(2, 2), torch.ones(2, 2), next(losses)))
    settings = dataclasses.replace(QUICK, epochs=20, batch_size=10)
    outcome = train(tmp_path, settings, validate=lambda *_: {"accuracy": 1.0})
    assert (outcome.steps, outcome.stopped_early) == (epochs, epochs < 20)


def test_the_average_forgets_over_a_twentieth_of_the_steps() -> None:
    assert TrainSettings().ema_decay(2000) == pytest.approx(0.99)
    assert TrainSettings().ema_decay(10) == 0
    assert TrainSettings().ema_decay(10**9) == 0.999
    assert TrainSettings(ema=0.5).ema_decay(10) == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", 0), ("batch_size", 0), ("accumulate", 0), ("warmup", 1.5), ("ema", 1.0)),
        *(("patchout", 1.0), ("patchout", -0.1), ("lr", 0.0), ("head_lr", float("inf"))),
        *(("weight_decay", -1.0), ("patience", -1), ("lr", float("nan")), ("save_minutes", float("nan"))),
    ],
)
def test_settings_that_cannot_be(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')} must be"):
        TrainSettings(**{name: value})  # type: ignore[arg-type]


def test_muon_has_no_float16() -> None:
    with pytest.raises(UsageError, match="muon does not train in float16"):
        TrainSettings(optimizer="muon", dtype="float16")


# Averages, validation, what is kept


def test_the_average_by_hand(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    running = trainer(
        tmp_path,
        dataclasses.replace(QUICK, ema=0.3),
        watcher=Looking(lambda row: seen.append(weight(running._classifier()))),
    )
    running.run()
    steps = seen[:3] + seen[4:7]  # without the two validations
    expected = steps[0]
    for count, step in enumerate(steps[1:], start=1):
        decay = min(0.3, (1 + count) / (10 + count))  # 2/11, 3/12, .3, .3, .3
        expected = decay * expected + (1 - decay) * step
    assert running.average is not None
    torch.testing.assert_close(weight(running.average.module), expected)


def weight(classifier: torch.nn.Module) -> Tensor:
    return classifier.get_parameter("classifier.dense.weight").detach().clone()


@pytest.mark.parametrize(("keep", "saved", "kept"), [("best", [1, 2, 4], 4), ("last", [1, 2, 3, 4, 5], 5)])
def test_what_is_kept(keep: Any, saved: list[int], kept: int, tmp_path: Path) -> None:
    scores, epochs = iter([0.1, 0.5, 0.4, 0.7, 0.6]), []
    outcome = train(
        tmp_path,
        dataclasses.replace(QUICK, epochs=5, keep=keep),
        validate=lambda *_: {"accuracy": next(scores), "mAP": 0.9},
        save=lambda classifier, row: epochs.append(row["epoch"]),
    )
    assert epochs == saved
    assert outcome.validation["epoch"] == kept


def test_among_equals_the_lowest_loss_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, epochs = iter([0.5, 0.2, 0.4, 0.1]), []
    monkeypatch.setattr(Trainer, "_predict", lambda *_: (torch.ones(2, 2), torch.ones(2, 2), next(losses)))
    scores = iter([0.9, 0.9, 0.9, 0.8])
    train(
        tmp_path,
        dataclasses.replace(QUICK, epochs=4),
        validate=lambda *_: {"accuracy": next(scores)},
        save=lambda classifier, row: epochs.append(row["epoch"]),
    )
    assert epochs == [1, 2]


def test_patience(tmp_path: Path) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    settings = dataclasses.replace(QUICK, epochs=5, patience=2)
    outcome = train(tmp_path, settings, validate=lambda *_: {"accuracy": next(scores)})
    assert outcome.stopped_early
    assert outcome.validation["validation"]["accuracy"] == 0.5
    assert outcome.steps == 12


@pytest.mark.parametrize("problem", ["single_label_classification", MULTI])
def test_validation_scores_the_network_as_it_would_be_used(problem: str, tmp_path: Path) -> None:
    """Not while dropout is on, nor the weights where an average is kept."""
    got: list[tuple[Tensor, Tensor]] = []
    networks: list[torch.nn.Module] = []
    validation = Drawn(7, multi_label=problem == MULTI)

    def validate(scores: Tensor, targets: Tensor) -> dict[str, float]:
        got.append((scores, targets))
        return {"accuracy": len(got)}

    train(
        tmp_path,
        dataclasses.replace(QUICK, ema=0.9),
        Drawn(10, multi_label=problem == MULTI),
        nano(problem, hidden_dropout_prob=0.3),
        validation=validation,
        validate=validate,
        save=lambda classifier, row: networks.append(copy.deepcopy(classifier)),
    )
    made = [validation.example(index, AS_IT_IS, np.random.default_rng(0)) for index in range(7)]
    inputs = torch.stack([EXTRACTOR.normalize(EXTRACTOR.pad(one.frames)) for one in made])
    for (scores, targets), network in zip(got, networks, strict=True):
        with torch.inference_mode():
            logits = network.eval()(inputs).logits
        expected = logits.sigmoid() if problem == MULTI else logits.softmax(-1)
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(targets, torch.stack([one.targets for one in made]))


# What goes wrong


def test_clips_that_cannot_be_read_are_named_once_and_not_validated_on(tmp_path: Path) -> None:
    watcher, sizes = Looking(), []
    outcome = train(
        tmp_path,
        QUICK,
        Drawn(10, failing=[2, 7]),
        validation=Drawn(7, failing=[0, 2]),
        validate=lambda scores, targets: sizes.append(len(scores)) or {"accuracy": 0.5},
        watcher=watcher,
    )
    assert sorted(watcher.failed) == [(f"{index}.wav", "it is broken") for index in (0, 2, 7)]
    assert sorted(outcome.failed) == ["0.wav", "2.wav", "7.wav"]
    assert sizes == [5, 5]
    assert outcome.steps == 6


class Broken(Drawn):
    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        raise InputError("unreadable", "10 clips in a row cannot be read, the first: a.wav: it is broken")


def test_a_source_that_gives_up_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in a row cannot be read, the first: a\.wav"):
        train(tmp_path, QUICK, Broken(10))


def test_a_loss_that_is_no_number_ends_the_run_with_the_state_whole(tmp_path: Path) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["step"] == 2:
            with torch.no_grad():
                running._classifier().get_parameter("classifier.dense.bias").fill_(float("nan"))

    settings = dataclasses.replace(QUICK, save_minutes=0)
    running = trainer(tmp_path, settings, watcher=Looking(spoil))
    with pytest.raises(CheckpointError, match="the loss is not a number after step 3") as caught:
        running.run()
    assert "--lr" in caught.value.remedy
    assert load_state(tmp_path) is not None


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["step"] == 3:  # the last of the epoch: no loss will tell
            with torch.no_grad():
                running._classifier().get_parameter("classifier.dense.bias").fill_(float("inf"))

    saved: list[Any] = []
    running = trainer(tmp_path, QUICK, watcher=Looking(spoil), save=lambda *args: saved.append(args))
    with pytest.raises(CheckpointError, match="not a number"):
        running.run()
    assert saved == []


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no clip to train on"):
        train(tmp_path, QUICK, Drawn(0))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"device": "gpu"}, UsageError, "no such device: gpu"),
        ({"device": "cuda:99"}, EngineError, r"no CUDA device|no device cuda:99"),
        ({"device": "cpu", "dtype": "float16"}, EngineError, "float16 needs a GPU"),
    ],
)
def test_devices_that_are_not_here(
    more: dict[str, str], error: type[AstCliError], message: str, tmp_path: Path
) -> None:
    from ast_cli.training.processes import make_accelerator

    settings = dataclasses.replace(QUICK, dtype=more.get("dtype", "auto"))  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        make_accelerator(settings, more["device"])


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "no")])
def test_a_cpu_that_computes_in_bfloat16_trains_in_it(
    has: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ast_cli.training.processes import make_accelerator

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    assert make_accelerator(TrainSettings(), "cpu").mixed_precision == precision


def test_runs_of_two_number_formats_follow_each_other(tmp_path: Path) -> None:
    outcomes = [
        train(tmp_path / dtype, dataclasses.replace(QUICK, dtype=dtype))  # type: ignore[arg-type]
        for dtype in ("float32", "bfloat16", "float32")
    ]
    losses = [outcome.validation["validation"]["loss"] for outcome in outcomes]
    assert losses[0] == losses[2] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
