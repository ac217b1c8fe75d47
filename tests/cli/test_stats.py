"""`ast-tag stats`: the two numbers that features are normalised by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.training.datasets import LabelledClip
from ast_cli.training.stats import measure_norm
from tests.cli.runner import ast_tag


def rows(out: str) -> dict[str, str]:
    return dict(line.split("\t") for line in out.splitlines())  # type: ignore[misc]


def test_lines(here: Path) -> None:
    expected = measure_norm(
        [LabelledClip(name, ()) for name in ("clip.wav", "long.wav")], ASTFeatureExtractor()
    )
    done = ast_tag("stats", "clip.wav", "long.wav")
    assert (done.code, done.err) == (0, "")
    mean, std = (expected.mean + 4.2677393) / 9.1379948, expected.std / 9.1379948
    assert rows(done.out) == {
        "mean": f"{expected.mean:.6f}",
        "std": f"{expected.std:.6f}",
        "clips": "2",
        "seconds": "5.00",
        "failed": "0",
        "normalised mean": f"{mean:.3f}",
        "normalised std": f"{std:.3f}",
        "fits": "no",
    }


def test_json_and_what_could_not_be_read(here: Path) -> None:
    done = ast_tag("stats", ".", "--json")
    assert done.code == ExitCode.SOME_FAILED
    assert "notes.wav: unsupported-format: " in done.one_line()
    told = json.loads(done.out)
    assert (told["clips"], told["seconds"], told["with_padding"]) == (2, 5.0, False)
    assert [Path(one["file"]).name for one in told["failed"]] == ["notes.wav"]
    assert told["model"]["mean"] == -4.2677393


def test_of_a_checkpoints_own_numbers(here: Path, checkpoint: Path, tmp_path: Path) -> None:
    told = json.loads(ast_tag("stats", "long.wav", "--json").out)
    assert not told["model"]["fits"]
    own = ASTFeatureExtractor(max_length=128, mean=told["mean"], std=told["std"])
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    own.save_pretrained(tmp_path)
    model = json.loads(ast_tag("stats", "long.wav", "-m", tmp_path, "--json").out)["model"]
    assert (model["id"], model["fits"]) == (str(tmp_path), True)
    assert (model["normalised_mean"], model["normalised_std"]) == pytest.approx((0, 0.5), abs=1e-6)


def test_with_padding_the_first_window_counts(here: Path) -> None:
    files = [LabelledClip(name, ()) for name in ("clip.wav", "long.wav")]
    expected = measure_norm(files, ASTFeatureExtractor(), with_padding=True)
    told = json.loads(ast_tag("stats", "clip.wav", "long.wav", "--with-padding", "--json").out)
    assert (told["mean"], told["std"], told["with_padding"]) == (expected.mean, expected.std, True)


def test_a_table_names_recordings_too_and_those_that_are_missing(here: Path) -> None:
    (here / "data.csv").write_text("file,labels\nclip.wav,a\ngone.wav,b\nlong.wav,b\n")
    done = ast_tag("stats", "data.csv")
    assert done.code == ExitCode.SOME_FAILED
    assert "gone.wav: not-found: no such file" in done.one_line()
    assert (rows(done.out)["clips"], rows(done.out)["failed"]) == ("2", "1")


@pytest.mark.parametrize("name", ["notes.wav", "nowhere.wav"])
def test_nothing_to_measure(name: str, here: Path) -> None:
    done = ast_tag("stats", name)
    assert done.code == ExitCode.SOME_FAILED
    assert f"none of 1 recordings could be read, the first: {name}: " in done.one_line()
    assert done.out == ""


def test_no_such_model(here: Path) -> None:
    done = ast_tag("stats", "clip.wav", "-m", "nowhere")
    assert done.code == ExitCode.CANNOT_RUN
    assert done.one_line().startswith("ast-tag: no such model: nowhere")


def test_a_table_may_be_separated_by_tabs(here: Path) -> None:
    (here / "table.tsv").write_text("file\tlabels\nclip.wav\tDog\nlong.wav\tCat\n")
    assert rows(ast_tag("stats", "table.tsv").out)["clips"] == "2"
