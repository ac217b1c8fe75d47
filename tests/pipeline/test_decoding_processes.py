"""Decoding in child processes against decoding on the calling thread, and what becomes of the processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ast_cli.features.window_stream import Window
from ast_cli.pipeline.decoders import MEMORY_BYTES, Decoders
from ast_cli.pipeline.readahead import read_ahead
from ast_cli.results import Facts, FileFailure
from tests.cli.runner import environment
from tests.made_up import SAMPLES, made_up, window
from tests.pipeline.test_readahead import wait_until

pytestmark = [
    pytest.mark.posix("processes that share memory"),
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="on threads only, on this system"),
]

MORE_THAN_FIT = MEMORY_BYTES // (4 * SAMPLES) * 2 + 3  # windows
FACTS = Facts(1.5, 150, 16_000, 2, ("a warning",))


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with closing(Decoders(made_up, after=0)) as decoders:
        yield decoders


def windows_of(items: list[object]) -> list[Window]:
    return [item for item in items if isinstance(item, Window)]


def process_of(items: list[object]) -> int:
    [number] = [item[1] for item in items if isinstance(item, tuple) and item[0] == "process"]
    return number


def comparable(items: list[object]) -> list[object]:
    """Items without the process that they come from; windows as what can be compared."""
    return [
        (one.start, one.length, one.new, one.content.shape, one.content.numpy().tobytes())
        if isinstance(one, Window)
        else one
        for one in items
        if not (isinstance(one, tuple) and one[0] == "process")
    ]


def is_there(process: int) -> bool:
    """Whether a process exists and has not ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# The same items


@pytest.mark.parametrize("name", ["0", "1", "2", f"{MORE_THAN_FIT}", "1 frames", f"1 large {MEMORY_BYTES}"])
def test_items_are_those_of_the_thread(decoders: Decoders, name: str) -> None:
    items = [*decoders.items(name)]  # held all at once: what comes later must not be written over them
    assert comparable(items) == comparable([*made_up(name)])
    assert process_of(items) != os.getpid()


@pytest.mark.parametrize("name", [os.fsdecode(b"1 x caf\xe9"), "0 x \ud800", f"0 x {'n' * 300_000}"])
def test_names_come_through_as_they_are(decoders: Decoders, name: str) -> None:
    assert ("name", name) in [*decoders.items(name)]


def test_threads_have_a_child_each(decoders: Decoders) -> None:
    names = [f"{number % 4}" for number in range(40)]
    found = [[*items] for _, items in read_ahead(names, decoders.items, workers=3, depth=2)]
    assert [comparable(items) for items in found] == [comparable([*made_up(name)]) for name in names]
    assert len({process_of(items) for items in found}) <= 3


def test_a_child_has_one_thread_for_itself_and_one_for_torch(decoders: Decoders) -> None:
    assert ("threads", (1, 1)) in [*decoders.items("0 threads")]


def test_what_a_decoder_prints_is_never_among_the_results(
    decoders: Decoders, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(Decoders(made_up, after=0)) as fresh:  # whose standard error is the one of this test
        assert len([*fresh.items("0 say")]) == 3
    assert capfd.readouterr() == ("", "on standard error\n")


def test_no_module_is_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("torch", "numpy", "pickle", "ast_cli"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    with closing(Decoders(made_up, after=0)) as decoders:
        assert process_of([*decoders.items("0")]) != os.getpid()


# When


def test_a_short_run_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with closing(Decoders(made_up, after=3)) as decoders:
        for name in ("1", "2"):
            assert process_of([*decoders.items(name)]) == os.getpid()


def test_until_children_are_ready_nobody_waits_for_them() -> None:
    with closing(Decoders(made_up, after=2)) as decoders:
        processes = [process_of([*decoders.items("1")]) for _ in range(3)]
        assert processes == [os.getpid()] * 3  # to import torch takes longer
        wait_until(lambda: process_of([*decoders.items("1")]) != os.getpid())


def test_where_no_process_can_be_started_the_caller_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with closing(Decoders(made_up, after=0)) as decoders:
        for name in ("1", "2"):
            assert process_of([*decoders.items(name)]) == os.getpid()


def test_where_the_process_ends_at_once_the_caller_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with closing(Decoders(made_up, after=0)) as decoders:
        assert process_of([*decoders.items("1")]) == os.getpid()


# Ends


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2 die SIGSEGV", "was ended by SIGSEGV. This is a fault of the tool: please report it"),
        (
            "9 die SIGKILL",
            "was ended by SIGKILL. The system does so where memory is short: use fewer --workers",
        ),
        ("0 exit 3", "ended with exit code 3. This is a fault of the tool: please report it"),
    ],
)
def test_a_child_that_dies_costs_one_recording(decoders: Decoders, name: str, message: str) -> None:
    *before, failure = decoders.items(name)
    assert failure == FileFailure(name, "internal-error", f"the process that decoded it {message}")
    sent = windows_of(before)  # those of the last message are lost
    assert comparable(sent) == comparable([window(number) for number in range(len(sent))])
    assert comparable([*decoders.items("2")]) == comparable([*made_up("2")])


def test_a_child_that_died_while_it_had_nothing_to_do_costs_nothing(decoders: Decoders) -> None:
    process = process_of([*decoders.items("0")])
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not is_there(process))
    assert process_of([*decoders.items("0")]) != process


def test_recordings_that_nobody_hears_to_their_end_spoil_no_others(decoders: Decoders) -> None:
    items = decoders.items(f"{MORE_THAN_FIT}")
    next(items)
    items.close()
    assert comparable([*decoders.items("2")]) == comparable([*made_up("2")])


def test_closing_ends_even_a_child_that_hangs() -> None:
    decoders = Decoders(made_up, after=0)
    process = process_of([*decoders.items("0")])
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(decoders.items("2 hang")))
    thread.start()
    wait_until(lambda: not decoders._idle)
    decoders.close()
    assert not is_there(process)
    thread.join()
    assert found == []


SCRIPT = """
    import os, sys, threading
    from ast_cli.pipeline.decoders import Decoders
    from tests.made_up import made_up
    print("begun")
    decoders = Decoders(made_up, after=0)
    _, (_, process), _ = decoders.items("0")
    print(process, flush=True)
    {then}
"""


def started(then: str) -> subprocess.Popen[str]:
    """A script that is not made to be imported, as most are not."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT).format(then=then)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("then", "end"),
    [
        ("", None),
        ("list(decoders.items('0 hang'))", lambda process: process.kill()),
        ("threading.Event().wait()", lambda process: os.killpg(process.pid, signal.SIGINT)),  # Ctrl-C
    ],
    ids=["never closed", "killed", "interrupted"],
)
def test_no_child_outlives_its_parent(then: str, end: Callable[[subprocess.Popen[str]], None] | None) -> None:
    with started(then) as script:
        assert script.stdout
        lines = [script.stdout.readline(), script.stdout.readline()]
        if end is not None:
            end(script)
        out, err = script.communicate(timeout=60)
    assert (lines[0], out) == ("begun\n", "")
    wait_until(lambda: not is_there(int(lines[1])))
    assert len(re.findall("Traceback", err)) == (script.returncode == -signal.SIGINT)
