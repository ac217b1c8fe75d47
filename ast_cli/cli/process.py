"""The process of a command: what ends it from outside, its memory, its threads.

A program that imports `Tagger` has a process of its own, which none of this is for.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ast_cli.allocation import keep_memory
from ast_cli.cores import usable_cores

# Ctrl-C, a request to end, a closed terminal; Windows has not all of them.
INTERRUPTING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


def prepare_process() -> None:
    """To be called before torch is imported, which counts its threads then."""
    for number in INTERRUPTING:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup, say, has it ignored
            signal.signal(number, signal.default_int_handler)  # ends as Ctrl-C does: what was done is kept
    keep_memory()
    cores = usable_cores()
    if cores < (os.cpu_count() or 1):  # torch would have a thread for each core of a container's machine
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def quiet_libraries() -> None:
    """Have only this program write to stderr from now on: no warnings, and no notes of libraries in C.

    Such as mpg123's of a damaged file. A program that has put its own in place of stderr keeps that.
    """
    if sys.__stderr__ is None or sys.stderr is not sys.__stderr__:
        return
    warnings.simplefilter("ignore")
    ours = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    encoding = sys.__stderr__.encoding
    sys.stderr = open(ours, "w", 1, encoding, "backslashreplace")  # noqa: PTH123, SIM115


@contextmanager
def instead_of_interrupting(act: Callable[[], None]) -> Iterator[None]:
    """While the block runs, what would interrupt it calls `act`, once; after that it interrupts again."""
    numbers = [one for one in INTERRUPTING if signal.getsignal(one) is signal.default_int_handler]

    def handle(number: int, frame: object) -> None:
        restore()
        act()

    def restore() -> None:
        for one in numbers:
            signal.signal(one, signal.default_int_handler)

    for one in numbers:
        signal.signal(one, handle)
    try:
        yield
    finally:
        restore()
