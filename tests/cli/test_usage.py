"""A command line that makes no sense is answered in one line, with cause and remedy, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from tests.cli.runner import ast_tag


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("clip.wav --top-k x", "--top-k x is no whole number. Give one from 0"),
        ("clip.wav -k -1", "--top-k -1 is out of range. Give a number from 0"),
        (
            "clip.wav --batch-size 0",
            "--batch-size 0 is neither auto nor a number from 1. Leave it out",
        ),
        ("clip.wav --hop x", "--hop x is no number. Give one of seconds"),
        ("listen --rate 5", "--rate 5 is out of range. Give a number from 1,000 to 1,000,000"),
        (
            "search a.wav --in v.npz --threshold x",
            "--threshold x is no number. See `ast-tag search --help`",
        ),
        (
            "clip.wav --scores loud",
            "--scores loud is no choice. Choose one of auto, sigmoid, softmax, logits",
        ),
        ("clip.wav --treshold 1", "there is no option --treshold. Did you mean --threshold"),
        ("clip.wav --zzzzz", "there is no option --zzzzz. See `ast-tag tag --help`"),
        ("clip.wav --model", "--model needs a value. See `ast-tag tag --help`"),
        ("clip.wav --quiet=3", "--quiet takes no value. Say --quiet alone"),
        ("embed clip.wav", "--out is missing. Add --out FILE"),
        ("models fetch", "no such command 'fetch'. See `ast-tag models --help`"),
        ("-dash.wav", "there is no option -dash.wav. A file of this name is ./-dash.wav"),
        ("tag -dash.wav", "there is no option -dash.wav. A file of this name is ./-dash.wav"),
        (
            "clip.wav -kick.wav",
            "--top-k ick.wav is no whole number, and -kick.wav is a file that begins",
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
