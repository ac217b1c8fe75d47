"""`import tests.without_posix`, or `pytest -p tests.without_posix`: hides from `ast_cli` what only POSIX has.

Modules of ours that are imported afterwards see `os`, `signal`, `select` and `socket` as Windows has them,
and find no `fcntl` and the like. Tests and other packages see all, so that only what our own code asks for
is tried. Not tried: other separators, another way to start processes. Tests that need POSIX themselves are
marked `posix`, and left out.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

MODULES = ("crypt", "curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
NAMES = {
    "os": """
        EX_OK O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC WEXITSTATUS
        WIFEXITED WIFSIGNALED WNOHANG WTERMSIG chown chroot confstr copy_file_range eventfd fchdir fchown
        fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid getgroups getloadavg getpgid getpgrp
        getpriority getsid getuid getxattr initgroups killpg lchown lockf memfd_create mkfifo mknod nice
        openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite
        pwritev readv register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setgid setpgid
        setpgrp setpriority setsid setuid splice statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname wait
        wait3 wait4 waitid writev""",
    "signal": """
        SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU
        SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU SIGXFSZ alarm getitimer pause pthread_kill pthread_sigmask setitimer
        siginterrupt sigpending sigtimedwait sigwait sigwaitinfo""",
    "select": "EPOLLIN POLLERR POLLHUP POLLIN POLLNVAL POLLOUT POLLPRI epoll poll",
    "socket": "AF_UNIX CMSG_LEN MSG_DONTWAIT SCM_RIGHTS SOL_UNIX recv_fds send_fds",
}


class _Hiding(ModuleType):
    """A module as it is, also for who changes it, but for some names."""

    def __init__(self, module: ModuleType, hidden: Sequence[str]) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _hidden=frozenset(hidden))

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"module {self.__name__} has no attribute {name} on Windows", name=name)
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._module, name)


_seen = {name: _Hiding(importlib.import_module(name), hidden.split()) for name, hidden in NAMES.items()}
_import = builtins.__import__


def _import_without(
    name: str,
    names: Mapping[str, object] | None = None,
    local: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    importer = str((names or {}).get("__name__", ""))
    if level == 0 and importer.partition(".")[0] == "ast_cli":
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        what = name if fromlist else name.partition(".")[0]
        if what in _seen:
            return _seen[what]
    return _import(name, names, local, fromlist, level)


early = [name for name in sys.modules if name.partition(".")[0] == "ast_cli"]
if early:
    raise ImportError(f"{early[0]} was imported before names could be hidden from it")
builtins.__import__ = _import_without
