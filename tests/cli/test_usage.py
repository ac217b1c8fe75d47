"""A command line that makes no sense is answered in one line, with cause and remedy, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from tests.cli.runner import ast_tag

# Typer's own words.
NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
NO_NUMBER = "Input should be a valid number, unable to parse string as a number"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "clip.wav --top-k x",
            f"--top-k: {NO_INTEGER}. See `ast-tag tag --help`",
        ),
        ("clip.wav -k -1", "--top-k: Input should be greater than or equal to 0. See `ast-tag tag --help`"),
        (
            "clip.wav --batch-size 0",
            "--batch-size 0 is neither auto nor a number from 1. Leave it out",
        ),
        (
            "clip.wav --hop x",
            f"--hop: {NO_NUMBER}. See `ast-tag tag --help`",
        ),
        (
            "listen --rate 5",
            "--rate: Input should be greater than or equal to 1000. See `ast-tag listen --help`",
        ),
        (
            "search a.wav --in v.npz --threshold x",
            f"--threshold: {NO_NUMBER}. See `ast-tag search --help`",
        ),
        (
            "clip.wav --scores loud",
            "--scores: 'loud' is not one of 'auto', 'sigmoid', 'softmax', 'logits'. See `ast-tag tag --help`",
        ),
        (
            "clip.wav --scores sigmoit",
            "--scores: 'sigmoit' is not one of 'auto', 'sigmoid', 'softmax', 'logits'. Did you mean sigmoid",
        ),
        ("clip.wav --treshold 1", "there is no option --treshold. Did you mean --threshold"),
        ("clip.wav --zzzzz", "there is no option --zzzzz. See `ast-tag tag --help`"),
        ("clip.wav --model", "Option '--model' requires an argument. See `ast-tag tag --help`"),
        ("clip.wav --quiet=3", "Option '--quiet' does not take a value. See `ast-tag tag --help`"),
        ("embed clip.wav", "--out is missing. Add --out FILE"),
        ("models fetch", "No such command 'fetch'. See `ast-tag models --help`"),
        ("-dash.wav", "there is no option -dash.wav. A file of this name is ./-dash.wav"),
        ("tag -dash.wav", "there is no option -dash.wav. A file of this name is ./-dash.wav"),
        (
            "clip.wav -kick.wav",
            f"--top-k: {NO_INTEGER}, and -kick.wav is a file that begins like an option. Say ./-kick.wav",
        ),
    ],
)
def test_one_line_says_what_is_wrong_and_what_to_do(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-kick.wav").touch()
    done = ast_tag(*line.split())
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.one_line().startswith(f"ast-tag: {said}")


def test_a_command_alone_is_answered_with_its_help() -> None:
    assert "The page; - is stdout." in ast_tag("report").out
