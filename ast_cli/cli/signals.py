"""What ends a run from outside: Ctrl-C, a request to end, a closed terminal; Windows has not all of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


def interrupt_on_all() -> None:
    """Have each end a run as Ctrl-C does: what was done is kept."""
    for number in INTERRUPTING:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup, say, has it ignored
            signal.signal(number, signal.default_int_handler)


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
