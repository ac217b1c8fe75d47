"""A run that was cut off, wherever, ends as if it had not been."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ast_cli.errors import CheckpointError, OutputError
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.training.loop import Trainer
from ast_cli.training.settings import TrainSettings
from ast_cli.training.state import Log, load_state, read_log, save_state
from tests.training.practice import Drawn, Looking, accuracy, nano, train, trainer

# 3 epochs of 4 steps of 2 passes; dropout, patchout, the average and both optimisers have something to lose.
SETTINGS = TrainSettings(
    epochs=3, batch_size=2, accumulate=2, lr=1e-3, patchout=0.3, ema=0.9, optimizer="muon", save_minutes=0
)
STEPS = 12
TOLERANCE = 1e-6


class Killed(BaseException):
    """Stands for a signal that nobody can catch."""


@dataclasses.dataclass
class Moment:
    """Where a run is killed: the `count`-th time that something happens."""

    what: str
    count: int

    def __str__(self) -> str:
        return f"{self.what} {self.count}"

    def comes(self, what: str) -> None:
        if what == self.what:
            self.count -= 1
            if self.count == 0:
                raise Killed


@dataclasses.dataclass
class Run:
    """A folder with a run in it, and what it kept."""

    folder: Path
    settings: TrainSettings = SETTINGS
    kept: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    last: Trainer | None = None

    def go(self, *moments: Moment, resume: bool = False, **more: Any) -> Any:
        def comes(what: str) -> None:
            for moment in moments:
                moment.comes(what)

        def look(row: dict[str, Any]) -> None:
            comes("validated" if "validation" in row else "step")

        def validate(scores: Tensor, targets: Tensor) -> dict[str, float]:
            comes("validation")
            return accuracy(scores, targets)

        def save(classifier: ASTForAudioClassification, row: dict[str, Any]) -> None:
            comes("before saving")
            self.kept = {name: weight.clone() for name, weight in classifier.state_dict().items()}
            comes("after saving")

        self.last = trainer(
            self.folder,
            self.settings,
            Drawn(15),
            nano(hidden_dropout_prob=0.1),
            watcher=Looking(look),
            validate=validate,
            save=save,
            **more,
        )
        return self.last.run(resume=resume)

    def killed_at(self, *moments: Moment, resume: bool = False, **more: Any) -> None:
        with pytest.raises(Killed):
            self.go(*moments, resume=resume, **more)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "clips_per_second"} for row in read_log(self.folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("whole"))
    run.outcome = run.go()  # type: ignore[attr-defined]
    assert run.outcome.steps == STEPS  # type: ignore[attr-defined]
    return run


def difference(one: Run, other: Run) -> float:
    """The largest between their weights: those they trained, their average, and those they kept."""
    assert one.last is not None
    assert other.last is not None
    assert one.last.average is not None
    assert other.last.average is not None
    pairs = (
        (one.last._classifier().state_dict(), other.last._classifier().state_dict()),
        (one.last.average.state_dict(), other.last.average.state_dict()),
        (one.kept, other.kept),
    )
    assert all(first.keys() == second.keys() for first, second in pairs)
    return max(float((first[name] - second[name]).abs().max()) for first, second in pairs for name in first)


def assert_equal(run: Run, outcome: Any, whole: Run) -> None:
    assert difference(run, whole) <= TOLERANCE
    assert run.log == whole.log
    expected = whole.outcome  # type: ignore[attr-defined]
    assert outcome.validation == expected.validation
    assert (outcome.steps, outcome.clips, outcome.stopped_early) == (STEPS, expected.clips, False)


def test_the_run_is_worth_comparing(whole: Run, tmp_path: Path) -> None:
    other = Run(tmp_path, dataclasses.replace(SETTINGS, seed=1))
    other.go()
    assert difference(other, whole) > 1e-3
    assert [row["step"] for row in whole.log] == [1, 4, 8, 12]


@pytest.mark.parametrize("save_minutes", [0, 60], ids=["each step is saved", "each epoch is saved"])
@pytest.mark.parametrize(
    "moment",
    [
        *(("step", step) for step in (1, 3, 4, 5, 8, 11, 12)),
        *(("validation", epoch) for epoch in (1, 3)),
        *(("before saving", 1), ("after saving", 1)),
        *(("validated", epoch) for epoch in (1, 2, 3)),
    ],
    ids=lambda moment: f"{moment[0]} {moment[1]}",
)
def test_killed_at_any_moment(
    moment: tuple[str, int], save_minutes: float, whole: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path, dataclasses.replace(SETTINGS, save_minutes=save_minutes))
    run.killed_at(Moment(*moment))
    assert_equal(run, run.go(resume=True), whole)


def test_killed_again_and_again(whole: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    rng = np.random.default_rng(0)
    resume = False
    for _ in range(5):
        run.killed_at(Moment("step", int(rng.integers(1, 4))), resume=resume)
        resume = True
    assert_equal(run, run.go(resume=True), whole)


def test_killed_before_anything_was_saved(whole: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ast_cli.training.loop.save_state", raising(Killed()))
        with pytest.raises(Killed):
            run.go()
    assert load_state(tmp_path) is None
    assert_equal(run, run.go(resume=True), whole)


def test_killed_between_the_end_and_the_last_save(whole: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.go()
    run.last = None
    assert_equal(run, run.go(resume=True), whole)  # nothing is left to do, and nothing is done again
    assert len(run.log) == len(whole.log)


def test_stopped_gently_at_the_end_of_an_epoch_then_killed_in_its_validation(
    whole: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path)

    def stop_after_four(row: dict[str, Any]) -> None:
        if row["step"] == 4:
            stopping.stop = True

    stopping = trainer(
        tmp_path, SETTINGS, Drawn(15), nano(hidden_dropout_prob=0.1), watcher=Looking(stop_after_four)
    )
    with pytest.raises(KeyboardInterrupt):
        stopping.run()
    state = load_state(tmp_path)
    assert state is not None
    assert (state["step"], state["epoch"]) == (4, 0)
    run.killed_at(Moment("validated", 1), resume=True)
    assert_equal(run, run.go(resume=True), whole)


def test_patience_that_ran_out_stays_so(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=6, patience=2)
    scores = iter([0.5, 0.4, 0.3])

    def stop(*_: Any) -> dict[str, float]:
        return {"accuracy": next(scores)}

    outcome = train(tmp_path, settings, validate=stop)
    assert outcome.stopped_early
    assert outcome.validation["epoch"] == 1
    again = train(tmp_path, settings, validate=stop, resume=True)  # as if killed before it could say so
    assert again.stopped_early
    assert again.steps == outcome.steps == 9
    assert again.validation == outcome.validation


# What does not fit


@pytest.mark.parametrize(
    ("change", "data", "named"),
    [
        ({"lr": 2e-3}, "mine.csv", "lr, head_lr differ"),
        ({"seed": 1, "epochs": 4}, "mine.csv", "epochs, seed differ"),
        ({}, "other.csv", "data differ"),
    ],
    ids=["a setting", "two settings", "the data"],
)
def test_another_run_is_refused_by_what_differs(
    change: dict[str, Any], data: str, named: str, tmp_path: Path
) -> None:
    Run(tmp_path).killed_at(Moment("step", 2), origin={"data": "mine.csv"})
    before = read_log(tmp_path)
    settings = dataclasses.replace(SETTINGS, **change)
    with pytest.raises(CheckpointError, match=f"run with other settings: {named}") as caught:
        train(tmp_path, settings, Drawn(15), resume=True, origin={"data": data})
    assert "\n" not in str(caught.value)
    assert read_log(tmp_path) == before


def test_how_often_is_saved_may_differ(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.killed_at(Moment("step", 2))
    run.settings = dataclasses.replace(SETTINGS, save_minutes=30)
    assert run.go(resume=True).steps == STEPS


def test_another_network_is_refused(tmp_path: Path) -> None:
    Run(tmp_path).killed_at(Moment("step", 2))
    with pytest.raises(CheckpointError, match="a run of another network"):
        train(tmp_path, SETTINGS, Drawn(15), nano(qkv_bias=False), resume=True)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "resume.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"cannot read .*resume\.pt"):
        train(tmp_path, SETTINGS, resume=True)


# The files


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_a_full_disk_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, {"step": 1})
    monkeypatch.setattr(torch, "save", lambda state, part: part.write_bytes(b"x") and full_disk())
    with pytest.raises(OutputError, match=r"cannot write .*resume\.pt: .*No space left"):
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]


def full_disk() -> None:
    Path("/dev/full").write_text("x")


def test_the_log_is_cut_to_the_state(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "epoch": 1, "loss": 3.0},
        {"step": 4, "epoch": 1, "loss": 2.0},
        {"step": 4, "epoch": 1, "validation": {"accuracy": 0.5}},
        {"step": 5, "epoch": 2, "loss": 1.0},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 6, "epo'  # cut off by a kill
    for step, epoch, kept in ((5, 1, 4), (4, 1, 3), (4, 0, 2), (3, 0, 1), (0, 0, 0)):
        (tmp_path / "log.jsonl").write_text(text)
        assert Log(tmp_path, step, epoch).rows == rows[:kept]
        assert read_log(tmp_path) == rows[:kept]


def test_a_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path, 0, 0)
    log.add({"step": 1, "epoch": 1, "loss": 0.5})
    assert read_log(tmp_path) == [{"step": 1, "epoch": 1, "loss": 0.5}]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = Log(tmp_path, 0, 0)
    log.path = Path("/dev/full")
    with pytest.raises(OutputError, match=r"cannot write /dev/full: No space left"):
        log.add({"step": 1, "epoch": 1})
