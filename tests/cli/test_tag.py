"""`ast-tag tag` as it is used: what goes in, what comes out on which stream, and with which exit code."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ast_cli import Tagger, __version__
from ast_cli.cli.app import main
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import ExitCode
from ast_cli.networks.processor import fastest_attention
from ast_cli.outputs.journal import read_journal
from ast_cli.results import display_name
from tests.cli.known import TAGS, plain, save_known_checkpoint
from tests.cli.runner import Done, ast_tag, in_a_process, start
from tests.extras import Extra
from tests.random_checkpoint import random_config, save_random_checkpoint

pandas = Extra("pandas")

HEADER = "file,start,end,rank,index,mid,label,score\n"
CLIP_ROWS = """\
clip.wav,0.000,1.000,1,0,/m/09x0r,Speech,0.880797
clip.wav,0.000,1.000,2,74,/m/0bt9lr,Dog,0.731059
clip.wav,0.000,1.000,3,137,/m/04rlf,Music,0.500000
clip.wav,0.000,1.000,4,23,/t/dd00002,"Baby cry, infant cry",0.268941
clip.wav,0.000,1.000,5,500,/m/028v0c,Silence,0.119203
"""
LONG_WINDOWS = [(0.0, 1.28), (1.28, 2.56), (2.56, 3.84), (2.7, 4.0)]  # the last one leans on the end
NAMES = [
    "two words.wav",
    "new\nline.wav",
    "re\rturn.wav",
    "tab\t.wav",
    "[red]markup.wav",
    "\x1b]0;title\x07\x9b31m.wav",
    "\u202egnp.wav",
    "separator\u2028.wav",
    "=1+1.wav",
    "-k.wav",
    'quote".wav',
    "comma,.wav",
    "'apostrophe.wav",
    "日本語.wav",
    "NA",
    os.fsdecode(b"\xff\xfe.wav"),
]


def json_tags(top_k: int = 5) -> list[dict[str, Any]]:
    keys = ("rank", "index", "mid", "label", "score")
    return [dict(zip(keys, (*tag[:-1], float(tag[-1])), strict=True)) for tag in TAGS[:top_k]]


def as_shown(name: str) -> str:
    """The name in a cell of CSV: bytes as text, as is what a terminal obeys; and no formula's beginning."""
    shown = display_name(name).translate({0x1B: r"\x1b", 0x07: r"\x07", 0x9B: r"\xc2\x9b"})
    return ("./" if name[0] in "=-" else "") + shown


def printable(text: str) -> bool:
    return all(line.replace("\t", "").isprintable() for line in text.splitlines())


def wait_for(process: subprocess.Popen[bytes], sign: Callable[[], bool]) -> None:
    """Wait until a process has come so far; pytest's own time limit ends it if that never happens."""
    while not sign():
        assert process.poll() is None, "it ended early"
        time.sleep(0.01)


@pytest.fixture
def names(here: Path) -> list[str]:
    """Recordings with names that break something somewhere."""
    try:
        for name in NAMES:
            shutil.copy("clip.wav", name)
    except OSError as error:
        pytest.skip(f"this file system refuses the name {name!r}: {error.strerror}")
    return NAMES


# What is tagged


def test_a_file_has_five_labels(here: Path, known: str) -> None:
    assert ast_tag("clip.wav", "-m", known) == Done(0, plain("clip.wav"), "")


@pytest.mark.parametrize(
    "arguments",
    [
        "tag clip.wav --top-k 2 -m MODEL",
        "clip.wav -m MODEL -k 2",
        "--top-k 2 clip.wav -m MODEL",
        "--top_k 2 clip.wav -m MODEL",
        "-m MODEL --top_k=2 --batch_size 1 -- clip.wav",
        "-k2 -mMODEL clip.wav",
    ],
)
def test_the_command_may_be_left_out_and_options_stand_anywhere(
    arguments: str, here: Path, known: str
) -> None:
    done = ast_tag(*arguments.replace("MODEL", known).split())
    assert done == Done(0, plain("clip.wav", top_k=2), "")


def test_a_file_called_like_a_command_is_named_with_its_folder(here: Path, known: str) -> None:
    shutil.copy("clip.wav", "labels")
    assert ast_tag("./labels", "-m", known).out == plain("./labels")
    assert "Dog" in ast_tag("labels", "dog").out


def test_a_folder_is_walked_in_the_order_of_names(here: Path, known: str) -> None:
    for name in ("b.wav", "A.flac.wav", "sub/c.WAV", "notes.txt", ".hidden.wav"):
        path = Path("music", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("clip.wav", path)
    done = ast_tag("music", "-k", "1", "-m", known)
    assert done.out == plain("music/A.flac.wav", "music/b.wav", "music/sub/c.WAV", top_k=1)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("clip.wav\nlong.wav\n", ()),
        ("clip.wav\r\nlong.wav\r\n", ()),
        ("\nclip.wav\n\n\nlong.wav", ()),
        ("clip.wav\0long.wav\0", ("-0",)),
        ("clip.wav\0long.wav", ("--null",)),
    ],
)
def test_a_list_names_the_files(text: str, options: tuple[str, ...], here: Path, known: str) -> None:
    Path("list").write_bytes(text.encode())
    for list_, stdin in (("list", b""), ("-", text.encode())):
        done = ast_tag("--files-from", list_, *options, "-k", "1", "-m", known, stdin=stdin)
        assert done.code == 0
        assert done.out == plain("clip.wav", "long.wav", top_k=1)


def test_a_list_between_nuls_may_name_anything(here: Path, known: str) -> None:
    for name in ("new\nline.wav", "windows\r"):
        shutil.copy("clip.wav", name)
    done = ast_tag("--files-from", "-", "-0", "-k1", "-m", known, stdin=b"new\nline.wav\0windows\r\0")
    assert done.out == plain(r"new\nline.wav", r"windows\r", top_k=1)


def test_a_list_comes_after_the_paths(here: Path, known: str) -> None:
    done = ast_tag("long.wav", "--files-from", "-", "-k1", "-m", known, stdin=b"clip.wav")
    assert done.out == plain("long.wav", "clip.wav", top_k=1)


def test_an_empty_list_is_no_failure(here: Path, known: str) -> None:
    done = ast_tag("--files-from", "-", "-m", known)
    assert done == Done(0, "", "0 inputs: 0 tagged, 0 failed, 0 skipped\n")


def test_separated_by_nul_makes_no_sense_without_a_list(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-0", "-m", known)
    assert done.code == ExitCode.USAGE
    assert "--files-from" in done.one_line()


def test_a_dash_in_a_list_is_a_file_of_that_name(here: Path, known: str) -> None:
    shutil.copy("clip.wav", "-")
    done = ast_tag("--files-from", "-", "-m", known, stdin=b"-\nclip.wav\n")
    assert done.out == plain("./-") + plain("clip.wav")


def test_guessed_scores_are_said_to_be(here: Path, tmp_path: Path) -> None:
    unknown = save_random_checkpoint(tmp_path / "unknown", random_config(labels=3))
    said = ast_tag("clip.wav", "-m", unknown).errors[0]
    assert "softmax is assumed" in said
    assert ast_tag("clip.wav", "-m", unknown, "--scores", "softmax").errors == []


def test_a_recording_may_come_on_stdin(here: Path, known: str) -> None:
    assert ast_tag("-", "-m", known, stdin=Path("clip.wav").read_bytes()) == Done(0, plain("-"), "")


def test_several_models_are_averaged(here: Path, known: str, tmp_path: Path) -> None:
    other = save_known_checkpoint(tmp_path / "other", {0: -2.0, 74: 3.0})
    done = ast_tag("clip.wav", "-k2", "-m", known, "-m", other, "-f", "json", "--device", "cpu")
    document = json.loads(done.out)
    assert [member["id"] for member in document["model"]["members"]] == [known, str(other)]
    scores = [(tag["label"], tag["score"]) for tag in document["results"][0]["tags"]]
    assert scores == [("Dog", 0.841816), ("Speech", 0.5)]


# What is written


def test_csv_has_a_row_for_each_label(here: Path, known: str) -> None:
    assert ast_tag("clip.wav", "-m", known, "-f", "csv").out == HEADER + CLIP_ROWS


def test_tsv_is_the_same_with_tabs(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-m", known, "-f", "tsv")
    rows = [row.split("\t") for row in done.out.splitlines()]
    assert rows == list(csv.reader(io.StringIO(HEADER + CLIP_ROWS)))


def test_json_is_one_document_that_says_how_it_was_made(here: Path, known: str) -> None:
    done = ast_tag(
        "clip.wav", "notes.wav", "long.wav", "-m", known, "-f", "json", "-k2", "--timeline", "--device", "cpu"
    )
    document = json.loads(done.out)
    [error] = document["errors"]
    assert done.code == ExitCode.SOME_FAILED
    assert set(error) == {"file", "error", "message"}
    assert (error["file"], error["error"]) == ("notes.wav", "unsupported-format")
    assert f"notes.wav: unsupported-format: {error['message']}" in done.err
    one = {"start": 0.0, "end": 1.0, "tags": json_tags(2)}
    four = [{"start": start, "end": end, "tags": json_tags(2)} for start, end in LONG_WINDOWS]
    shared = {"sample_rate": 16000, "tags": json_tags(2), "scores": "sigmoid"}
    weights = Path(known, "model.safetensors").read_bytes()
    assert document == {
        "schema": "ast-tag/1",
        "model": {
            "id": known,
            "revision": "",
            "sha256": hashlib.sha256(weights).hexdigest(),
            "scores": "sigmoid",
            "labels": 527,
        },
        "settings": {
            "ast_tag": __version__,
            "torch": torch.__version__,
            "engine": "torch",
            "device": "cpu",
            "dtype": "float32",
            "attn": fastest_attention(),
            "batch_size": "auto",
            "top_k": 2,
            "threshold": None,
            "include": [],
            "exclude": [],
            "rollup": False,
            "events": None,
            "aggregate": "mean",
            "channel": None,
            "window": None,
            "hop": None,
            "short": "pad",
            "timeline": True,
            "keep_scores": False,
        },
        "results": [
            {"file": "clip.wav", "duration": 1.0, "seconds_heard": 0.995, "channels": 1, "windows": [one]}
            | shared,
            {"file": "long.wav", "duration": 4.0, "seconds_heard": 3.995, "channels": 2, "windows": four}
            | shared,
        ],
        "errors": [error],
    }


@pytest.mark.parametrize(
    ("files", "results", "errors"),
    [
        ((), 0, 0),
        (("notes.wav",), 0, 1),
        (("missing.wav", "notes.wav"), 0, 2),
        (("missing.wav", "gone.wav"), 0, 2),
        (("clip.wav",), 1, 0),
    ],
)
def test_json_is_whole_however_few_succeed(
    files: tuple[str, ...], results: int, errors: int, here: Path, known: str
) -> None:
    for inputs in (files or ("--files-from", os.devnull), ("--files-from", "-")):
        done = ast_tag(*inputs, "-m", known, "-f", "json", stdin="\n".join(files).encode())
        document = json.loads(done.out)
        assert (len(document["results"]), len(document["errors"])) == (results, errors)
        assert done.code == (ExitCode.SOME_FAILED if errors else ExitCode.OK)


def test_jsonl_has_one_line_a_file_in_their_order(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "notes.wav", "missing.wav", "long.wav", "-k1", "-m", known, "-f", "jsonl")
    clip, notes, missing, long = map(json.loads, done.out.splitlines())
    assert clip == {
        "file": "clip.wav",
        "duration": 1.0,
        "seconds_heard": 0.995,
        "sample_rate": 16000,
        "channels": 1,
        "tags": json_tags(1),
        "scores": "sigmoid",
    }
    assert (notes["file"], notes["error"]) == ("notes.wav", "unsupported-format")
    assert missing == {
        "file": "missing.wav",
        "error": "not-found",
        "message": "no such file. Check the spelling",
    }
    assert (long["file"], long["tags"]) == ("long.wav", json_tags(1))


def test_with_a_timeline_the_rows_are_the_windows(here: Path, known: str) -> None:
    speech = "1,0,/m/09x0r,Speech,0.880797\n"
    rows = "".join(f"long.wav,{start:.3f},{end:.3f},{speech}" for start, end in LONG_WINDOWS)
    assert ast_tag("long.wav", "--timeline", "-k1", "-m", known, "-f", "csv").out == HEADER + rows
    lines = "".join(f"long.wav\t{start:.3f}\t{end:.3f}\tSpeech\t0.880797\n" for start, end in LONG_WINDOWS)
    assert ast_tag("long.wav", "--timeline", "-k1", "-m", known).out == lines


def test_rows_are_what_the_python_interface_says(here: Path, checkpoint: Path) -> None:
    done = ast_tag("long.wav", "--timeline", "-k3", "-m", checkpoint, "-f", "csv", "--device", "cpu")
    result = Tagger.from_pretrained(checkpoint, device="cpu").tag("long.wav", top_k=3, timeline=True)
    theirs = pandas.read_csv(io.StringIO(done.out))
    ours = [(window.start, window.end, tag) for window in result.windows for tag in window.tags]
    assert list(theirs["label"]) == [tag.label for _, _, tag in ours]
    assert list(theirs["mid"]) == [tag.mid for _, _, tag in ours]
    assert list(zip(theirs["start"], theirs["end"], strict=True)) == [(start, end) for start, end, _ in ours]
    assert list(theirs["score"]) == pytest.approx([tag.score for _, _, tag in ours], abs=2e-6)


def test_a_threshold_drops_what_is_below_it(here: Path, known: str) -> None:
    assert ast_tag("clip.wav", "--threshold", "0.5", "-m", known).out == plain("clip.wav", top_k=3)
    assert ast_tag("clip.wav", "--threshold", "1", "-m", known, "-f", "csv") == Done(0, HEADER, "")


def test_thresholds_of_a_file_are_each_classes_own(here: Path, known: str) -> None:
    Path("own.csv").write_text(
        "label,threshold\nSpeech,0.9\nDog,0.7\nMusic,\nSilence,0.1\n", encoding="utf-8"
    )
    done = ast_tag("clip.wav", "--threshold", "own.csv", "-k2", "-m", known)
    # Speech is below its own, Music has none; two that are above theirs fill the top 2.
    assert done.out == "clip.wav\tDog\t0.731059\nclip.wav\tSilence\t0.119203\n"


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ("nope.csv", "--threshold nope.csv is neither a number nor a file"),
        ("other.csv", "other.csv, line 2: the model has no class 'Spech'. Did you mean Speech"),
        ("nan", "threshold must be a finite number"),
        ("50", "--threshold 50 fits no score: they are from 0 to 1. Did you mean 0.5?"),
        ("-0.5", "--threshold -0.5 fits no score: they are from 0 to 1. Choose a number in between"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(threshold: str, message: str, here: Path, known: str) -> None:
    Path("other.csv").write_text("label,threshold\nSpech,0.9\n", encoding="utf-8")
    done = ast_tag("clip.wav", "--threshold", threshold, "-m", known)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert message in done.err


def test_logits_have_thresholds_beyond_0_and_1(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "--scores", "logits", "--threshold", "-1", "-m", known, "-f", "csv")
    scores = [float(row["score"]) for row in csv.DictReader(io.StringIO(done.out))]
    assert done.code == ExitCode.OK
    assert min(scores) == -1


def test_windows_that_a_format_cannot_show_are_not_left_out_silently(here: Path, known: str) -> None:
    assert ast_tag("clip.wav", "-m", known, "--timeline", "-o", "r.json").code == ExitCode.OK
    for command in (("tag", "clip.wav", "-m", known), ("export", "r.json")):
        for format_, more in (("srt", ()), ("csv", ("--events",))):
            done = ast_tag(*command, "--timeline", "-f", format_, *more)
            warning = (
                f"{format_} shows events alone, without the windows of --timeline; json --events has both"
            )
            assert done.errors == [f"ast-tag: warning: {warning}"]
        done = ast_tag(*command, "--timeline", "--events", "-f", "json")
        assert not any("warning" in line for line in done.errors)


def test_a_top_k_of_0_is_all_classes(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "--top-k", "0", "-m", known, "-f", "csv")
    assert done.out.startswith(HEADER + CLIP_ROWS)
    rows = pandas.read_csv(io.StringIO(done.out))
    assert list(rows["rank"]) == list(range(1, 528))
    assert sorted(rows["index"]) == list(range(527))


def test_logits_may_be_asked_for(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "--scores", "logits", "-k1", "-m", known, "--verbose")
    assert done.out == "clip.wav\tSpeech\t2.000000\n"
    assert done.closing.endswith("× realtime · logits")
    assert done.errors[0].startswith(f"{known}: logits, ")


# Where it is written


@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.json", "o.jsonl", "o.txt", "O.JSON", "o.tar.csv"])
def test_the_suffix_names_the_format(name: str, here: Path, known: str) -> None:
    format_ = name.rpartition(".")[2].lower().replace("txt", "table")
    assert ast_tag("clip.wav", "-m", known, "-o", name) == Done(0, "", "")
    assert Path(name).read_bytes().decode() == ast_tag("clip.wav", "-m", known, "-f", format_).out
    assert not list(here.glob("*.part"))


def test_the_format_asked_for_beats_the_suffix(here: Path, known: str) -> None:
    ast_tag("clip.wav", "-m", known, "-o", "out.txt", "-f", "csv")
    assert Path("out.txt").read_text() == HEADER + CLIP_ROWS


def test_what_is_there_already_is_replaced_only_if_asked(here: Path, known: str) -> None:
    out = Path("out.csv")
    out.write_text("dear old results")
    done = ast_tag("clip.wav", "-m", known, "-o", out)
    assert done.code == ExitCode.CANNOT_RUN
    assert "--overwrite" in done.one_line()
    assert out.read_text() == "dear old results"
    assert ast_tag("clip.wav", "-m", known, "-o", out, "--overwrite") == Done(0, "", "")
    assert out.read_text() == HEADER + CLIP_ROWS


def test_without_a_model_what_is_there_already_stays(here: Path) -> None:
    Path("out.csv").write_text("dear old results")
    done = ast_tag("clip.wav", "-m", "no-such-model", "-o", "out.csv", "--overwrite")
    assert done.code == ExitCode.CANNOT_RUN
    assert Path("out.csv").read_text() == "dear old results"
    assert not [*here.glob("out.csv.*part")]


@pytest.mark.parametrize("out", ["nowhere/out.csv", "clip.wav/out.csv", "long" * 99 + ".csv"])
def test_where_nothing_can_be_written_one_line_says_so(out: str, here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-m", known, "-o", out)
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert out in done.one_line()


def test_on_a_full_disk_what_was_written_is_kept(here: Path, known: str) -> None:
    # Room for the journal's first line, of 527 classes, and the labels of one file.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (45_000, 45_000))"
    arguments = ("clip.wav", "long.wav", "-k0", "-b1", "-m", known, "-o", "out.jsonl")
    done = in_a_process(*arguments, before=limit)
    assert done.code == ExitCode.CANNOT_RUN
    kept, error = done.errors
    assert kept == "1 tagged, 0 failed before the end; kept in out.jsonl.journal: --resume goes on from there"
    assert error.startswith("ast-tag: cannot write out.jsonl.journal: ")
    assert not Path("out.jsonl").exists()
    done = ast_tag(*arguments, "--resume")
    assert done.code == ExitCode.OK
    assert "1 tagged, 0 failed, 1 skipped" in done.one_line()
    assert [len(json.loads(line)["tags"]) for line in Path("out.jsonl").read_text().splitlines()] == [527] * 2


def test_a_disk_too_full_for_the_results_costs_nothing_that_was_done(here: Path, known: str) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))"
    arguments = ("clip.wav", "-k0", "-b1", "-m", known, "-o", "out.jsonl")
    done = in_a_process(*arguments, before=limit)
    assert done.code == ExitCode.CANNOT_RUN
    assert done.errors[-1].startswith("ast-tag: cannot write out.jsonl: ")
    assert not Path("out.jsonl").exists()
    assert not [*here.glob("out.jsonl.*part")]
    done = ast_tag(*arguments, "--resume")
    assert "0 tagged, 0 failed, 1 skipped" in done.closing + done.err
    assert len(json.loads(Path("out.jsonl").read_text())["tags"]) == 527


def test_a_recording_is_never_overwritten_by_its_results(here: Path, known: str) -> None:
    before = Path("clip.wav").read_bytes()
    done = ast_tag("clip.wav", "-m", known, "-o", "clip.wav", "-f", "csv", "--overwrite")
    assert done.code == ExitCode.USAGE
    assert "is one of the recordings" in done.one_line()
    assert Path("clip.wav").read_bytes() == before


def test_a_folder_with_something_in_it_is_no_output(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-m", known, "-o", ".", "-f", "csv")
    assert done.code == ExitCode.CANNOT_RUN
    assert ". is not empty" in done.one_line()
    done = ast_tag("clip.wav", "-m", known, "-o", ".")
    assert done.code == ExitCode.USAGE
    assert "--format" in done.one_line()


def test_results_do_not_suffer_where_nobody_reads_the_messages(here: Path, known: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start("clip.wav", "-m", known, "-o", "out.csv", stderr=writer) as process:
        assert process.wait(timeout=120) == ExitCode.OK
    os.close(writer)
    assert Path("out.csv").read_text() == HEADER + CLIP_ROWS


def test_what_a_pipe_is_given_is_read_at_its_other_end(here: Path, known: str) -> None:
    os.mkfifo("pipe.csv")
    with start("clip.wav", "-m", known, "-o", "pipe.csv") as process:
        assert Path("pipe.csv").read_text() == HEADER + CLIP_ROWS
    assert process.returncode == 0
    assert Path("pipe.csv").is_fifo()


# Exit codes and messages


def test_failures_do_not_stop_the_others_and_are_counted(here: Path, known: str) -> None:
    done = ast_tag("notes.wav", "clip.wav", "missing.wav", "long.wav", "-m", known)
    notes, missing, closing = done.errors
    assert (done.code, done.out) == (ExitCode.SOME_FAILED, plain("clip.wav", "long.wav"))
    assert notes.startswith("ast-tag: notes.wav: unsupported-format: ")
    assert missing == "ast-tag: missing.wav: not-found: no such file. Check the spelling"
    assert re.fullmatch(
        r"4 inputs: 2 tagged, 2 failed, 0 skipped · 5\.0 s of audio, [\d.]+ × realtime · sigmoid scores",
        closing,
    )


@pytest.mark.parametrize("out", ["out.csv", "out.json", "out/"])
def test_resume_tries_again_what_failed_and_ends_as_the_run_did(out: str, here: Path, known: str) -> None:
    command = (
        "notes.wav",
        "clip.wav",
        "gone.wav",
        "-m",
        known,
        "-o",
        out,
        "-f",
        Path(out).suffix[1:] or "csv",
    )

    def written() -> dict[str, str]:
        return {
            str(path): path.read_text() for path in here.glob("out*/**/*" if out.endswith("/") else "out*")
        }

    first = ast_tag(*command)
    assert first.code == ExitCode.SOME_FAILED
    assert first.errors[-1].endswith("sigmoid scores · --resume tries the failed again")
    again = ast_tag(*command, "--resume")
    assert again.code == ExitCode.SOME_FAILED
    assert again.errors[:-1] == first.errors[:-1]
    assert again.errors[-1].startswith("3 inputs: 0 tagged, 2 failed, 1 skipped")
    for name in ("gone.wav", "notes.wav"):
        shutil.copy("clip.wav", name)
    done = ast_tag(*command, "--resume", "--quiet")
    assert (done.code, done.err) == (ExitCode.OK, "")
    resumed = written()
    done = ast_tag(*command, "--resume")
    assert (done.code, "is complete" in done.one_line()) == (ExitCode.OK, True)
    assert ast_tag(*command, "--overwrite").code == ExitCode.OK
    assert written() == resumed


def test_quiet_says_only_what_failed(here: Path, known: str) -> None:
    assert ast_tag("clip.wav", "long.wav", "-m", known, "--quiet").err == ""
    done = ast_tag("clip.wav", "missing.wav", "-m", known, "-q")
    assert done.one_line() == "ast-tag: missing.wav: not-found: no such file. Check the spelling"


def test_verbose_says_what_runs_where_and_stdout_holds_results_only(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-m", known, "-v", "--device", "cpu", "--dtype", "float32")
    runs, took = done.errors
    assert took.startswith("1 recording decoded by ")
    assert runs == f"{known}: sigmoid scores, {fastest_attention()} attention, float32 on cpu"
    assert done.closing.startswith("1 input: 1 tagged, 0 failed, 0 skipped · 1.0 s of audio")
    assert done.out == plain("clip.wav")


def test_the_closing_line_tells_how_much_and_how_fast(here: Path, known: str) -> None:
    closing = ast_tag("clip.wav", "-m", known).closing
    assert re.fullmatch(
        r"1 input: 1 tagged, 0 failed, 0 skipped · 1\.0 s of audio, [\d.]+ × realtime · sigmoid scores",
        closing,
    )
    assert ast_tag("clip.wav", "-m", known, "--quiet").closing == ""


def test_fail_fast_stops_at_the_first_failure_and_keeps_the_rest(here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "notes.wav", "long.wav", "-b1", "--fail-fast", "-m", known, "-o", "out.csv")
    error, kept = done.errors
    assert done.code == ExitCode.SOME_FAILED
    assert kept == "1 tagged, 1 failed before the end; kept in out.csv.journal: --resume goes on from there"
    assert error.startswith("ast-tag: notes.wav: ")
    assert not Path("out.csv").exists()
    _, outcomes = read_journal(Path("out.csv.journal"))
    assert [outcome.file for outcome in outcomes] == ["clip.wav", "notes.wav"]


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        ("clip.wav -m MODEL --format xml", ExitCode.USAGE, "csv"),
        ("clip.wav -m MODEL -o out.xyz", ExitCode.USAGE, "--format"),
        ("clip.wav -m MODEL -o out", ExitCode.USAGE, "--format"),
        ("clip.wav -m MODEL -f json --out=", ExitCode.USAGE, "--out is empty"),
        ("clip.wav -m MODEL -f json -o s.npz --keep-scores", ExitCode.USAGE, "results.jsonl"),
        ("clip.wav -m MODEL --min-duration 3", ExitCode.USAGE, "Add --events"),
        ("clip.wav -m MODEL --hysteresis 0.7 --timeline -f json", ExitCode.USAGE, "Add --events"),
        ("clip.wav -m MODEL --max-gap -1", ExitCode.USAGE, "0 s or more"),
        ("clip.wav -m MODEL --channel foo", ExitCode.USAGE, "mix"),
        ("clip.wav -m MODEL --channel 0", ExitCode.USAGE, "mix"),
        ("clip.wav -m MODEL --channel -1", ExitCode.USAGE, "mix"),
        ("clip.wav -m MODEL --channel " + "9" * 5000, ExitCode.USAGE, "mix"),
        ("clip.wav -m MODEL --channel 9", ExitCode.SOME_FAILED, "no-such-channel"),
        ("clip.wav -m MODEL --device toaster", ExitCode.USAGE, "cuda:N"),
        ("clip.wav -m MODEL --device cpu:", ExitCode.USAGE, "cuda:N"),
        ("clip.wav -m MODEL --device meta", ExitCode.USAGE, "cuda:N"),
        ("clip.wav -m MODEL --window nan", ExitCode.USAGE, "window"),
        ("clip.wav -m MODEL --window inf", ExitCode.USAGE, "window"),
        ("clip.wav -m MODEL --window 99", ExitCode.USAGE, "1.28 s"),
        ("clip.wav -m MODEL --hop 0", ExitCode.USAGE, "0.01"),
        ("clip.wav -m MODEL --hop inf", ExitCode.USAGE, "hop"),
        ("clip.wav -m MODEL --hop 1.5", ExitCode.USAGE, "skip"),
        ("clip.wav -m MODEL --attn cudnn --device cpu", ExitCode.CANNOT_RUN, "--attn sdpa"),
        ("clip.wav -m no-such-model", ExitCode.CANNOT_RUN, "ast-tag models"),
        ("clip.wav -m no/such-model --offline", ExitCode.CANNOT_RUN, "ast-tag models pull no/such-model"),
        ("clip.wav -m clip.wav", ExitCode.CANNOT_RUN, ".safetensors"),
        ("clip.wav -m .", ExitCode.CANNOT_RUN, "model.safetensors"),
        ("clip.wav -m MODEL -m no-such-model", ExitCode.CANNOT_RUN, "ast-tag models"),
        ("missing.wav -m MODEL", ExitCode.SOME_FAILED, "spelling"),
        ("lable -m MODEL", ExitCode.SOME_FAILED, "Did you mean the command labels?"),
        (
            "tagg clip.wav -m nowhere",
            ExitCode.SOME_FAILED,
            "no such file: tagg. Did you mean the command tag?",
        ),
        ("serch clip.wav -m nowhere -f json", ExitCode.SOME_FAILED, "Did you mean the command search?"),
        ("modles", ExitCode.SOME_FAILED, "Did you mean the command models?"),
        ("notes.wav -m MODEL", ExitCode.SOME_FAILED, "unsupported-format"),
        ("--files-from missing.txt -m MODEL", ExitCode.USAGE, "missing.txt"),
        ("--files-from . -m MODEL", ExitCode.USAGE, "folder|directory"),
        ("--files-from - - -m MODEL", ExitCode.USAGE, "stdin"),
        ("-m MODEL", ExitCode.USAGE, "--files-from"),
        ("- -m MODEL", ExitCode.SOME_FAILED, "empty"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line_with_its_exit_code(
    arguments: str, code: ExitCode, hint: str, here: Path, hub_cache: Path, known: str
) -> None:
    done = ast_tag(*arguments.replace("MODEL", known).split(" "))
    assert (done.code, done.out) == (code, "")
    line = done.one_line()
    assert line.startswith("ast-tag: ")
    assert re.search(hint, line)
    assert not list(here.glob("out*"))


@pytest.mark.parametrize(
    "arguments",
    [
        "--no-such-option",
        "clip.wav --top-k many",
        "clip.wav --top-k -1",
        "clip.wav --top-k",
        "clip.wav --batch-size 0",
        "clip.wav --workers 0",
        "clip.wav --scores best",
        "clip.wav --aggregate median",
        "clip.wav --attn [/red]",
        "clip.wav --dtype int4",
        "clip.wav --threshold high",
    ],
)
def test_an_option_or_value_that_does_not_exist_is_wrong_usage(arguments: str, here: Path) -> None:
    done = ast_tag(*arguments.split())
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    [option] = [word for word in arguments.split() if word.startswith("--")]
    assert option in done.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_device_that_is_not_here_cannot_be_run_on(device: str, here: Path, known: str) -> None:
    done = ast_tag("clip.wav", "-m", known, "--device", device)
    assert done.code == ExitCode.CANNOT_RUN
    assert "--device cpu" in done.one_line()


# Names from strangers


@pytest.mark.parametrize(("format_", "separator"), [("csv", ","), ("tsv", "\t")])
def test_whatever_a_file_is_called_its_row_can_be_read(
    format_: str, separator: str, names: list[str], known: str
) -> None:
    done = ast_tag("-k1", "-m", known, "-f", format_, "--", *names)
    rows = pandas.read_csv(io.StringIO(done.out, newline=""), sep=separator, keep_default_na=False)
    assert list(rows["file"]) == [as_shown(name) for name in names]
    assert set(rows["label"]) == {"Speech"}
    assert list(csv.reader(io.StringIO(done.out, newline=""), delimiter=separator))[1:] == [
        [as_shown(name), "0.000", "1.000", "1", "0", "/m/09x0r", "Speech", "0.880797"] for name in names
    ]


@pytest.mark.parametrize("format_", ["table", "jsonl", "json"])
def test_no_name_does_anything_to_a_terminal(format_: str, names: list[str], known: str) -> None:
    missing = [f"missing {name}" for name in names]
    done = ast_tag("-k1", "-m", known, "-f", format_, "--", *names, *missing)
    assert printable(done.out)
    assert printable(done.err)
    assert len(done.errors) == len(missing) + 1
    if format_ == "table":
        assert [line.split("\t")[1:] for line in done.out.splitlines()] == [["Speech", "0.880797"]] * len(
            names
        )
    elif format_ == "jsonl":
        files = [json.loads(line)["file"] for line in done.out.splitlines()]
        assert files == [display_name(name) for name in (*names, *missing)]
    else:
        results, errors = (json.loads(done.out)[key] for key in ("results", "errors"))
        assert [entry["file"] for entry in (*results, *errors)] == [
            display_name(name) for name in (*names, *missing)
        ]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_an_option_does_anything_to_a_terminal(name: str, here: Path, known: str) -> None:
    for arguments in (
        ("clip.wav", "-m", known, "-o", f"no/{name}", "-f", "csv"),
        ("clip.wav", "-m", name),
        ("clip.wav", "-m", known, "-f", name),
        ("clip.wav", "-m", known, "--device", name),
        ("--files-from", name),
        (f"./{name}",),
    ):
        done = ast_tag(*arguments)
        assert done.code in (ExitCode.SOME_FAILED, ExitCode.USAGE, ExitCode.CANNOT_RUN)
        assert printable(done.one_line())


def test_a_locale_without_unicode_stands_in_no_way(names: list[str], known: str) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    undecodable = os.fsdecode(b"\xff\xfe.wav")
    done = in_a_process("日本語.wav", undecodable, "nichts für ungut.wav", "-k1", "-m", known, env=locale)
    assert done.code == ExitCode.SOME_FAILED
    assert done.out == plain("日本語.wav", r"\xff\xfe.wav", top_k=1)
    failure, closing = done.errors
    assert "not-found" in failure
    assert closing.startswith("3 inputs: 2 tagged, 1 failed")


# Terminals, pipes and interruptions


def test_on_a_terminal_the_labels_are_drawn(here: Path, known: str) -> None:
    ours, theirs = pty.openpty()
    with start(
        "clip.wav", "missing.wav", "-m", known, stdout=theirs, stderr=theirs, env={"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 1 << 16):
                text += piece
        except OSError:
            pass  # how Linux says that nobody has the terminal open any more
    os.close(ours)
    assert process.returncode == ExitCode.SOME_FAILED
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode()).replace("\r", "\n").split("\n")
    assert "clip.wav  1.0 s" in lines
    assert f"   0.500  {'█' * 10}{' ' * 10}  Music" in lines
    assert any(line.startswith("ast-tag: missing.wav: not-found") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize("since", [0.001, 10.0])
def test_the_numbers_of_the_progress_line_are_never_cut(
    width: int, since: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is 60,000 times realtime or 6."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width)
    monkeypatch.setattr("ast_cli.cli.screen.stderr", lambda: console)
    # What was drawn before the inputs were counted is not kept for half a second.
    monkeypatch.setattr("rich.progress.TimeRemainingColumn.max_refresh", None)
    screen = TagScreen(quiet=False, verbose=False)
    with screen.progress(lambda: range(200_000)):
        while screen._progress is None or screen._progress.tasks[0].total is None:
            time.sleep(0.001)
        screen._started = time.perf_counter() - since
        screen.heard(60.0)
    shown = file.getvalue()
    assert "1:00.0 of audio" in shown
    assert "-:--:--" in shown
    assert "…" not in shown


@pytest.mark.parametrize("into", ["pipe", "file"])
def test_progress_is_gone_before_a_reader_can_show_a_row_on_the_same_terminal(
    into: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `ast-tag clip.wav | cat`, where the row came behind the bar, in the same line."""
    terminal = io.StringIO()
    monkeypatch.setattr("ast_cli.cli.screen.stderr", lambda: Console(file=terminal, force_terminal=True))
    screen = TagScreen(quiet=False, verbose=False)
    reader, writer = (
        os.pipe() if into == "pipe" else (-1, os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY))
    )
    with os.fdopen(writer, "w") as stream, screen.progress(lambda: range(3)):
        assert "tagging" in terminal.getvalue()
        for _ in range(2):
            with screen.showing_results(stream):
                before = terminal.getvalue()
                stream.write("clip.wav\tSpeech\t0.9\n")
            screen.heard(1.0)
            screen.advance()
        is_erased = before.rstrip("\r").endswith(("\x1b[2K", "\x1b[?25h"))
        assert is_erased == (into == "pipe")
        assert (terminal.getvalue() == before) or into == "file"
    if reader >= 0:
        os.close(reader)


def test_a_reader_that_has_read_enough_is_no_failure(here: Path, known: str) -> None:
    with start("--files-from", "-", "-b1", "--workers", "1", "-m", known) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"clip.wav\n" * 9)
        process.stdin.flush()
        assert process.stdout.readline() == b"clip.wav\tSpeech\t0.880797\n"
        process.stdout.close()
        _, err = process.communicate(b"clip.wav\n" * 9, timeout=120)
    assert (process.returncode, err) == (ExitCode.OK, b"")


@pytest.mark.parametrize("format_", ["json", "parquet"])
def test_a_reader_that_has_gone_before_the_run_begins_is_no_failure_either(format_: str, here: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = in_a_process("clip.wav", "-m", "tiny", "-f", format_, stdout=writer)
    os.close(writer)
    assert (done.code, done.err) == (ExitCode.OK, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
@pytest.mark.parametrize("format_", ["json", "parquet"])
def test_a_full_stdout_is_told_in_one_line_before_the_run_begins_too(format_: str, here: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = in_a_process("clip.wav", "-m", "tiny", "-f", format_, stdout=full)
    assert (done.code, done.closing) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line() == "ast-tag: cannot write to standard output: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
@pytest.mark.parametrize(
    ("files", "code"),
    [(("clip.wav",), ExitCode.OK), (("notes.wav", "clip.wav"), ExitCode.SOME_FAILED)],
)
def test_a_stderr_that_is_full_stops_nothing(
    files: tuple[str, ...], code: ExitCode, here: Path, known: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = in_a_process(*files, "-k1", "-m", known, stderr=full)
    assert (done.code, done.out) == (code, plain("clip.wav", top_k=1))


def test_after_an_interruption_what_was_done_is_kept(here: Path, known: str) -> None:
    journal = Path("out.json.journal")
    may_interrupt = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    arguments = ("--files-from", "-", "-b1", "--workers", "1", "-k1", "-m", known, "-o", "out.json")
    with start(*arguments, before=may_interrupt) as process:
        assert process.stdin
        process.stdin.write(b"notes.wav\n" + b"clip.wav\n" * 9)
        process.stdin.flush()  # and leave it open: the run goes on waiting for more
        wait_for(process, lambda: journal.exists() and journal.read_text().count('"file"') >= 3)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=120)[1].decode()
    assert process.returncode == ExitCode.INTERRUPTED
    *_, kept, last = err.splitlines()
    assert "Traceback" not in err
    how = r"\d tagged, 1 failed before the end; kept in out\.json\.journal: --resume goes on from there"
    assert re.fullmatch(how, kept)
    assert last == "ast-tag: interrupted"
    outcomes = [outcome.file for outcome in read_journal(journal)[1]]
    assert outcomes[0] == "notes.wav"
    assert set(outcomes[1:]) == {"clip.wav"}
    assert len(outcomes) - 1 in (int(kept[0]), int(kept[0]) + 1)  # written, then counted
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "tag -o out.json",
            "0 tagged, 0 failed before the end; kept in out.json.journal: --resume goes on from there",
        ),
        ("tag", "0 tagged, 0 failed before the end"),
        ("embed -o v.npz", "0 embedded, 0 failed before the end; v.npz is not written"),
        ("report -o r.html", "0 tagged, 0 failed before the end; r.html is not written"),
    ],
)
def test_an_interruption_says_what_is_done_even_if_nothing_is(
    command: str, said: str, here: Path, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Tagger, "tag_many", interrupted)
    monkeypatch.setattr(Tagger, "embed", interrupted)
    name, *rest = command.split()
    done = ast_tag(name, "clip.wav", "-m", known, *rest)
    assert (done.code, done.errors) == (ExitCode.INTERRUPTED, [said, "ast-tag: interrupted"])
    assert not Path(rest[-1] if rest else "none").exists()


@pytest.mark.parametrize(
    "arguments", ["clip.wav -m MODEL", "clip.wav -m MODEL -f json", "labels dog", "models"]
)
def test_a_closed_stdout_is_told(
    arguments: str,
    here: Path,
    known: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["ast-tag", *arguments.replace("MODEL", known).split()])
    monkeypatch.setattr(sys, "stdout", None)  # what Python makes of `>&-`
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == ExitCode.CANNOT_RUN
    assert capsys.readouterr().err.startswith("ast-tag: standard output is closed")


def test_with_a_closed_stdout_results_still_go_to_a_file(
    here: Path, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ast-tag", "clip.wav", "-m", known, "-o", "out.csv"])
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == ExitCode.OK
    assert Path("out.csv").read_text() == HEADER + CLIP_ROWS
