"""`ast-tag explain`: what is printed, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import ExitCode
from tests.cli.runner import ast_tag


@pytest.fixture
def model(checkpoint: Path) -> str:
    return str(checkpoint)


def test_lines(here: Path, model: str) -> None:
    done = ast_tag("explain", "clip.wav", "-m", model, "--method", "gradient")
    assert done.code == ExitCode.OK
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    columns = ["label", "score", "method", "start", "end", "low_hz", "high_hz", "lost", "random"]
    assert header == columns
    tagged = ast_tag("clip.wav", "-m", model, "--top-k", "3")
    assert [row[:2] for row in rows] == [line.split("\t")[1:] for line in tagged.out.splitlines()]
    for row in rows:
        assert row[2] == "gradient"
        assert 0 <= float(row[3]) < float(row[4]) <= 1.1
        assert 20 < float(row[5]) < float(row[6]) < 8000
    assert done.one_line() == "0.00 to 0.98 s of clip.wav, 16 passes"
    assert ast_tag("explain", "clip.wav", "-m", model, "--method", "gradient", "-q").err == ""


def test_labels_in_every_way(here: Path, model: str) -> None:
    options = ("--method", "rollout", "-m", model, "--json")
    done = ast_tag(
        "explain", "clip.wav", "-l", "Dog", "-l", "/m/09x0r", "-l", "137", "-l", "speech", *options
    )
    assert [one["label"] for one in json.loads(done.out)["labels"]] == ["Dog", "Speech", "Music"]


def test_json(here: Path, model: str) -> None:
    done = ast_tag("explain", "long.wav", "-m", model, "--label", "Dog", "--at", "1.5", "--json")
    told = json.loads(done.out)
    assert (told["schema"], told["file"], told["model"]) == ("ast-explain/1", "long.wav", model)
    assert (told["method"], told["fill"], told["scores"], told["passes"]) == (
        *("occlusion", "silence", "sigmoid"),
        1 + 48 + 1 + 8,
    )
    assert told["window"] == {"start": 1.5, "seconds_heard": 1.28}
    assert told["patches"]["seconds"][1] == [1.6, 1.775]
    [one] = told["labels"]
    assert (one["index"], one["mid"], one["label"]) == (74, "/m/0bt9lr", "Dog")
    assert np.shape(one["heat"]) == (12, 12)


def test_arrays_are_written_once(here: Path, model: str) -> None:
    command = ("explain", "clip.wav", "-m", model, "--method", "rollout", "--out", "why.npz")
    assert ast_tag(*command).code == ExitCode.OK
    with np.load("why.npz") as arrays:
        assert arrays["heat"].shape == (3, 12, 12)
    again = ast_tag(*command)
    assert (again.code, again.one_line()) == (
        ExitCode.CANNOT_RUN,
        "ast-tag: why.npz is there already. --overwrite replaces it; or choose another name",
    )
    assert ast_tag(*command, "--overwrite").code == ExitCode.OK


def test_the_channel_is_said_as_everywhere(here: Path, model: str) -> None:
    command = ("explain", "clip.wav", "-m", model, "--method", "rollout", "--channel")
    assert ast_tag(*command, "mix").out == ast_tag(*command, "1").out != ""  # it has one channel


def test_a_picture_and_a_page_of_a_strange_name(here: Path, model: str) -> None:
    pytest.importorskip("matplotlib")
    name = '<i>"a"\n$x$.wav'
    Path("clip.wav").rename(name)
    for out in ("why.png", "why.html"):
        done = ast_tag("explain", name, "-m", model, "--method", "rollout", "-l", "Dog", "--out", out)
        assert done.code == ExitCode.OK
        assert r'<i>"a"\n$x$.wav' in done.one_line()
    assert Path("why.png").read_bytes().startswith(b"\x89PNG")
    page = Path("why.html").read_text()
    assert "<i>" not in page
    assert "&lt;i&gt;&quot;a&quot;\\n$x$.wav" in page


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (("-l", "Dgo"), ExitCode.USAGE, "the model has no class 'Dgo'. Did you mean Dog"),
        (("-l", "999"), ExitCode.USAGE, "the model has no class '999'"),
        (("--at", "7"), ExitCode.USAGE, "--at 7 is behind the end of the recording, which is at 1.00 s"),
        (("--at", "-1"), ExitCode.USAGE, "--at must be 0 s or more, not -1"),
        (("--fine", "--method", "rollout"), ExitCode.USAGE, "--fine is of occlusion"),
        (("--out", "why.jpg"), ExitCode.USAGE, "--out why.jpg is none of .png, .npz, .html"),
        (("--out", "no/why.npz"), ExitCode.CANNOT_RUN, "cannot write no/why.npz: no such folder"),
        (("--channel", "0"), ExitCode.USAGE, "no such channel: 0. --channel takes mix or a number from 1"),
        (("--channel", "2"), ExitCode.SOME_FAILED, "clip.wav: there is no channel 2"),
        (("-m", "nowhere"), ExitCode.CANNOT_RUN, "no such model: nowhere"),
    ],
)
def test_what_cannot_be(options: tuple[str, ...], code: ExitCode, line: str, here: Path, model: str) -> None:
    done = ast_tag("explain", "clip.wav", "-m", model, *options)
    assert (done.code, done.out) == (code, "")
    assert done.one_line().startswith(f"ast-tag: {line}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("silent.wav", "silent.wav: the window holds no sound at all"),
        ("short.wav", "short.wav: 200 samples at 16000 Hz do not fill one frame"),
        ("empty.wav", "empty.wav: it holds no audio, only a header"),
        ("notes.wav", "notes.wav: "),
        ("gone.wav", "gone.wav: no such file"),
    ],
)
@pytest.mark.parametrize("at", [(), ("--at", "0")])
def test_recordings_that_cannot_be_explained(
    name: str, line: str, at: tuple[str, ...], here: Path, model: str
) -> None:
    for kind, samples in (("silent", 16_000), ("short", 200), ("empty", 0)):
        soundfile.write(f"{kind}.wav", np.zeros(samples), 16_000)
    done = ast_tag("explain", name, "-m", model, *at)
    assert (done.code, done.out) == (ExitCode.SOME_FAILED, "")
    assert done.one_line().startswith(f"ast-tag: {line}")
