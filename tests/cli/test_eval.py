"""`ast-tag eval`: labelled recordings in, metrics out."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import ExitCode
from tests.cli.known import save_known_checkpoint
from tests.cli.runner import ast_tag, in_a_process
from tests.random_checkpoint import random_config, save_random_checkpoint

# What `known` scores for every recording: see tests/cli/known.py.
SPEECH, DOG = 0.880797, 0.731059


@pytest.fixture
def data(here: Path) -> str:
    """Three recordings, and one that is not there, in two folds and two splits."""
    for name in ("one", "two", "three"):
        soundfile.write(f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal(8_000), 16_000)
    rows = "one.wav,Speech,1,test\ntwo.wav,Speech;Dog,2,test\nthree.wav,Music,2,train\ngone.wav,Dog,1,train\n"
    (here / "data.csv").write_text(f"file,labels,fold,split\n{rows}")
    return "data.csv"


def metrics(out: str) -> dict[str, list[str]]:
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header == ["metric", "value", "low", "high"]
    return {name: numbers for name, *numbers in lines}


def rows_of(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(file).read_text().splitlines()))


def evaluate(*args: str | Path) -> dict[str, list[str]]:
    done = ast_tag("eval", *args)
    assert done.code == 0, done.err
    return metrics(done.out)


def test_metrics_are_lines_with_their_intervals(data: str, known: str) -> None:
    done = ast_tag("eval", data, "-m", known, "--split", "all")
    found = metrics(done.out)
    assert list(found) == ["mAP", "mAUC", "d_prime", "accuracy"]
    # Every recording gets the same scores, so that a class's AP is its share: (2/3 + 1/3 + 1/3) / 3.
    assert found["mAP"][0] == "0.444444"
    assert found["mAUC"] == ["0.500000"] * 3
    assert found["d_prime"] == ["0.000000"] * 3
    assert found["accuracy"][0] == "0.666667"
    assert float(found["mAP"][1]) < 0.444444 < float(found["mAP"][2])
    assert done.code == 0
    assert "recordings that are not there: 1, namely ./gone.wav" in done.err
    assert "524 of 527 classes have no recording here" in done.err
    assert "3 inputs: 3 tagged, 0 failed, 0 skipped" in done.err


def test_the_test_split_is_measured_unless_another_is_asked_for(data: str, known: str) -> None:
    assert evaluate(data, "-m", known)["mAP"][0] == "0.750000"  # (2/2 + 1/2) / 2
    assert evaluate(data, "-m", known, "--split", "train", "--bootstrap", "0") == {
        "mAP": ["1.000000", "", ""],
        "mAUC": ["", "", ""],  # a single recording has no negatives
        "d_prime": ["", "", ""],
        "accuracy": ["0.000000", "", ""],
    }


def test_folds_one_by_one_and_together(data: str, known: str) -> None:
    found = evaluate(data, "-m", known, "--split", "all", "--folds")
    assert found["accuracy, fold 1"] == ["1.000000", "", ""]
    assert found["accuracy, fold 2"] == ["0.500000", "", ""]
    assert found["accuracy, mean of folds"] == ["0.750000", "", ""]
    assert evaluate(data, "-m", known, "--split", "all", "--fold", "2")["accuracy"][0] == "0.500000"


def test_in_a_cross_validation_each_fold_is_scored_by_its_own_model(data: str, here: Path) -> None:
    save_known_checkpoint(here / "cv" / "fold-1")  # says Speech first, which is right on the only clip
    save_known_checkpoint(here / "cv" / "fold-2", {500: 2.0})  # says Silence, which neither clip is
    found = evaluate(data, "-m", "cv/fold-{fold}", "--split", "all", "--folds")
    assert found["accuracy, fold 1"][0] == "1.000000"
    assert found["accuracy, fold 2"][0] == "0.000000"
    assert found["accuracy"][0] == "0.333333"


def test_models_for_folds_need_folds(data: str) -> None:
    done = ast_tag("eval", data, "-m", "cv/fold-{fold}")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "Add --folds" in done.one_line()


def test_everything_as_json(data: str, known: str) -> None:
    evaluate(data, "-m", known, "--split", "all", "--out", "eval.json", "--seed", "7", "--bootstrap", "30")
    told = json.loads(Path("eval.json").read_text())
    assert told["schema"] == "ast-eval/1"
    assert told["model"]["id"] == known
    assert told["data"] == {
        "source": data,
        "scores": None,
        "split": None,
        "fold": None,
        "clips": 4,
        "scored": 3,
        "multi_label": True,
    }
    assert told["bootstrap"] == {"resamples": 30, "level": 0.95, "seed": 7}
    assert told["metrics"]["mAP"]["value"] == 0.444444
    assert [one["label"] for one in told["classes"] if one["positives"]] == ["Speech", "Dog", "Music"]
    assert told["missing"] == ["./gone.wav"]
    assert told["failed"] == []


def test_classes_as_csv(data: str, known: str) -> None:
    evaluate(data, "-m", known, "--out", "eval.csv")
    rows = rows_of("eval.csv")
    assert len(rows) == 527
    assert rows[74] == {
        "index": "74",
        "mid": "/m/0bt9lr",
        "label": "Dog",
        "positives": "1",
        "AP": "0.500000",
        "AUC": "0.500000",
    }


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_stored_scores_give_the_same_without_a_model(
    suffix: str, data: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = ast_tag("eval", data, "-m", known, "--save-scores", f"scores.{suffix}")
    for file in Path().glob("*.wav"):
        file.unlink()
    monkeypatch.setattr("ast_cli.tagger.Tagger.open", lambda *args, **more: pytest.fail("loaded"))
    again = ast_tag("eval", data, "--scores", f"scores.{suffix}")
    assert (again.code, again.out) == (0, fresh.out)
    if suffix == "npz":
        assert ast_tag("eval", "--scores", "scores.npz").out == fresh.out


def test_scores_of_another_program_are_measured(here: Path) -> None:
    (here / "scores.csv").write_text("file,cat,dog\na.wav,0.9,0.2\nb.wav,0.3,0.4\nd.wav,0.6,0.4\n")
    (here / "data.csv").write_text("file,labels\na.wav,cat\nb.wav,dog\nc.wav,dog\nd.wav,dog\n")
    done = ast_tag("eval", "data.csv", "--scores", "scores.csv", "--bootstrap", "0", "--out", "e.json")
    assert metrics(done.out)["accuracy"] == ["0.666667", "", ""]
    assert "recordings without stored scores: 1, namely ./c.wav" in done.err
    told = json.loads(Path("e.json").read_text())
    assert told["confusion"] == [[1, 0], [1, 1]]
    assert (told["model"], told["data"]["scores"]) == (None, "scores.csv")
    assert told["data"]["clips"] == 4


def test_thresholds_are_written_for_each_class(data: str, known: str) -> None:
    evaluate(data, "-m", known, "--split", "all", "--calibrate", "thresholds.csv")
    rows = rows_of("thresholds.csv")
    assert [rows[0][name] for name in ("label", "f1", "positives")] == ["Speech", "0.800000", "2"]
    assert float(rows[0]["threshold"]) == pytest.approx(SPEECH, abs=1e-6)
    assert float(rows[74]["threshold"]) == pytest.approx(DOG, abs=1e-6)
    assert (rows[1]["threshold"], rows[1]["positives"]) == ("", "0")


def test_pictures_are_drawn(here: Path) -> None:
    (here / "scores.csv").write_text("file,cat,dog\na.wav,0.9,0.2\nb.wav,0.3,0.4\n")
    (here / "data.csv").write_text("file,labels\na.wav,cat\nb.wav,dog\n")
    evaluate("data.csv", "--scores", "scores.csv", "--pictures", "pictures")
    assert {file.name for file in Path("pictures").iterdir()} == {"average_precision.png", "confusion.png"}


def test_what_cannot_be_read_is_counted_named_and_told_by_the_exit_code(here: Path, known: str) -> None:
    (here / "data.csv").write_text("file,labels\nclip.wav,Speech\nnotes.wav,Dog\n")
    done = ast_tag("eval", "data.csv", "-m", known, "--out", "eval.json")
    assert done.code == ExitCode.SOME_FAILED
    assert metrics(done.out)["mAP"][0] == "1.000000"
    assert "./notes.wav: unsupported-format: " in done.err
    assert "1 tagged, 1 failed" in done.err
    [failed] = json.loads(Path("eval.json").read_text())["failed"]
    assert (failed["file"], failed["error"]) == ("./notes.wav", "unsupported-format")


def test_on_a_terminal_the_best_and_the_worst_classes_are_shown(data: str, known: str) -> None:
    args = ("eval", data, "-m", known, "--split", "all", "-q")
    done = in_a_process(*args, env={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert done.code == 0
    assert done.err == ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines[1][:2] == ["mAP", "0.444"]
    assert lines[5:] == [
        ["AP", "positives", "label"],
        ["0.667", "2", "Speech"],
        ["0.333", "1", "Dog"],
        ["0.333", "1", "Music"],
    ]


@pytest.mark.parametrize(("labels", "scores"), [("class 0", "softmax"), ("class 0;class 2", "sigmoid")])
def test_where_the_model_does_not_say_the_data_tells_whether_classes_exclude_each_other(
    labels: str, scores: str, here: Path, tmp_path: Path
) -> None:
    model = save_random_checkpoint(tmp_path / "model", random_config(labels=3))
    (here / "data.csv").write_text(f"file,labels\nclip.wav,{labels}\nlong.wav,class 1\n")
    evaluate("data.csv", "-m", model, "--out", "eval.json")
    assert json.loads(Path("eval.json").read_text())["model"]["scores"] == scores


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "nothing to measure"),
        (("gone.csv",), "no such data set: gone.csv"),
        (("data.csv", "--split", "dev"), "no split validation in data.csv. There are test, train"),
        (("data.csv", "--fold", "9"), "no fold 9 in data.csv. There are 1, 2"),
        (("data.csv", "--scores", "gone.npz"), "no such file of scores: gone.npz"),
        (("data.csv", "--out", "eval.xml"), "no such format for this: xml. Choose one of json, csv"),
        (("data.csv", "--save-scores", "s.json"), "Choose one of npz, csv"),
        (("data.csv", "--audio", "gone"), "no such recordings: gone"),
        (("data.csv", "--classes", "data.csv"), "data.csv lacks the columns index, mid, display_name"),
        (("clip.wav",), "clip.wav is a recording, and not what tells which label it has"),
        ((".", "--folds"), "no folder for each class"),
    ],
)
def test_what_makes_no_sense_is_one_line(args: tuple[str, ...], says: str, data: str, known: str) -> None:
    model = () if "--scores" in args else ("-m", known)
    done = ast_tag("eval", *args, *model)
    assert done.code == ExitCode.USAGE
    assert says in done.one_line()
    assert done.out == ""


def test_folds_are_asked_only_of_data_that_has_some(here: Path, known: str) -> None:
    (here / "data.csv").write_text("file,labels\nclip.wav,Speech\n")
    assert "the data has no folds" in ast_tag("eval", "data.csv", "-m", known, "--folds").one_line()


def test_a_model_and_stored_scores_are_one_too_many(data: str, known: str) -> None:
    done = ast_tag("eval", data, "-m", known, "--scores", "s.npz")
    assert (done.code, "not a model" in done.one_line()) == (ExitCode.USAGE, True)


def test_what_is_there_already_is_found_before_the_scoring(data: str, known: str) -> None:
    Path("eval.json").write_text("mine")
    done = ast_tag("eval", data, "-m", known, "--out", "eval.json")
    assert done.code == ExitCode.CANNOT_RUN
    assert "--overwrite" in done.one_line()
    assert Path("eval.json").read_text() == "mine"
    evaluate(data, "-m", known, "--out", "eval.json", "--overwrite")
    assert json.loads(Path("eval.json").read_text())["schema"] == "ast-eval/1"


@pytest.mark.parametrize(
    ("module", "package", "more"),
    [("sklearn", "scikit-learn", ()), ("matplotlib", "matplotlib", ("--pictures", "x"))],
)
def test_what_is_not_installed_is_named_with_its_remedy(
    module: str, package: str, more: tuple[str, ...], data: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = ast_tag("eval", data, "-m", known, *more)
    assert done.code == ExitCode.CANNOT_RUN
    assert done.one_line() == f"ast-tag: {package} is not installed. pip install 'ast-cli[train]'"
