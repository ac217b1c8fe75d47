"""The fork server, the process that all decoding processes are forked from; and what each of them does.

It imports torch once for all, which takes seconds, and has a single thread, so that to fork it is safe. It
ends as soon as nobody is at the other end of its socket, however the parent ended, and its children with it.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NoReturn

import torch

from ast_cli.allocation import keep_memory
from ast_cli.pipeline.process_channel import CLOSED, CONTROL_BYTES, FORK, READY, Channel


def main(descriptor: int) -> None:
    """Serve the parent: the function comes on standard input, then for each connection and memory, a child.

    Args:
        descriptor: Of the socket that leads to the parent.
    """
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
                children.add(answer := _fork(run, control, *descriptors))
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


def _fork(
    run: Callable[[str], Iterator[object]], control: socket.socket, descriptor: int, memory: int
) -> int:
    """Make a child; returns its pid."""
    pid = os.fork()
    if pid == 0:
        control.close()
        _serve(run, Channel(Connection(descriptor), mmap.mmap(memory, 0)))
    os.close(descriptor)
    os.close(memory)
    return pid


def _serve(run: Callable[[str], Iterator[object]], channel: Channel) -> NoReturn:
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
