"""Recordings made up from their names, in a module that child processes import: it loads no pytest."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator

import torch

from ast_cli.features.window_stream import Window
from ast_cli.results import Facts

SAMPLES = 1 << 18  # 1 MB in a window


def window(number: int, samples: int = SAMPLES) -> Window:
    generator = torch.Generator().manual_seed(number)
    return Window(number, 7, 5, torch.rand(samples, generator=generator))


def made_up(name: str) -> Iterator[Window | Facts | tuple[str, object]]:
    """Windows, then what else the name asks for, then the process that was at it, then the facts.

    `3`: three windows. `3 die SIGSEGV`: dies after them. `1 exit 3`, `1 hang`: likewise.
    """
    count, what, how = [*name.split(), "", ""][:3]
    for number in range(int(count)):
        yield window(number)
    if what == "large":
        yield window(0, int(how))
    elif what == "frames":
        yield Window(1, 2, 3, torch.rand(12, 8, generator=torch.Generator().manual_seed(1)))
    elif what == "die":
        os.kill(os.getpid(), signal.Signals[how])
    elif what == "exit":
        os._exit(int(how))
    elif what == "hang":
        threading.Event().wait()
    elif what == "threads":
        yield "threads", (threading.active_count(), torch.get_num_threads())
    elif what == "say":
        print("on standard output", flush=True)
        print("on standard error", file=sys.stderr, flush=True)
    yield "name", name
    yield "process", os.getpid()
    yield Facts(1.5, 150, 16_000, 2, ("a warning",))
