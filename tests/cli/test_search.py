"""`ast-tag search` as it is used: what is found, how it is written, and with which exit code it ends."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ast_cli import Tagger
from ast_cli.cli.embed import EmbedWindowOptions
from ast_cli.errors import ExitCode
from ast_cli.outputs.embedding_file import read_embeddings
from ast_cli.settings import TagSettings
from tests.cli.runner import ast_tag
from tests.random_checkpoint import save_random_checkpoint

RATE = 16_000


@pytest.fixture
def indexed(here: Path, checkpoint: Path) -> Path:
    """`v.npz` of four recordings, of which `clip.wav` and `copy.wav` are the same, and `w.npz` of windows."""
    shutil.copy("clip.wav", "copy.wav")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    soundfile.write("tone.wav", tone, RATE)
    names = ("clip.wav", "copy.wav", "long.wav", "tone.wav")
    model = ("--model", str(checkpoint))
    assert ast_tag("embed", *names, *model, "--out", "v.npz").code == ExitCode.OK
    windows = ("--per", "window", "--window", "1")
    assert ast_tag("embed", *names, *model, *windows, "--out", "w.npz").code == ExitCode.OK
    return here


def document(*args: str) -> dict[str, Any]:
    done = ast_tag("search", *args, "--format", "json")
    assert (done.code, done.err) == (ExitCode.OK, "")
    found: dict[str, Any] = json.loads(done.out)
    assert found["schema"] == "ast-search/1"
    return found


def test_the_nearest_recordings_come_first(indexed: Path, checkpoint: Path) -> None:
    found = document("clip.wav", "--in", "v.npz")
    assert [hit["file"] for hit in found["results"]][:2] == ["clip.wav", "copy.wav"]
    assert [hit["rank"] for hit in found["results"]] == [1, 2, 3, 4]
    vectors = [
        one.vectors[0]
        for one in Tagger.from_pretrained(checkpoint, device="cpu").embed(
            [hit["file"] for hit in found["results"]]
        )
    ]
    cosines = [float(vector @ vectors[0]) for vector in vectors]
    assert [hit["cosine"] for hit in found["results"]] == pytest.approx(cosines, abs=1e-5)
    assert cosines == sorted(cosines, reverse=True)
    assert (found["query"], found["in"], found["model"]["id"]) == ("clip.wav", "v.npz", str(checkpoint))


def test_windows_say_from_when_to_when(indexed: Path) -> None:
    soundfile.write("third.wav", soundfile.read("long.wav")[0][2 * RATE : 3 * RATE], RATE)
    [hit] = document("third.wav", "--in", "w.npz", "--top-k", "1")["results"]
    assert (hit["file"], hit["start"], hit["end"]) == ("long.wav", 2, 3)


def test_every_format_tells_the_same(indexed: Path) -> None:
    found = document("tone.wav", "--in", "v.npz", "-k", "2")["results"]
    Path("out").mkdir()
    assert ast_tag("search", "tone.wav", "--in", "v.npz", "-k", "2", "-o", "out/r.csv").code == ExitCode.OK
    with Path("out/r.csv").open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert [*rows[0]] == [*found[0]] == ["rank", "file", "start", "end", "cosine"]
    assert [float(row["cosine"]) for row in rows] == [hit["cosine"] for hit in found]
    lines = ast_tag("search", "tone.wav", "--in", "v.npz", "-k", "2").out.splitlines()
    assert lines[0] == "tone.wav\t0.000\t2.000\t1.000000"
    assert [line.split("\t")[0] for line in lines] == [hit["file"] for hit in found]


def test_near_duplicates_are_pairs_of_recordings(indexed: Path) -> None:
    found = document("--near-duplicates", "--in", "v.npz", "--threshold", "0.99999")
    [pair] = found["results"]
    assert (pair["file"], pair["other_file"]) == ("clip.wav", "copy.wav")
    assert pair["cosine"] == pytest.approx(1, abs=1e-5)
    every = document("--near-duplicates", "--in", "w.npz", "--threshold", "-1")["results"]
    assert len(every) == 1 + 2 * 4 + 2 * 2 + 4 * 2  # of 1, 1, 4 and 2 windows, none with its own recording's
    done = ast_tag("search", "--near-duplicates", "--in", "w.npz", "--threshold", "-1", "-k", "3")
    assert len(done.out.splitlines()) == 3
    assert "of 21 pairs, the nearest 3 are shown" in done.one_line()


@pytest.mark.parametrize(
    "how", ["--short crop --no-normalize --window 1 --hop 0.5", "--channel 2", "--channel 1 --window 0.5"]
)
def test_a_query_is_embedded_as_the_file_was(how: str, here: Path, checkpoint: Path) -> None:
    ast_tag("embed", "long.wav", "--model", str(checkpoint), *how.split(), "--out", "v.npz")
    [hit] = document("long.wav", "--in", "v.npz", "-k", "1")["results"]
    assert (hit["file"], hit["cosine"]) == ("long.wav", pytest.approx(1, abs=1e-6))


def test_a_query_without_the_channel_of_the_file_is_named(here: Path, checkpoint: Path) -> None:
    ast_tag("embed", "long.wav", "--model", str(checkpoint), "--channel", "2", "--out", "v.npz")
    done = ast_tag("search", "clip.wav", "--in", "v.npz")
    assert done.code == ExitCode.SOME_FAILED
    assert done.one_line() == "ast-tag: clip.wav: no-such-channel: v.npz is of channel 2 alone"


def test_every_option_that_makes_windows_is_stored_and_read_back(
    here: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"channel": 2, "window": 0.5, "hop": 0.25, "short": "crop", "noise_masking": 10.0}
    names = {one.name for one in fields(EmbedWindowOptions)}
    assert values.keys() == names, "a new option: is it stored, and what does search make of it?"
    how = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert ast_tag("embed", "long.wav", "--model", str(checkpoint), *how, "-o", "v.npz").code == ExitCode.OK
    asked: list[dict[str, object]] = []
    embed = Tagger.embed

    def spy(self: Tagger, paths: Any, *, settings: TagSettings, **more: Any) -> Any:
        asked.append(asdict(settings) | more)
        return embed(self, paths, settings=settings, **more)

    monkeypatch.setattr(Tagger, "embed", spy)
    document("long.wav", "--in", "v.npz")
    [used] = asked
    assert {name: used[name] for name in names} == values


def test_a_query_is_masked_as_the_file_was(here: Path, checkpoint: Path) -> None:
    model = ("--model", str(checkpoint))
    ast_tag("embed", "clip.wav", "long.wav", *model, "--noise-masking", "10", "--out", "v.npz")
    [hit] = document("long.wav", "--in", "v.npz", "-k", "1")["results"]
    assert (hit["file"], hit["cosine"]) == ("long.wav", pytest.approx(1, abs=1e-6))
    # That it is not as without: the plain vector is another.
    ast_tag("embed", "clip.wav", "long.wav", *model, "--out", "plain.npz")
    masked, plain = read_embeddings("v.npz"), read_embeddings("plain.npz")
    assert (masked.settings["noise_masking"], plain.settings["noise_masking"]) == (10, None)
    assert (np.einsum("rd,rd->r", masked.vectors, plain.vectors) < 1 - 1e-4).all()


def test_another_model_is_refused(indexed: Path, tmp_path: Path) -> None:
    other = save_random_checkpoint(tmp_path / "other", seed=1)
    done = ast_tag("search", "clip.wav", "--in", "v.npz", "--model", str(other))
    assert done.code == ExitCode.CANNOT_RUN
    assert done.out == ""
    assert f"and {other} is another" in done.one_line()


def test_a_model_that_moved_is_named(indexed: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "moved")
    found = document("clip.wav", "--in", "v.npz", "--model", str(tmp_path / "moved"))
    assert found["results"][0]["file"] == "clip.wav"


def test_an_npy_is_searched_by_what_lies_beside_it(indexed: Path, checkpoint: Path) -> None:
    names = ("clip.wav", "copy.wav", "long.wav", "tone.wav")
    assert ast_tag("embed", *names, "-m", str(checkpoint), "--out", "v.npy").code == ExitCode.OK
    found = document("clip.wav", "--in", "v.npy")
    assert found["results"] == document("clip.wav", "--in", "v.npz")["results"]
    assert found["model"] == document("clip.wav", "--in", "v.npz")["model"]
    Path("v.csv").write_text("file,start\nclip.wav,0\n")
    assert (
        "v.npy holds no vectors that can be read" in ast_tag("search", "clip.wav", "--in", "v.npy").one_line()
    )
    Path("v.npy.json").unlink()
    done = ast_tag("search", "clip.wav", "--in", "v.npy")
    assert done.code == ExitCode.CANNOT_RUN
    assert "v.npy does not say which model its vectors are of: v.npy.json is not there" in done.one_line()


@pytest.mark.parametrize(
    "damage", ["no file", "empty", "text", "short", "scores", "wrong rows", "npy", "folder"]
)
@pytest.mark.parametrize("query", [("clip.wav",), ("--near-duplicates",)])
def test_what_holds_no_vectors_is_one_clear_line(indexed: Path, damage: str, query: tuple[str, ...]) -> None:
    name = "v.npy" if damage == "npy" else "bad.npz"
    data = Path("v.npz").read_bytes()
    if damage == "folder":
        Path(name).mkdir()
    elif damage == "empty":
        Path(name).touch()
    elif damage == "text":
        Path(name).write_text("this is no vector")
    elif damage == "short":
        Path(name).write_bytes(data[: len(data) // 2])
    elif damage == "scores":
        np.savez(name, scores=np.zeros((2, 3)))
    elif damage == "npy":
        np.save(name, np.zeros((2, 3), np.float32))
    elif damage == "wrong rows":
        with np.load("v.npz") as stored:
            np.savez(name, **{**stored, "starts": np.zeros(3)})
    done = ast_tag("search", *query, "--in", name)
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert name in done.one_line()


def test_a_parquet_of_something_else_is_one_clear_line(indexed: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": [1]}), "x.parquet")
    Path("y.parquet").write_text("no table")
    for name in ("x.parquet", "y.parquet"):
        done = ast_tag("search", "clip.wav", "--in", name)
        assert done.code == ExitCode.CANNOT_RUN
        assert name in done.one_line()


@pytest.mark.parametrize(("query", "word"), [("gone.wav", "not-found"), ("notes.wav", "unsupported-format")])
def test_a_query_that_cannot_be_heard_is_one_line(indexed: Path, query: str, word: str) -> None:
    done = ast_tag("search", query, "--in", "v.npz")
    assert (done.code, done.out) == (ExitCode.SOME_FAILED, "")
    assert done.one_line().startswith(f"ast-tag: {query}: {word}: ")


@pytest.mark.parametrize(
    "args",
    [
        ("--in", "v.npz"),
        ("clip.wav", "--near-duplicates", "--in", "v.npz"),
        ("clip.wav", "--in", "v.npz", "--threshold", "2"),
        ("clip.wav", "--in", "v.npz", "--top-k", "-1"),
        ("clip.wav",),
    ],
)
def test_wrong_usage(indexed: Path, args: tuple[str, ...]) -> None:
    done = ast_tag("search", *args)
    assert (done.code, done.out) == (ExitCode.USAGE, "")


def test_a_file_is_replaced_only_if_asked(indexed: Path) -> None:
    Path("r.csv").write_text("mine")
    assert ast_tag("search", "clip.wav", "--in", "v.npz", "-o", "r.csv").code == ExitCode.CANNOT_RUN
    assert Path("r.csv").read_text() == "mine"
    assert ast_tag("search", "clip.wav", "--in", "v.npz", "-o", "r.csv", "--overwrite").code == ExitCode.OK
