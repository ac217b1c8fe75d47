"""`ast-tag listen` as a user runs it: at the end of a pipe that goes on."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from ast_cli.cli.live_screen import LiveScreen
from ast_cli.errors import ExitCode
from ast_cli.results import Event, Tag
from tests.cli.runner import ROOT, Done, ast_tag, start
from tests.random_checkpoint import random_config, save_random_checkpoint
from tests.reference import resample

RATE = 16_000
CLIPS = ROOT / "examples" / "clips"
RAW = ("listen", "--rate", str(RATE))
MAY_INTERRUPT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SECOND = bytes(2 * RATE)  # of silence, as s16le

# The known checkpoint scores these above 0.5 or at it, whatever it hears; its windows last 1.28 s.
STARTS = """\
{"event": "start", "time": 0.0, "index": 0, "mid": "/m/09x0r", "label": "Speech", "score": 0.880797}
{"event": "start", "time": 0.0, "index": 74, "mid": "/m/0bt9lr", "label": "Dog", "score": 0.731059}
{"event": "start", "time": 0.0, "index": 137, "mid": "/m/04rlf", "label": "Music", "score": 0.5}
"""


def ends(end: float) -> str:
    return "".join(
        f'{{"event": "end", "start": 0.0, "end": {end}, "index": {one["index"]}, "mid": "{one["mid"]}", '
        f'"label": "{one["label"]}", "score": {one["score"]}, "mean_score": {one["score"]}}}\n'
        for one in map(json.loads, STARTS.splitlines())
    )


def summary(seconds: str) -> str:
    return f"heard {seconds}: 3 events: Speech 1 · Dog 1 · Music 1"


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# What is told


def test_a_raw_stream_is_told_as_lines_of_json(known: str) -> None:
    done = ast_tag(*RAW, "-m", known, stdin=4 * SECOND)
    assert (done.code, done.out) == (0, STARTS + ends(3.98))
    assert done.errors == [
        "listening: 16,000 Hz, mono, s16le; a start is mostly told within 1.28 s, an end within 2.56 s, and "
        "the time that the model takes",
        summary("4.0 s"),
    ]


def test_a_wav_stream_says_itself_what_it_is(known: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((96_000, 3)), 48_000, format="WAV", subtype="PCM_24")
    done = ast_tag("listen", "-m", known, stdin=file.getvalue())
    assert (done.code, done.out) == (0, STARTS + ends(1.98))
    assert done.errors[0].startswith("listening: 48,000 Hz, 3 channels, s24le; ")


@pytest.mark.parametrize(
    "producer",
    [
        "ffmpeg -v error -i clip.wav -f wav -",
        "sox clip.wav -t wav -",
        "sox clip.wav -t raw -e signed -b 16 - | sox -t raw -r 16000 -e signed -b 16 -c 1 - -t wav -",
    ],
)
def test_other_programs_write_what_is_understood(producer: str, here: Path, known: str) -> None:
    made = subprocess.run(["sh", "-c", producer], capture_output=True, check=False)
    if made.returncode == 127:
        pytest.skip(f"there is no {producer.split()[0]}")
    assert made.returncode == 0
    done = ast_tag("listen", "-m", known, "-q", stdin=made.stdout)
    assert done == Done(0, STARTS + ends(0.98), "")


def test_channels_and_encoding_are_as_they_are_said(known: str) -> None:
    data = np.zeros((2 * RATE, 2), "<f4").tobytes()
    done = ast_tag(*RAW, "--channels", "2", "--encoding", "f32le", "-m", known, stdin=data)
    assert (done.code, done.out) == (0, STARTS + ends(1.98))
    assert "16,000 Hz, 2 channels, f32le" in done.errors[0]


def test_labels_are_chosen_as_in_tag(known: str) -> None:
    done = ast_tag(*RAW, "-m", known, "--include", "Dog", "-q", stdin=2 * SECOND)
    assert {one["label"] for one in lines(done.out)} == {"Dog"}
    done = ast_tag(*RAW, "-m", known, "--exclude", "Dog", "--threshold", "0.6", "-q", stdin=2 * SECOND)
    assert {one["label"] for one in lines(done.out)} == {"Speech"}


def test_quiet_says_nothing_and_verbose_what_runs_where(known: str) -> None:
    assert ast_tag(*RAW, "-m", known, "-q", stdin=2 * SECOND).err == ""
    assert "float32 on cpu" in ast_tag(*RAW, "-m", known, "-v", "--device", "cpu", stdin=2 * SECOND).errors[0]


def test_guessed_scores_are_said_to_be(tmp_path: Path) -> None:
    unknown = save_random_checkpoint(tmp_path / "unknown", random_config(labels=3))
    said = ast_tag(*RAW, "-m", unknown, stdin=2 * SECOND).err
    assert "softmax is assumed" in said
    assert "softmax" not in ast_tag(*RAW, "-m", unknown, "--scores", "sigmoid", stdin=2 * SECOND).err


class Microphone(io.BytesIO):
    """What came while nobody heard it; then it takes a while until the end."""

    def read1(self, size: int | None = -1, /) -> bytes:
        data = super().read1(-1 if size is None else size)
        if not data:
            time.sleep(1)
        return data


@pytest.fixture
def forty_seconds_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading began 40 s before the first window is heard, as where the model takes its time."""
    monkeypatch.setattr("ast_cli.cli.listen.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 40))


@pytest.mark.usefixtures("forty_seconds_later")
def test_a_model_that_is_behind_says_so_and_misses_nothing(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ast_cli.audio.local.open_stdin", lambda _: Microphone(40 * SECOND))
    done = ast_tag(*RAW, "-m", known)
    assert (done.code, done.out) == (0, STARTS + ends(39.98))
    [warning] = done.errors[1:-1]
    assert re.fullmatch(r"ast-tag: warning: 3\d\.\d s behind: .*--short crop.*", warning)


def test_what_comes_faster_than_a_microphone_is_not_said_to(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ast_cli.audio.local.open_stdin", lambda _: Microphone(40 * SECOND))
    done = ast_tag(*RAW, "-m", known)
    assert (done.code, done.out) == (0, STARTS + ends(39.98))
    assert done.errors[1:-1] == []


@pytest.mark.usefixtures("forty_seconds_later")
def test_what_has_ended_is_not_said_to_come_too_fast(known: str) -> None:
    assert ast_tag(*RAW, "-m", known, stdin=40 * SECOND).errors[1:-1] == []


def test_a_stream_that_is_cut_within_a_sample_is_heard_and_warned_of(known: str) -> None:
    done = ast_tag(*RAW, "-m", known, stdin=2 * SECOND + b"\0")
    assert (done.code, done.out) == (0, STARTS + ends(1.98))
    assert "cut off: it ends within a sample, after 2.000 s" in done.errors[1]


def test_what_was_heard_before_a_stream_broke_is_told(known: str) -> None:
    data = np.zeros(3 * RATE, "<f4")
    data[-RATE // 2] = np.nan
    done = ast_tag(*RAW, "--encoding", "f32le", "-m", known, stdin=data.tobytes())
    assert (done.code, done.out) == (ExitCode.SOME_FAILED, STARTS + ends(1.28))
    _, told, error = done.errors
    assert told == summary("1.3 s")
    assert error.startswith("ast-tag: a sample at 2.500 s is not a finite number. ")


def sound(name: str) -> bytes:
    samples, rate = soundfile.read(CLIPS / name, dtype="float32", always_2d=True)
    mono = resample(torch.from_numpy(samples.mean(axis=1)), rate, RATE)
    return (mono.numpy() * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("hop", [2.0, 1.0])
def test_three_sounds_between_silence_are_each_told_once_where_they_are(hop: float) -> None:
    labels = {"busy-signal.flac": "Busy signal", "speech-woman.ogg": "Speech", "whistling.ogg": "Whistling"}
    stream, expected = 3 * SECOND, []
    for name, label in labels.items():
        clip = sound(name)
        expected.append((label, len(stream) / len(SECOND), (len(stream) + len(clip)) / len(SECOND)))
        stream += clip + 5 * SECOND
    include = [word for label in labels.values() for word in ("--include", label)]
    done = ast_tag(*RAW, "-m", "tiny", "--hop", str(hop), *include, stdin=stream)
    assert done.code == 0
    told = lines(done.out)
    assert [(one["event"], one["label"]) for one in told] == [
        (what, label) for label, *_ in expected for what in ("start", "end")
    ]
    for (_, begin, end), first, last in zip(expected, told[::2], told[1::2], strict=True):
        assert first["time"] == pytest.approx(begin, abs=hop)
        assert last["start"] == pytest.approx(begin, abs=hop)
        assert last["end"] == pytest.approx(end, abs=hop)
    assert done.errors[-1].endswith("3 events: Busy signal 1 · Speech 1 · Whistling 1")


# While it goes on


def test_a_start_is_told_while_the_stream_dribbles_on(known: str) -> None:
    with start(*RAW, "-m", known) as process:
        assert process.stdin
        assert process.stdout
        for piece in (SECOND[:1], SECOND[:4999], SECOND, SECOND):
            process.stdin.write(piece)
            process.stdin.flush()
        told = b"".join(process.stdout.readline() for _ in range(3))
        assert told.decode() == STARTS  # and the stream is still open
        out, err = process.communicate(SECOND[5000:], timeout=120)
    assert (process.returncode, out.decode()) == (0, ends(2.98))
    assert err.decode().splitlines()[1:] == [summary("3.0 s")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_end_of_the_stream(number: signal.Signals, known: str) -> None:
    with start(*RAW, "-m", known, before=MAY_INTERRUPT) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(2 * SECOND)
        process.stdin.flush()
        told = b"".join(process.stdout.readline() for _ in range(3))
        process.send_signal(number)  # while it waits for more
        process.wait(timeout=120)
        out, err = process.stdout.read(), process.stderr.read() if process.stderr else b""
    assert (process.returncode, told.decode(), out.decode()) == (0, STARTS, ends(1.98))
    assert err.decode().splitlines()[1:] == [summary("2.0 s")]


def test_a_reader_that_has_gone_ends_it_though_nothing_new_is_to_be_told(known: str) -> None:
    with start(*RAW, "-m", known) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(2 * SECOND)
        process.stdin.flush()
        assert process.stdout.readline()
        process.stdout.close()
        process.stdin.write(2 * SECOND)  # the next window neither begins nor ends anything
        process.stdin.flush()
        assert process.wait(timeout=120) == ExitCode.OK  # and the stream is still open
        assert process.stderr
        assert len(process.stderr.read().splitlines()) == 1


# On a terminal


def plain(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")


def test_on_a_terminal_what_has_ended_stands_above_what_sounds_now(known: str) -> None:
    ours, theirs = pty.openpty()
    with start(*RAW, "-m", known, stdout=theirs, stderr=theirs, env={"TERM": "xterm"}) as process:
        os.close(theirs)
        assert process.stdin
        process.stdin.write(4 * SECOND)
        process.stdin.close()
        text = b"".join(everything(ours))
    assert process.returncode == 0
    shown = [line.rstrip() for line in plain(text.decode()) if line.strip()]
    assert "  nothing is told before 1.3 s are heard" in shown
    assert f"   0.500  {'█' * 10}{' ' * 10}  Music  since 0.0 s" in shown
    assert "  0.0 s – 4.0 s   0.881  Speech" in shown
    assert shown[-1].endswith(summary("4.0 s"))


def everything(terminal: int) -> Iterator[bytes]:
    try:
        while piece := os.read(terminal, 1 << 16):
            yield piece
    except OSError:
        pass  # how Linux says that nobody has the terminal open any more
    finally:
        os.close(terminal)


def test_names_are_shown_and_never_obeyed() -> None:
    evil = "[red]\x1b[2Jclear\u202e"
    file = io.StringIO()
    with LiveScreen(Console(file=file, force_terminal=True, width=100), 2.0) as screen:
        screen.started(Event(0.0, 2.0, 7, "", evil, 0.9, 0.9))
        screen.scored(2.0, (Tag(1, 7, "", evil, 0.9),), 0.1)
        screen.scored(4.0, (Tag(1, 8, "", evil, 0.7),), 0.1)
        screen.ended(Event(0.0, 2.0, 7, "", evil, 0.9, 0.9))
    shown = file.getvalue()
    assert shown.count(r"[red]\x1b[2Jclear\u202e") >= 4
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_a_sound_that_lasts_is_shown_though_others_are_louder() -> None:
    file = io.StringIO()
    with LiveScreen(Console(file=file, force_terminal=True, width=100), 2.0) as screen:
        screen.started(Event(3.0, 5.0, 7, "", "Dog", 0.9, 0.9))
        screen.scored(65.0, (Tag(1, 8, "", "Music", 0.7),), 2.5)
    shown = [line.strip() for line in plain(file.getvalue())]
    assert "Dog  since 3.0 s" in shown
    assert "1:05.0  2.5 s behind" in shown


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "hint"),
    [
        ("", b"", ExitCode.SOME_FAILED, "nothing came"),
        ("", SECOND, ExitCode.USAGE, "--rate 16000"),
        ("", b"fLaC" + SECOND, ExitCode.SOME_FAILED, "is FLAC, .*ffmpeg"),
        ("--channels 2", SECOND, ExitCode.USAGE, "Add --rate"),
        ("--rate 16000 --channel left", SECOND, ExitCode.USAGE, "no such channel"),
        ("--rate 16000 --channel 2", SECOND, ExitCode.SOME_FAILED, "there is no channel 2"),
        ("--rate 16000 --threshold high", SECOND, ExitCode.USAGE, "neither a number nor a file"),
        ("--rate 16000 --window 3", SECOND, ExitCode.USAGE, "longer than the 1.28 s of the model"),
        ("--rate 16000 --hop 2", SECOND, ExitCode.USAGE, "skip audio"),
        ("--rate 16000 --hysteresis 0", SECOND, ExitCode.USAGE, "hysteresis"),
        ("--rate 16000 --include [/red]", SECOND, ExitCode.USAGE, r"no class '\[/red\]'"),
        ("--rate 16000", SECOND[:100], ExitCode.SOME_FAILED, "do not fill one frame"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line_with_its_exit_code(
    arguments: str, stdin: bytes, code: ExitCode, hint: str, known: str
) -> None:
    done = ast_tag("listen", *arguments.split(), "-q", "-m", known, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert re.search(hint, done.one_line())


@pytest.mark.parametrize(
    "arguments", ["--rate 0", "--rate many", "--channels 0", "--encoding mp3", "--short stretch", "clip.wav"]
)
def test_an_option_or_value_that_does_not_exist_is_wrong_usage(arguments: str) -> None:
    assert ast_tag("listen", *arguments.split()).code == ExitCode.USAGE
