"""`ast-tag embed` as it is used: what is in the file, what is said, and with which exit code it ends."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ast_cli import Tagger
from ast_cli.errors import ExitCode
from ast_cli.outputs.embedding_file import read_embeddings
from tests.cli.runner import Done, ast_tag
from tests.extras import Extra

parquet = Extra("pyarrow.parquet")

WIDTH = 64  # of the nano checkpoint


@pytest.fixture
def model(checkpoint: Path) -> str:
    return str(checkpoint)


def embed(model: str, *args: str, out: str = "v.npz", stdin: bytes = b"") -> Done:
    return ast_tag("embed", *args, "--out", out, "--model", model, stdin=stdin)


def arrays(out: str = "v.npz") -> dict[str, Any]:
    with np.load(out, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored}


def test_a_vector_for_each_file(here: Path, model: str) -> None:
    done = embed(model, "clip.wav", "long.wav")
    assert (done.code, done.out) == (ExitCode.OK, "")
    assert done.one_line().startswith("2 inputs: 2 embedded, 0 failed, 0 skipped · 5.0 s of audio")
    found = arrays()
    assert (found["embeddings"].shape, found["embeddings"].dtype) == ((2, WIDTH), np.float32)
    assert found["files"].tolist() == ["clip.wav", "long.wav"]
    assert found["recording"].tolist() == [0, 1]
    assert (found["starts"].tolist(), found["ends"].tolist()) == ([0, 0], [1, 4])
    assert (str(found["model"]), bool(found["normalized"])) == (model, True)
    run = json.loads(str(found["run"]))
    assert run["schema"] == "ast-embed/1"
    assert run["model"]["sha256"] == str(found["sha256"]) != ""
    assert run["settings"]["per"] == "file"
    tagger = Tagger.from_pretrained(model, device="cpu")
    expected = [one.vectors[0] for one in tagger.embed(["clip.wav", "long.wav"])]
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-6)


def test_a_vector_for_each_window(here: Path, model: str) -> None:
    options = ("--per", "window", "--window", "1", "--hop", "0.9", "--no-normalize", "--channel", "2")
    assert embed(model, "long.wav", *options).code == ExitCode.OK
    found = arrays()
    assert found["recording"].tolist() == [0] * 5
    assert found["starts"].tolist() == pytest.approx([0, 0.9, 1.8, 2.7, 2.98])
    assert found["ends"].tolist() == pytest.approx([1, 1.9, 2.8, 3.7, 4])
    assert not found["normalized"]
    samples = soundfile.read("long.wav")[0][:, 1]
    soundfile.write("second.wav", samples, 16_000)
    tagger = Tagger.from_pretrained(model, device="cpu")
    [expected] = tagger.embed("second.wav", per="window", window=1, hop=0.9, normalize=False)
    np.testing.assert_allclose(found["embeddings"], expected.vectors, atol=1e-5)


def test_all_formats_hold_the_same(here: Path, model: str) -> None:
    for out in ("v.npz", "v.parquet", "v.npy"):
        options = ("--per", "window", "--window", "1", "--hop", "0.5")
        assert embed(model, "clip.wav", "long.wav", *options, out=out).code == ExitCode.OK
    found = arrays()
    np.testing.assert_array_equal(np.load("v.npy"), found["embeddings"])
    with Path("v.csv").open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert [row["file"] for row in rows] == found["files"][found["recording"]].tolist()
    assert [float(row["start"]) for row in rows] == found["starts"].tolist()
    assert [float(row["end"]) for row in rows] == found["ends"].tolist()
    table = parquet.read_table("v.parquet").to_pydict()
    assert list(table) == ["file", "start", "end", "embedding"]
    np.testing.assert_array_equal(np.array(table["embedding"], np.float32), found["embeddings"])
    for out in ("v.npz", "v.parquet", "v.npy"):
        stored = read_embeddings(out)
        np.testing.assert_array_equal(stored.vectors, found["embeddings"])
        for row, told in enumerate(rows):
            assert stored.place(row) == (told["file"], float(told["start"]), float(told["end"]))
        assert (stored.model, stored.sha256) == (model, str(found["sha256"]))
        assert stored.is_unit


def test_the_vectors_of_an_npz_are_read_where_they_lie(here: Path, model: str) -> None:
    embed(model, "clip.wav", "long.wav")
    vectors = read_embeddings("v.npz").vectors
    assert isinstance(vectors, np.memmap)
    assert vectors.flags.aligned


@pytest.mark.parametrize("out", ["v.npz", "v.parquet", "v.npy"])
def test_bad_files_cost_a_line_each_and_nothing_else(here: Path, model: str, out: str) -> None:
    Path("empty.wav").touch()
    done = embed(model, "empty.wav", "clip.wav", "notes.wav", "gone.wav", "long.wav", out=out)
    assert done.code == ExitCode.SOME_FAILED
    empty, notes, gone, closing = done.errors
    assert empty.startswith("ast-tag: empty.wav: empty: ")
    assert notes.startswith("ast-tag: notes.wav: unsupported-format: ")
    assert gone.startswith("ast-tag: gone.wav: not-found: ")
    assert "2 embedded, 3 failed" in closing
    assert len(read_embeddings(out).vectors) == 2


@pytest.mark.parametrize("out", ["v.npz", "v.parquet", "v.npy"])
def test_there_may_be_no_recording(here: Path, model: str, out: str) -> None:
    done = embed(model, "--files-from", "-", out=out)
    assert done.code == ExitCode.OK
    assert "0 inputs: 0 embedded" in done.one_line()
    if out == "v.npz":
        assert arrays()["embeddings"].shape == (0, WIDTH)
    searched = ast_tag("search", "clip.wav", "--in", out)
    assert searched.code == ExitCode.CANNOT_RUN
    assert out in searched.one_line()


def test_names_survive(here: Path, model: str) -> None:
    names = [
        "a,b.wav",
        'say "hi".wav',
        "two\nlines.wav",
        "=1+1.wav",
        os.fsdecode(b"caf\xe9.wav"),
        "\x1b[2J.wav",
    ]
    for name in names:
        os.link("clip.wav", name)
    listed = "\0".join(names).encode("utf-8", "surrogateescape")
    for out in ("v.npz", "v.parquet", "v.npy"):
        assert embed(model, "--files-from", "-", "-0", out=out, stdin=listed).code == ExitCode.OK
    shown = [*names[:4], r"caf\xe9.wav", names[5]]
    assert arrays()["files"].tolist() == shown
    assert parquet.read_table("v.parquet").column("file").to_pylist() == shown
    cells = [*shown[:3], "./=1+1.wav", shown[4], r"\x1b[2J.wav"]
    with Path("v.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["file"] for row in csv.DictReader(stream)] == cells
    found = ast_tag("search", "clip.wav", "--in", "v.npz", "-f", "csv")
    # All are as near, but for the last digit, which orders them.
    assert sorted(row["file"] for row in csv.DictReader(found.out.splitlines(keepends=True))) == sorted(cells)
    plain = ast_tag("search", "clip.wav", "--in", "v.parquet")
    assert len(plain.out.splitlines()) == len(names)


def test_a_recording_on_stdin(here: Path, model: str) -> None:
    assert embed(model, "-", stdin=Path("clip.wav").read_bytes()).code == ExitCode.OK
    assert arrays()["files"].tolist() == ["-"]


def test_what_is_there_is_replaced_only_if_asked(here: Path, model: str) -> None:
    for out, there in (("v.npz", "v.npz"), ("v.npy", "v.csv"), ("w.npy", "w.npy.json")):
        Path(there).write_text("mine")
        done = embed(model, "clip.wav", out=out)
        assert done.code == ExitCode.CANNOT_RUN
        assert f"{there} is there already" in done.one_line()
        assert Path(there).read_text() == "mine"
        assert embed(model, "clip.wav", "--overwrite", out=out).code == ExitCode.OK


def test_a_run_that_breaks_off_leaves_what_was_there(here: Path, model: str) -> None:
    Path("v.npz").write_text("mine")
    done = embed(f"{model}/gone", "clip.wav", "--overwrite")
    assert done.code == ExitCode.CANNOT_RUN
    assert Path("v.npz").read_text() == "mine"
    assert not [*here.glob("*.part")]


@pytest.mark.parametrize(
    ("args", "out", "said"),
    [
        (("clip.wav", "--engine", "openvino"), "v.npz", "there is no option --engine"),
        (("clip.wav",), "v.txt", "tells no format"),
        (("clip.wav",), "-", "tells no format"),
        ((), "v.npz", "nothing to embed"),
        (("clip.wav", "-0"), "v.npz", "--files-from"),
        (("clip.wav", "--channel", "0"), "v.npz", "no such channel"),
        (("clip.wav", "--hop", "9"), "v.npz", "would skip audio"),
    ],
)
def test_wrong_usage(here: Path, model: str, args: tuple[str, ...], out: str, said: str) -> None:
    done = embed(model, *args, out=out)
    assert done.code == ExitCode.USAGE
    assert said in done.one_line()
    assert not Path(out).exists()


def test_a_place_that_is_not_there(here: Path, model: str) -> None:
    for out in ("gone/v.npz", "folder.npz"):
        Path("folder.npz").mkdir(exist_ok=True)
        done = embed(model, "clip.wav", out=out)
        assert done.code == ExitCode.CANNOT_RUN
        assert out in done.one_line()


def test_quiet_says_nothing_but_failures(here: Path, model: str) -> None:
    assert embed(model, "clip.wav", "--quiet").errors == []
