"""`ast-tag finetune`: labelled recordings in, a checkpoint of one's own out."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from safetensors.torch import load_file

from ast_cli import Tagger
from ast_cli.cli.training_screen import TrainingScreen
from ast_cli.errors import ExitCode
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.training.loop import Trainer
from ast_cli.training.state import load_state, read_log
from tests.cli.runner import ROOT, Done, ast_tag, environment, start
from tests.random_checkpoint import random_config, save_random_checkpoint
from tests.training.practice import save_tones

QUICK = ("--epochs", "2", "--batch-size", "5", "--lr", "1e-3", "--device", "cpu")
LONGER = ("--epochs", "12", "--no-augment")
LEFT = {
    *("config.json", "preprocessor_config.json", "model.safetensors"),
    *("README.md", "learning-curve.png", "log.jsonl", "run.json", "validation.csv"),
}


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tones(tmp_path_factory.mktemp("tones") / "tones")


@pytest.fixture(scope="session")
def more_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tones(tmp_path_factory.mktemp("more") / "tones")


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A nano network of other classes, with windows of 1.28 s."""
    config = random_config(stride=16, labels=4)
    return str(save_random_checkpoint(tmp_path_factory.mktemp("nano"), config))


@pytest.fixture(scope="module")
def done(tones: Path, nano: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run that went to its end."""
    out = tmp_path_factory.mktemp("done") / "out"
    told = ast_tag("finetune", tones, "--model", nano, "--out", out, *QUICK, *LONGER)
    assert told.code == 0, told.err
    return out, told


def finetune(*args: str | Path, code: int = 0) -> Done:
    told = ast_tag("finetune", *args, "--device", "cpu")
    assert told.code == code, told.err
    return told


def run_of(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())


def validations(out: Path) -> list[dict[str, Any]]:
    return [row["validation"] for row in read_log(out) if "validation" in row]


# From clips to a checkpoint


def test_it_learns_to_tell_tones_from_noise(done: tuple[Path, Done], tones: Path) -> None:
    out, told = done
    assert {path.name for path in out.iterdir()} == LEFT
    losses = [row["loss"] for row in validations(out)]
    assert len(losses) == 12
    assert losses[-1] < 0.5 * losses[0]
    assert run_of(out)["validation"]["validation"]["accuracy"] == 1
    assert told.out == ""
    assert "15 clips to learn 3 classes from (single-label), 3 to validate on" in told.errors
    assert told.errors[1].startswith("epoch 1: loss ")
    assert told.errors[-1] == f"ast-tag FILE --model {out}"


def test_the_folder_is_a_checkpoint_for_tagging(done: tuple[Path, Done], tones: Path) -> None:
    out, _ = done
    told = ast_tag(*(tones / name / "0.wav" for name in ("low", "high", "noise")), "-m", out, "-k", "1")
    assert told.code == 0
    assert [line.split("\t")[1] for line in told.out.splitlines()] == ["low", "high", "noise"]
    result = Tagger.from_pretrained(str(out)).tag(tones / "noise" / "1.wav", top_k=3)
    assert result.tags[0].label == "noise"
    assert sum(tag.score for tag in result.tags) == pytest.approx(1)


def test_the_folder_is_a_checkpoint_for_transformers(done: tuple[Path, Done], tones: Path) -> None:
    import transformers

    from ast_cli import ASTForAudioClassification

    out, _ = done
    waveform = soundfile.read(tones / "low" / "0.wav", dtype="float32")[0]
    theirs = transformers.AutoModelForAudioClassification.from_pretrained(out)
    their_inputs = transformers.ASTFeatureExtractor.from_pretrained(out)(
        waveform, sampling_rate=16_000, return_tensors="pt"
    )
    inputs = ASTFeatureExtractor.from_pretrained(out)(waveform, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = theirs(**their_inputs).logits
        found = ASTForAudioClassification.from_pretrained(out)(inputs.input_values).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert theirs.config.id2label == {0: "high", 1: "low", 2: "noise"}
    assert theirs.config.problem_type == "single_label_classification"


def test_windows_are_as_long_as_the_clips_need(done: tuple[Path, Done]) -> None:
    assert ASTFeatureExtractor.from_pretrained(done[0]).max_length == 64  # 0.6 s are 58 frames


def test_the_card_states_data_settings_and_scores(done: tuple[Path, Done], nano: str) -> None:
    card = (done[0] / "README.md").read_text()
    for line in (
        "pipeline_tag: audio-classification",
        f"| started from | {nano} |",
        "| data | tones |",
        "| clips to learn from | 15 |",
        "| clips to validate on | 3 |",
        "| accuracy | 1.0000 |",
        "| noise | 1 | 1.000 | 1.000 |",
        "| epochs | 12 |",
        "| lr | 0.001 |",
        "| head_lr | 0.004 |",
        "| frames | 64 |",
    ):
        assert line in card, line


def test_the_log_and_its_picture(done: tuple[Path, Done]) -> None:
    out, _ = done
    rows = read_log(out)
    assert [row["step"] for row in rows if "loss" in row] == [1, 20]
    assert [row["step"] for row in rows if "validation" in row] == list(range(3, 37, 3))
    assert (out / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    run = run_of(out)
    assert (run["done"], run["steps"], run["clips_seen"], run["failed"]) == (True, 36, 180, {})
    assert run["settings"]["epochs"] == 12


def test_quiet(tones: Path, nano: str, tmp_path: Path) -> None:
    assert finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK, "--quiet").err == ""


# What it learns from, and how


def table(folder: Path, tones: Path, header: str, rows: Callable[[str, int], str]) -> Path:
    """A CSV of the tones, with further columns."""
    lines = [
        f"{tones}/{name}/{number}.wav,{rows(name, number)}"
        for name in ("high", "low", "noise")
        for number in range(6)
    ]
    path = folder / "data.csv"
    path.write_text("\n".join([header, *lines, ""]))
    return path


def test_several_labels_a_clip(tones: Path, nano: str, tmp_path: Path) -> None:
    data = table(tmp_path, tones, "file,labels", lambda name, _: name if name == "noise" else f"tone;{name}")
    told = finetune(data, "-m", nano, "--out", tmp_path / "out", *QUICK)
    assert "(multi-label)" in told.errors[0]
    assert list(validations(tmp_path / "out")[0]) == ["loss", "mAP", "accuracy"]
    result = Tagger.from_pretrained(str(tmp_path / "out")).tag(tones / "low" / "0.wav", top_k=0)
    assert {tag.label for tag in result.tags} == {"high", "low", "noise", "tone"}
    assert json.loads((tmp_path / "out/config.json").read_text())["problem_type"].startswith("multi")


def test_the_datas_own_split(tones: Path, nano: str, tmp_path: Path) -> None:
    splits = ["train", "train", "train", "valid", "valid", "test"]
    data = table(tmp_path, tones, "file,labels,split", lambda name, number: f"{name},{splits[number]}")
    told = finetune(data, "-m", nano, "--out", tmp_path / "out", *QUICK)
    assert told.errors[0] == "9 clips to learn 3 classes from (single-label), 6 to validate on"


def test_a_fold_is_validated_on(tones: Path, nano: str, tmp_path: Path) -> None:
    data = table(tmp_path, tones, "file,labels,fold", lambda name, number: f"{name},{1 + number % 3}")
    told = finetune(data, "-m", nano, "--out", tmp_path / "out", *QUICK, "--fold", "2")
    assert told.errors[0] == "12 clips to learn 3 classes from (single-label), 6 to validate on"
    told = finetune(data, "-m", nano, "--out", tmp_path / "x", *QUICK, "--fold", "4", code=2)
    assert "no fold 4" in told.one_line()
    assert not (tmp_path / "x").exists()


def test_other_recordings_to_validate_on(tones: Path, more_tones: Path, nano: str, tmp_path: Path) -> None:
    args = (tones, "-m", nano, "--out", tmp_path / "out", *QUICK, "--validation", more_tones)
    assert (
        finetune(*args)
        .errors[0]
        .endswith("18 clips to learn 3 classes from (single-label), 18 to validate on")
    )
    told = finetune(*args[:-1], tones, "--overwrite", code=2)
    assert "18 clips to validate on are of recordings to learn from" in told.one_line()
    told = finetune(*args, "--fold", "1", "--overwrite", code=2)
    assert told.one_line() == "ast-tag: --validation, --fold and --folds exclude each other"


def test_from_scratch(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finetune(
        tones, "--from-scratch", "--out", out, "--epochs", "1", "--batch-size", "15", "--head-lr", "1e-3"
    )
    config, run = json.loads((out / "config.json").read_text()), run_of(out)
    assert (config["hidden_size"], config["num_hidden_layers"]) == (192, 12)
    assert run["origin"]["model"] == "from scratch, tiny"
    assert run["settings"]["lr"] == pytest.approx(2 * 3e-5 * (768 / 192) ** 2)
    assert run["settings"]["head_lr"] == 1e-3
    features = ASTFeatureExtractor.from_pretrained(out)
    told = json.loads(ast_tag("stats", tones, "--json").out)
    # Measured on what it learns from, which is all but three of the clips.
    assert (features.mean, features.std) == pytest.approx((told["mean"], told["std"]), abs=0.3)


def test_options_reach_the_run(tones: Path, nano: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wanted = {"accumulate": 2, "warmup": 0.2, "schedule": "linear", "optimizer": "muon", "ema": 0}
    wanted |= {"weight_decay": 0.2, "patchout": 0.25, "seed": 3, "dtype": "bfloat16", "patience": 7}
    options = [part for name, value in wanted.items() for part in (f"--{name}", str(value))]
    finetune(tones, "-m", nano, "--out", out, *QUICK, *options, "--balance", "--no-augment")
    run = run_of(out)
    assert wanted.items() <= run["settings"].items()
    assert (run["origin"]["balance"], run["origin"]["augmentation"]) == ("True", "None")
    chance = {"tempo": 0.1, "pitch": 0.3, "tone": 2.0, "gain": 3.0, "noise": 0.5}
    options = [part for name, value in chance.items() for part in (f"--{name}", str(value))]
    finetune(tones, "-m", nano, "--out", out, *QUICK, *options, "--overwrite")
    told = run_of(out)["origin"]["augmentation"]
    assert "tempo=0.1, pitch=0.3, tone=2.0, gain=3.0, roll=0.1, noise=0.5" in told


def test_patience(tones: Path, nano: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = finetune(
        tones, "-m", nano, "--out", out, *QUICK, "--epochs", "30", "--lr", "1e-9", "--patience", "2"
    )
    assert "stopped early" in told.errors[-2]
    assert run_of(out)["stopped_early"] is True
    assert len(validations(out)) == 3


def test_frames_may_be_chosen(tones: Path, nano: str, tmp_path: Path) -> None:
    from ast_cli.checkpoints.checkpoint import adapt_position_embeddings

    name = "audio_spectrogram_transformer.embeddings.position_embeddings"
    before = load_file(Path(nano) / "model.safetensors")[name]
    for frames, patches in (("48", 3), ("160", 10)):  # the checkpoint has 128, which are 8
        out = tmp_path / frames
        finetune(tones, "-m", nano, "--out", out, *QUICK, "--epochs", "1", "--lr", "1e-9", "--frames", frames)
        assert json.loads((out / "config.json").read_text())["max_length"] == int(frames)
        found = load_file(out / "model.safetensors")[name]
        torch.testing.assert_close(found, adapt_position_embeddings(before, 8, patches), rtol=0, atol=1e-6)


# Stopped and gone on with


def without_speed(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "clips_per_second"} for row in read_log(out)]


def assert_same_end(one: Path, other: Path) -> None:
    weights, expected = (load_file(out / "model.safetensors") for out in (one, other))
    assert weights.keys() == expected.keys()
    assert max(float((weights[name] - expected[name]).abs().max()) for name in weights) <= 1e-6
    assert without_speed(one) == without_speed(other)
    assert run_of(one)["validation"] == run_of(other)["validation"]
    assert {path.name for path in one.iterdir()} == LEFT


def killed(seed: int, seconds: float, *args: str | Path, out: Path) -> None:
    """Start the command and kill it at a random moment of its training."""
    log = out / "log.jsonl"
    before = log.stat().st_mtime_ns if log.exists() else 0
    with start("finetune", *args, "--out", out, "--resume") as process:
        while not log.exists() or log.stat().st_mtime_ns == before:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.005)
        time.sleep(float(np.random.default_rng(seed).uniform(0, seconds)))
        assert process.poll() is None, "it was faster than its killer"
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("kills", "epochs"), [(2, 8), pytest.param(10, 40, marks=pytest.mark.slow)], ids=["twice", "ten times"]
)
def test_killed_and_gone_on_with_it_ends_the_same(
    kills: int, epochs: int, tones: Path, nano: str, tmp_path: Path
) -> None:
    args = (tones, "-m", nano, *QUICK, "--epochs", str(epochs), "--save-minutes", "0", "--device", "cpu")
    for kill in range(kills):
        # Who makes the batches does not matter either.
        killed(kill, 0.4, *args, "--workers", str(kill % 2), out=tmp_path / "killed")
    done = ast_tag("finetune", *args, "--out", tmp_path / "killed", "--resume")
    assert done.code == 0, done.err
    ast_tag("finetune", *args, "--out", tmp_path / "whole")
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


def signal_at(step: int, number: signal.Signals) -> Callable[..., None]:
    def on_step(self: TrainingScreen, row: dict[str, Any], steps: int) -> None:
        if row["step"] == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_ends(
    number: signal.Signals, tones: Path, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (tones, "-m", nano, *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingScreen, "on_step", signal_at(4, number))
        told = finetune(*args, "--out", tmp_path / "cut", code=ExitCode.INTERRUPTED)
    assert told.errors[-2:] == [
        f"4 of 6 steps are done and kept in {tmp_path / 'cut'}, with the checkpoint of epoch 1; "
        "the same command with --resume goes on",
        "ast-tag: interrupted",
    ]
    state = load_state(tmp_path / "cut")
    assert state is not None
    assert state["step"] == 4
    finetune(*args, "--out", tmp_path / "cut", "--resume")
    finetune(*args, "--out", tmp_path / "whole")
    assert_same_end(tmp_path / "cut", tmp_path / "whole")


def test_an_ignored_hangup_ends_nothing(
    tones: Path, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under nohup."""
    monkeypatch.setattr(TrainingScreen, "on_step", signal_at(2, signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run_of(tmp_path / "out")["done"]


def test_ctrl_c_before_the_first_step_says_that_nothing_is_learned(
    tones: Path, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ast_cli.training.finetune.Start.load", interrupted)
    told = finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK, code=ExitCode.INTERRUPTED)
    assert told.errors[-2:] == [
        "nothing is learned yet: start anew with the same command",
        "ast-tag: interrupted",
    ]


@pytest.mark.parametrize(
    ("rate", "told"), [(0.412, "0.412 clips/s"), (8.0, "8 clips/s"), (1230.0, "1,230 clips/s")]
)
def test_the_bar_tells_rates_below_one_and_how_long_it_takes(
    rate: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=120)
    monkeypatch.setattr("ast_cli.cli.training_screen.stderr", lambda: console)
    screen = TrainingScreen(quiet=False, mute=False)
    clock = itertools.count(step=60)  # a step a minute
    with screen.progress():
        assert screen._bar is not None
        screen._bar.get_time = lambda: float(next(clock))
        for step in range(1, 4):
            row = {"step": step, "epoch": 1, "loss": 0.5, "clips_per_second": rate}
            screen.on_step(row, steps=10)
        screen._bar.refresh()
    assert told in drawn.getvalue()
    assert re.search(r"0:0[5-9]:\d\d|0:[1-9]\d:\d\d", drawn.getvalue())


def test_a_finished_run_has_nothing_to_resume(done: tuple[Path, Done], tones: Path, nano: str) -> None:
    out, _ = done
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    told = finetune(tones, "--model", nano, "--out", out, *QUICK, *LONGER, "--resume")
    assert told.errors[-1] == f"{out} is done already: nothing to resume"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("asked", "differs"),
    [
        (("--model", "tiny", *LONGER), "model"),
        (LONGER[:2], "augmentation"),
        ((*LONGER, "--balance"), "balance"),
        ((*LONGER, "--seed", "1"), "training_clips, validation_clips, seed"),
    ],
    ids=["model", "augmentation", "balance", "seed"],
)
def test_a_finished_run_is_not_taken_for_another(
    asked: tuple[str, ...], differs: str, done: tuple[Path, Done], tones: Path, nano: str
) -> None:
    out, _ = done
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    told = finetune(tones, "--model", nano, "--out", out, *QUICK, *asked, "--resume", code=3)
    assert told.errors[-1] == (
        f"ast-tag: {out} holds a finished run with other settings: {differs} differ. "
        "Start anew with --overwrite, or name another folder"
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.fixture
def cut(tones: Path, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was stopped in its second epoch."""
    with monkeypatch.context() as patch:
        patch.setattr(TrainingScreen, "on_step", signal_at(4, signal.SIGTERM))
        finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK, code=130)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (("--lr", "2e-3"), "lr, head_lr differ"),
        (("--epochs", "3"), "epochs differ"),
        (("--balance",), "balance differ"),
        (("--gain", "0"), "augmentation differ"),
        (("--frames", "48"), "frames differ"),
    ],
)
def test_another_run_is_not_gone_on_with(
    more: tuple[str, ...], differs: str, cut: Path, tones: Path, nano: str
) -> None:
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    told = finetune(tones, "-m", nano, "--out", cut, *QUICK, "--resume", *more, code=3)
    assert told.errors[-1] == (
        f"ast-tag: {cut} holds a run with other settings: {differs}. "
        "Go on with the same command, or start anew with --overwrite"
    )
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == before


def test_other_clips_or_another_model_are_not_gone_on_with(
    cut: Path, tones: Path, nano: str, tmp_path: Path
) -> None:
    fewer = save_tones(tmp_path / "tones", clips=5)
    told = finetune(fewer, "-m", nano, "--out", cut, *QUICK, "--resume", code=3)
    assert "other settings: training_clips, validation_clips differ" in told.errors[-1]
    other = save_random_checkpoint(tmp_path / "other", random_config(stride=16, labels=4), seed=1)
    told = finetune(tones, "-m", other, "--out", cut, *QUICK, "--resume", code=3)
    assert "other settings: model, weights differ" in told.errors[-1]


# What cannot be done, each in one line


def test_a_run_is_not_replaced_unasked(done: tuple[Path, Done], tones: Path, nano: str) -> None:
    out, _ = done
    told = finetune(tones, "-m", nano, "--out", out, *QUICK, code=2)
    assert told.errors[-1] == (
        f"ast-tag: {out} holds a run. Add --resume to go on with it, or --overwrite to replace it"
    )
    told = finetune(tones, "-m", nano, "--out", out, *QUICK, "--resume", "--overwrite", code=2)
    assert told.one_line() == "ast-tag: --resume and --overwrite exclude each other"


def test_a_run_that_cannot_start_replaces_nothing(cut: Path, tones: Path) -> None:
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    finetune(tones, "-m", cut / "nowhere", "--out", cut, *QUICK, "--overwrite", code=3)
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == before


def test_a_run_is_not_replaced_by_one_that_starts_from_it(cut: Path, tones: Path) -> None:
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    told = finetune(tones, "-m", cut, "--out", cut, *QUICK, "--overwrite", code=2)
    assert f"{cut} would be replaced by what starts from it" in told.errors[-1]
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == before


@pytest.mark.parametrize("more", [(), ("--resume",), ("--overwrite",)])
def test_other_peoples_files_are_left_alone(
    more: tuple[str, ...], tones: Path, nano: str, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("mine")
    told = finetune(tones, "-m", nano, "--out", tmp_path, *QUICK, *more, code=2)
    assert f"{tmp_path} holds other files, such as README.md. Name a new or empty folder" in told.errors[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_what_is_kept_beside_a_run_is_left_alone(cut: Path, tones: Path, nano: str) -> None:
    (cut / "thresholds.csv").write_text("mine")
    finetune(tones, "-m", nano, "--out", cut, *QUICK, "--resume")
    assert (cut / "thresholds.csv").read_text() == "mine"


def test_the_folder_may_be_no_file_nor_out_of_reach(tones: Path, nano: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = finetune(tones, "-m", nano, "--out", tmp_path / "file", *QUICK, code=2)
    assert f"{tmp_path}/file is a file. Name a folder" in told.errors[-1]
    told = finetune(tones, "-m", nano, "--out", tmp_path / "file" / "x", *QUICK, code=3)
    assert f"cannot make {tmp_path}/file/x: Not a directory" in told.errors[-1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,class\na.wav,x\n", "lacks the columns file, labels: its first line is name,class"),
        (
            "file,labels\n{tones}/low/0.wav,low\n{tones}/low/9.wav,gone\n",
            "no file is there for the label gone",
        ),
        ("file,labels\n{tones}/low/0.wav,low\n{tones}/low/1.wav,low\n", "all clips have the same label, low"),
        ("file,labels\n{tones}/low/0.wav,a\n{tones}/low/1.wav,b\n", "2 clips are too few to hold some out"),
        ("file,labels\n", "names no recording"),
    ],
    ids=["no columns", "a label without file", "one label", "too few", "empty"],
)
def test_data_that_cannot_be(text: str, line: str, tones: Path, nano: str, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text(text.format(tones=tones))
    told = finetune(data, "-m", nano, "--out", tmp_path / "out", *QUICK, code=2)
    assert line in told.errors[-1]
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        (("--lr", "0"), 2, "lr must be above 0, not 0.0"),
        (("--mixup", "2"), 2, "mixup must be 0 to 1, not 2.0"),
        (("--optimizer", "muon", "--dtype", "float16"), 2, "muon does not train in float16"),
        (("--dtype", "float16"), 3, "training in float16 needs a GPU"),
        (("--device", "tpu"), 2, "no such device: tpu"),
        (("--model", "nowhere/at-all", "--offline"), 3, "nowhere/at-all"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_options_that_cannot_be(
    more: tuple[str, ...], code: int, line: str, tones: Path, nano: str, tmp_path: Path
) -> None:
    told = ast_tag("finetune", tones, "-m", nano, "--out", tmp_path / "out", *QUICK, *more)
    assert told.code == code
    assert line in told.errors[-1]
    assert told.errors[-1].startswith("ast-tag: ")
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_a_checkpoint_of_another_shape(tones: Path, nano: str, tmp_path: Path) -> None:
    broken = save_random_checkpoint(tmp_path / "broken", random_config(stride=16, labels=4))
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"hidden_size": 128, "num_attention_heads": 4}))
    told = finetune(tones, "-m", broken, "--out", tmp_path / "out", *QUICK, code=3)
    assert "but config.json asks for" in told.errors[-1]
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_folder_without_a_recording_stops_nothing_and_is_said(
    tones: Path, nano: str, tmp_path: Path
) -> None:
    for name in ("low", "high"):
        shutil.copytree(tones / name, tmp_path / "data" / name)
    (tmp_path / "data/notes").mkdir()
    told = finetune(tmp_path / "data", "-m", nano, "--out", tmp_path / "out", *QUICK)
    assert (
        "ast-tag: warning: folders without a recording, which are no classes: 1, namely notes" in told.errors
    )
    assert run_of(tmp_path / "out")["labels"] == ["high", "low"]


def test_a_class_with_a_single_clip_is_trained_on_and_said(tones: Path, nano: str, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    rows = [f"{tones}/{name}/{number}.wav,{name}" for name in ("low", "high") for number in range(5)]
    data.write_text(
        "\n".join(["file,labels", *rows, f"{tones}/noise/0.wav,noise", f"{tones}/gone.wav,low", ""])
    )
    told = finetune(data, "-m", nano, "--out", tmp_path / "out", *QUICK)
    assert "ast-tag: warning: classes with a single clip: 1, namely noise" in told.errors
    assert f"ast-tag: warning: files that are missing: 1, namely {tones}/gone.wav" in told.errors
    assert run_of(tmp_path / "out")["missing"] == [f"{tones}/gone.wav"]
    card = (tmp_path / "out/README.md").read_text()
    assert "| noise | 0 | nan | nan |" in card


def test_recordings_that_cannot_be_read_are_skipped_and_named(nano: str, tmp_path: Path) -> None:
    tones, others = save_tones(tmp_path / "tones"), save_tones(tmp_path / "others", clips=3)
    bad = [others / "high" / "1.wav", tones / "low" / "2.wav", tones / "noise" / "4.wav"]
    for path in bad:
        path.write_text("no recording")
    told = finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK, "--validation", others, code=1)
    assert "clips that could not be read: 3" in told.err
    warnings = [line for line in told.errors if "warning" in line]
    assert sorted(line.split(": ")[2] for line in warnings) == [f"skipped {path}" for path in sorted(bad)]
    run = run_of(tmp_path / "out")
    assert sorted(run["failed"]) == sorted(map(str, bad))
    assert (run["steps"], run["clips_seen"]) == (8, 36)
    card = (tmp_path / "out/README.md").read_text()
    assert ("| high | 2 |" in card, "| low | 3 |" in card) == (True, True)  # validated on what can be read


def test_nothing_that_can_be_read(nano: str, tmp_path: Path) -> None:
    tones = save_tones(tmp_path / "tones", clips=3)
    for path in tones.glob("*/*.wav"):
        path.write_text("no recording")
    told = finetune(tones, "-m", nano, "--out", tmp_path / "out", *QUICK, code=1)
    assert "6 clips in a row cannot be read, the first: " in told.errors[-1]
    told = finetune(tones, "--from-scratch", "--out", tmp_path / "x", *QUICK, code=1)
    assert "none of 6 recordings could be read, the first: " in told.errors[-1]


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tones: Path, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (tones, "-m", nano, "--out", tmp_path / "out", *QUICK, "--epochs", "4")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    validate = Trainer._validate_epoch

    def filling_up(self: Trainer) -> None:
        if self.epoch == 2:  # no file may grow beyond 100 kB
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        self.best["validation"]["accuracy"] = -1.0 if self.best else 0
        validate(self)

    def first_then_filling_up(self: Trainer) -> None:
        validate(self) if not self.best else filling_up(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_validate_epoch", first_then_filling_up)
        try:
            told = finetune(*args, code=3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in told.errors[-1]
    assert "What was there before is whole; free some space and try again" in told.errors[-1]
    assert not [*(tmp_path / "out").glob("*.part")]
    assert Tagger.from_pretrained(str(tmp_path / "out")).tag(tones / "low" / "0.wav").tags
    state = load_state(tmp_path / "out")
    assert state is not None
    assert state["epoch"] == 2
    finetune(*args, "--resume")
    assert [row["epoch"] for row in read_log(tmp_path / "out") if "validation" in row] == [1, 2, 3, 4]


def test_a_rate_that_is_too_high(tones: Path, nano: str, tmp_path: Path) -> None:
    told = finetune(
        tones, "-m", nano, "--out", tmp_path / "out", *QUICK, "--lr", "1e30", "--ema", "0", code=3
    )
    assert "the loss is not a number after step" in told.errors[-1]
    assert "--lr" in told.errors[-1]
    assert load_state(tmp_path / "out") is not None


def test_without_the_extra(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda name: None)
    told = finetune(tones, "--out", tmp_path / "out", code=3)
    assert told.one_line() == (
        "ast-tag: accelerate and scikit-learn and matplotlib are not installed. pip install 'ast-cli[train]'"
    )


# Several processes


@pytest.mark.slow
def test_two_processes_leave_one_checkpoint_and_speak_once(
    tones: Path, more_tones: Path, nano: str, tmp_path: Path
) -> None:
    """As `accelerate launch` starts them where there are two GPUs."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    args = [
        tones,
        "-m",
        nano,
        *QUICK,
        "--batch-size",
        "4",
        "--validation",
        more_tones,
        "--out",
        tmp_path / "out",
    ]
    told = subprocess.run(
        [*launch, "-m", "ast_cli", "finetune", *args],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        timeout=250,
        check=False,
    )
    said = told.stderr.decode()
    assert told.returncode == 0, said
    run = run_of(tmp_path / "out")
    assert (run["steps"], run["clips_seen"]) == (6, 48)  # 18 clips fill up three steps of 2 × 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == LEFT
    assert said.count("18 clips to learn 3 classes from") == 1
    assert said.count("ast-tag FILE --model") == 1
