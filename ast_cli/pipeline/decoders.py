"""Runs a function of paths in child processes, for the threads that call it: each waits for one child.

A thread that decodes takes and gives up Python's lock some seventy times a recording, and has to wait for it
as often; a thread that waits for a child does so three times.

`multiprocessing` with a fork server and shared memory costs the parent about as much, 0.68 to 0.70 ms a
recording against 0.55 to 0.71 here, and `torch.multiprocessing`, which sends tensors by descriptors, 0.87 to
0.93 (10 s of stereo WAV, two cores that others used as well; threads: 10 to 14). But its children import the
caller's `__main__`, so that a script without `if __name__ == "__main__"` would run again in each; they take
modules from the working folder; a process of `multiprocessing` may have none; and a child that hangs outlives
a parent that is killed. In `concurrent.futures`, a child that dies takes all others' recordings with it.

From top to bottom: the parent; what goes between two processes; the fork server and its children.
"""

from __future__ import annotations

import errno
import gc
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

import numpy as np
import torch

from ast_cli.allocation import keep_memory
from ast_cli.features.window_stream import Window
from ast_cli.results import FileFailure

if TYPE_CHECKING:
    from multiprocessing.connection import _ConnectionBase  # of several kinds on Windows

MEMORY_BYTES = 1 << 23  # twelve windows of 10.24 s, as waveforms
CLOSED = (EOFError, OSError)  # what a pipe raises that nobody is at the other end of
READY, FORK = b"ready", b"fork"  # to and from the fork server, as are pids, in digits
CONTROL_BYTES = 64

ItemT = TypeVar("ItemT")

# The parent's path is handed on before anything is imported: by itself, Python would look into the working
# folder first, and find a `torch.py` there. Where nothing can be imported so, the process ends.
PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
try:
    from ast_cli.pipeline.decoders import main
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
    channel: _Channel


@dataclass
class Decoders(Generic[ItemT]):
    """Items of paths, made by child processes once the run proves long, and by the caller until then.

    There are as many children as there are threads that ask at the same time. A child that dies costs the
    path that it was at. Where processes cannot be started, the callers go on themselves.
    """

    # Windows and others that can be pickled, as it can itself; raises nothing.
    run: Callable[[str], Iterator[ItemT]]
    # Windows that callers make before processes are started, and more until these are ready; 0: they wait.
    after: int
    on_notice: Callable[[str], None] | None = None  # told, on a caller's thread, why no more can be started
    _windows: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: _ForkServer | None = None
    _given_up: bool = getattr(sys, "frozen", False)
    _closed: bool = False
    _idle: list[_Child] = field(default_factory=list)

    def items(self, path: str) -> Iterator[ItemT | FileFailure]:
        """What `run` makes of a path; where its child dies, a FileFailure comes last."""
        child = self._child()
        if child is not None:
            yield from self._from(child, path)
            return
        for item in self.run(path):
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
                if not over:
                    channel.send(None)
                else:
                    self._idle.append(child)
                    if self._closed:
                        channel.close()
                yield from cast("list[ItemT]", items)
        except CLOSED:
            channel.close()
            if not self._closed:
                yield FileFailure(path, "internal-error", self._why(child))
        except GeneratorExit:
            if not over:
                channel.close()  # it is in the middle of what nobody wants any more
            raise

    def _child(self) -> _Child | None:
        """One that has nothing to do; None while there are none yet, or if there cannot be any."""
        with suppress(IndexError):
            return self._idle.pop()
        if self._windows < self.after:
            return None
        with self._lock:
            if self._given_up:
                return None
            try:
                if self._server is None:
                    self._server = _ForkServer(self.run)
                return self._server.child(wait=self.after == 0)
            except OSError as error:
                self._given_up = True  # no room for another process, say: those that there are go on
                if self.on_notice is not None:
                    self.on_notice(
                        f"no more decoding processes can be started ({error.strerror or error}): threads "
                        "decode, which may be slower"
                    )
                return None

    def _why(self, child: _Child) -> str:
        with self._lock:
            status = None if self._server is None else self._server.status(child)
        how, remedy = "ended", "This is a fault of the tool: please report it"
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            how = f"ended with exit code {code}"
            if code < 0:
                name = next((one.name for one in signal.Signals if one == -code), str(-code))
                how = f"was ended by {name}"
                if name == "SIGKILL":
                    remedy = "The system does so where memory is short: use fewer --workers"
        return f"the process that decoded it {how}. {remedy}"


class _ForkServer:
    """The process that children are forked from, as the parent sees it; see `main`.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, run: Callable[[str], Iterator[object]]) -> None:
        if not (hasattr(os, "memfd_create") and hasattr(socket, "AF_UNIX")):
            raise OSError(errno.ENOSYS, "this system cannot hand memory on")
        self._ready = False
        # Keeps the bounds of messages, which are short.
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with its, os.fdopen(os.memfd_create("ast-tag"), "w+b") as pickled:
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
        except BaseException:
            self._control.close()
            raise

    def child(self, *, wait: bool) -> _Child | None:
        """Another child; None while it is too early for that, unless that is waited for.

        Raises:
            OSError: There is no room for it, or the process is not there any more.
        """
        assert hasattr(os, "memfd_create")
        assert hasattr(socket, "send_fds")
        if not self._ready:
            try:
                self._ready = self._receive(wait=wait) == READY
            except BlockingIOError:
                return None
        memory = os.memfd_create("ast-tag")
        ours, its = Pipe()
        try:
            os.ftruncate(memory, MEMORY_BYTES)
            mapped = mmap.mmap(memory, MEMORY_BYTES)
            socket.send_fds(self._control, [FORK], [its.fileno(), memory])
            return _Child(int(self._receive()), _Channel(ours, mapped))
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

    def _receive(self, *, wait: bool = True) -> bytes:
        self._control.setblocking(wait)
        try:
            message = self._control.recv(CONTROL_BYTES)
        finally:
            self._control.setblocking(True)
        if not message:
            raise OSError("the process that they are forked from has ended")
        return message


@dataclass(frozen=True, slots=True)
class _Stored:
    """A window whose content lies in the memory."""

    start: int
    length: int
    new: int
    offset: int
    shape: tuple[int, ...]


class _Channel:
    """One end of what goes between two processes: messages through a pipe, windows through mapped memory.

    A window of 0.6 MB in a message would be copied twice, and cost a dozen system calls; from memory that
    both ends have mapped, it is copied once. Its pipe is closed with the channel.
    """

    def __init__(self, connection: _ConnectionBase[Any, Any], memory: mmap.mmap) -> None:
        self.close = connection.close
        self._connection = connection
        self._memory = memory
        self._used = 0

    def send(self, message: object) -> None:
        """Send anything that can be pickled."""
        # Not `Connection.send`: with torch, that sends tensors by file descriptors, from another thread.
        self._connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> object:
        """Wait for the next message."""
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 — of our own processes

    def forget(self) -> None:
        """The memory may be written over: the other end has taken all that was stored."""
        self._used = 0

    def store(self, item: Window | ItemT) -> _Stored | Window | ItemT | None:
        """What to send for an item: where the content of a window lies from now on, all else itself.

        Returns None where no more fits, until it may be forgotten.
        """
        if not isinstance(item, Window):
            return item
        content = item.content.numpy()
        begin, end = self._used, self._used + content.nbytes
        if end > len(self._memory):
            return None if begin else item  # what would never fit goes with the message
        np.frombuffer(self._memory, content.dtype, content.size, begin).reshape(content.shape)[:] = content
        self._used = end
        return _Stored(item.start, item.length, item.new, begin, content.shape)

    def take(self, sent: Sequence[_Stored | ItemT]) -> list[Window | ItemT]:
        """The items again; copies, so that the other end may write over what it stored."""
        return [self._window(one) if isinstance(one, _Stored) else one for one in sent]

    def _window(self, stored: _Stored) -> Window:
        size = int(np.prod(stored.shape))
        content = np.frombuffer(self._memory, np.float32, size, stored.offset).reshape(stored.shape)
        return Window(stored.start, stored.length, stored.new, torch.from_numpy(content.copy()))


def main(descriptor: int) -> None:
    """The fork server, which all decoding processes are forked from; `descriptor` is of the parent's socket.

    The function comes on standard input, then for each connection and memory, a child is made. The server
    imports torch once for all, which takes seconds, and has a single thread, so that to fork it is safe. It
    ends as soon as nobody is at the other end of its socket, however the parent ended, and its children with
    it.
    """
    assert hasattr(os, "fork")  # nothing starts it on other systems
    assert hasattr(socket, "recv_fds")
    assert hasattr(signal, "SIGKILL")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    control = socket.socket(fileno=descriptor)
    run: Callable[[str], Iterator[object]] = pickle.load(sys.stdin.buffer)  # noqa: S301 — of our own parent
    keep_memory()  # the blocks of a recording are as large as those of the one before
    torch.set_num_threads(1)  # there is a process for each core
    gc.collect()
    gc.freeze()  # or the collector would write to, and so copy, the memory that children share
    children: set[int] = set()
    try:
        control.send(READY)
        while True:
            asked, descriptors, _, _ = socket.recv_fds(control, CONTROL_BYTES, 2)
            if not asked:
                break
            if asked == FORK:
                answer = os.fork()
                if answer == 0:
                    control.close()
                    connection, memory = descriptors
                    _serve(run, _Channel(Connection(connection), mmap.mmap(memory, 0)))
                for one in descriptors:
                    os.close(one)
                children.add(answer)
            else:
                children.remove(pid := int(asked))
                answer = os.waitpid(pid, 0)[1]
            control.send(b"%d" % answer)
    except OSError:  # the parent is not there any more
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)  # one that waits for a pipe nobody writes to would stay
    for pid in children:
        os.waitpid(pid, 0)


def _serve(run: Callable[[str], Iterator[object]], channel: _Channel) -> NoReturn:
    """On the child: the items of each path that comes, as many at once as the memory has room for.

    A message holds items, and whether they were the last. After each but the last, the parent says when it
    has taken them.
    """
    code = 1
    try:
        while True:
            path = channel.receive()
            assert isinstance(path, str)
            ready: list[object] = []
            channel.forget()
            for item in run(path):
                stored = channel.store(item)
                if stored is None:
                    channel.send((ready, False))
                    channel.receive()
                    channel.forget()
                    ready, stored = [], channel.store(item)
                ready.append(stored)
            channel.send((ready, True))
    except CLOSED:
        code = 0
    finally:
        os._exit(code)  # nothing that the fork server registered is this process's to tidy up
