"""Runs a function of paths in child processes, for the threads that call it: each waits for one child.

A thread that decodes takes and gives up Python's lock some seventy times a recording, and has to wait for it
as often; a thread that waits for a child does so three times.

`multiprocessing` with a fork server and shared memory costs the parent about as much, 0.68 to 0.70 ms a
recording against 0.55 to 0.71 here, and `torch.multiprocessing`, which sends tensors by descriptors, 0.87 to
0.93 (10 s of stereo WAV, two cores that others used as well; threads: 10 to 14). But its children import the
caller's `__main__`, so that a script without `if __name__ == "__main__"` would run again in each; they take
modules from the working folder; a process of `multiprocessing` may have none; and a child that hangs outlives
a parent that is killed. In `concurrent.futures`, a child that dies takes all others' recordings with it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Generic, TypeVar, cast

from ast_cli.features.window_stream import Window
from ast_cli.pipeline.process_channel import CLOSED, CONTROL_BYTES, FORK, MEMORY_BYTES, READY, Channel
from ast_cli.results import FileFailure

ItemT = TypeVar("ItemT")

# The parent's path is handed on before anything is imported: by itself, Python would look into the working
# folder first, and find a `torch.py` there. Where nothing can be imported so, the process ends.
PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
try:
    from ast_cli.pipeline.process_server import main
except ImportError:
    sys.exit(1)
main(int(sys.argv[1]))
"""
# numpy would start a thread for each core, and a process that has several cannot be forked safely.
SINGLE_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class _Child:
    """One process, as the parent sees it."""

    pid: int
    channel: Channel


class Decoders(Generic[ItemT]):
    """Items of paths, made by child processes once the run proves long, and by the caller until then.

    There are as many children as there are threads that ask at the same time. A child that dies costs the
    path that it was at. Where processes cannot be started, the callers go on themselves.

    Args:
        run: Path -> items, windows and others that can be pickled, as it can itself; raises nothing.
        after: Windows that callers make themselves before processes are started, and more until these are
            ready. With 0, they wait for the processes.
        on_notice: Called, on a caller's thread, with why no more processes can be started.
    """

    def __init__(
        self,
        run: Callable[[str], Iterator[ItemT]],
        after: int,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._run = run
        self._on_notice = on_notice
        self._after = after
        self._windows = 0
        self._lock = threading.Lock()
        self._server: _ForkServer | None = None
        self._given_up = getattr(sys, "frozen", False) or not hasattr(os, "memfd_create")
        self._closed = False
        self._idle: list[_Child] = []

    def items(self, path: str) -> Iterator[ItemT | FileFailure]:
        """What `run` makes of a path; where its child dies, a FileFailure comes last."""
        child = self._child()
        if child is not None:
            yield from self._from(child, path)
            return
        for item in self._run(path):
            if isinstance(item, Window):
                self._windows += 1
            yield item

    def close(self) -> None:
        """End all processes, whatever they are at; a thread that still waits for one has no more items."""
        with self._lock:
            self._closed = self._given_up = True
            if self._server is not None:
                self._server.close()
        for child in self._idle:
            child.channel.close()

    def _from(self, child: _Child, path: str) -> Iterator[ItemT | FileFailure]:
        channel, over = child.channel, False
        try:
            channel.send(path)
        except CLOSED:  # it died before it had the path, which somebody else may take
            channel.close()
            yield from self.items(path)
            return
        try:
            while not over:
                sent, over = cast("tuple[list[ItemT], bool]", channel.receive())
                items = channel.take(sent)
                if over:
                    self._put_back(child)
                else:
                    channel.send(None)
                yield from cast("list[ItemT]", items)
        except CLOSED:
            channel.close()
            if not self._closed:
                yield FileFailure(path, "internal-error", self._why(child))
        except GeneratorExit:
            if not over:
                channel.close()  # it is in the middle of what nobody wants any more
            raise

    def _put_back(self, child: _Child) -> None:
        self._idle.append(child)
        if self._closed:
            child.channel.close()

    def _child(self) -> _Child | None:
        """One that has nothing to do; None while there are none yet, or if there cannot be any."""
        with suppress(IndexError):
            return self._idle.pop()
        if self._windows < self._after or self._given_up:
            return None
        with self._lock:
            return self._another()

    def _another(self) -> _Child | None:
        if self._given_up:
            return None
        try:
            if self._server is None:
                self._server = _ForkServer(self._run)
            return self._server.child(wait=self._after == 0)
        except OSError as error:
            self._given_up = True  # no room for another process, say: those that there are go on
            if self._on_notice is not None:
                self._on_notice(
                    f"no more decoding processes can be started ({error.strerror or error}): threads decode, "
                    "which may be slower"
                )
            return None

    def _why(self, child: _Child) -> str:
        with self._lock:
            status = None if self._server is None else self._server.status(child)
        how, remedy = "ended", "This is a fault of the tool: please report it"
        if status is not None and os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            how = f"was ended by {next((one.name for one in signal.Signals if one == number), number)}"
            if number == signal.SIGKILL:
                remedy = "The system does so where memory is short: use fewer --workers"
        elif status is not None:
            how = f"ended with exit code {os.waitstatus_to_exitcode(status)}"
        return f"the process that decoded it {how}. {remedy}"


class _ForkServer:
    """The process that children are forked from, as the parent sees it; see `process_server`.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, run: Callable[[str], Iterator[object]]) -> None:
        with ExitStack() as stack:
            # Keeps the bounds of messages, which are short.
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control, its = map(stack.enter_context, pair)
            pickled = stack.enter_context(os.fdopen(os.memfd_create("ast-tag"), "w+b"))
            pickle.dump(run, pickled)
            pickled.seek(0)
            self._process = subprocess.Popen(  # noqa: S603 — this very Python
                [sys.executable, "-W", "ignore", "-c", PROGRAM, str(its.fileno()), *map(str, sys.path)],
                pass_fds=[its.fileno()],
                stdin=pickled,
                stdout=subprocess.DEVNULL,  # where results go
                env=os.environ | SINGLE_THREADS,
                start_new_session=True,  # Ctrl-C is for the parent, even before a child can ignore it
            )
            stack.pop_all()
        its.close()
        pickled.close()
        self._ready = False

    def child(self, *, wait: bool) -> _Child | None:
        """Another child; None while it is too early for that, unless that is waited for.

        Raises:
            OSError: There is no room for it, or the process is not there any more.
        """
        if not self._ready:
            try:
                self._ready = self._receive(0 if wait else socket.MSG_DONTWAIT) == READY
            except BlockingIOError:
                return None
        memory = os.memfd_create("ast-tag")
        ours, its = Pipe()
        try:
            os.ftruncate(memory, MEMORY_BYTES)
            mapped = mmap.mmap(memory, MEMORY_BYTES)
            socket.send_fds(self._control, [FORK], [its.fileno(), memory])
            return _Child(int(self._receive()), Channel(ours, mapped))
        except OSError:
            ours.close()
            raise
        finally:
            its.close()
            os.close(memory)

    def status(self, child: _Child) -> int | None:
        """How a child ended, as `os.waitpid` tells; None if nobody knows."""
        with suppress(OSError):
            self._control.send(b"%d" % child.pid)
            return int(self._receive())
        return None

    def close(self) -> None:
        """End it and all its children."""
        self._control.close()
        if not self._ready:
            self._process.kill()  # it would import torch before it noticed
        self._process.wait()

    def _receive(self, flags: int = 0) -> bytes:
        message = self._control.recv(CONTROL_BYTES, flags)
        if not message:
            raise OSError("the process that they are forked from has ended")
        return message
