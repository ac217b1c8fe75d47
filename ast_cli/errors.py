"""What can go wrong, each with its cause, its remedy and its exit code.

The library raises these; only `ast_cli.cli` prints them and exits. Anything else that escapes is a bug.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What `ast-tag` tells the shell."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    CANNOT_RUN = 3
    INTERRUPTED = 130


class AstCliError(Exception):
    """Base of all errors meant for a person: one line of cause, one of remedy.

    Args:
        cause: What is wrong, without a full stop.
        remedy: What to do about it; empty where nothing sensible can be said.
    """

    exit_code = ExitCode.CANNOT_RUN

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are copied by calling their class with what `__init__` passed up, which is not all.
        return type(self).__new__, (type(self), self.cause), vars(self)

    def __str__(self) -> str:
        return f"{self.cause}. {self.remedy}" if self.remedy else self.cause


class UsageError(AstCliError):
    """The request itself makes no sense: a bad option value, options that contradict each other."""

    exit_code = ExitCode.USAGE


class CheckpointError(AstCliError):
    """No such model, it cannot be fetched, or its files do not hold what they should."""


class ConfigError(AstCliError):
    """A network or its features cannot have this shape."""


class EngineError(AstCliError):
    """The device, number format or attention asked for cannot run here."""


class TooLittleMemoryError(EngineError):
    """The device has too little memory for so many windows at once."""


class OutputError(AstCliError):
    """Results cannot be written where they should go."""


class ResultsError(AstCliError):
    """Stored results cannot be read, or do not hold what is asked of them."""


class InputError(AstCliError):
    """One recording cannot be tagged; the others can.

    Args:
        word: The short stable name of the failure that results carry: `not-found`, `unreadable`,
            `unsupported-format`, `empty`, `non-finite`, `too-short`, `no-such-channel`, `no-audio`, `silent`;
            and `internal-error` in a `FileFailure`, for what should not have happened.
        cause: What is wrong.
        remedy: What to do about it.
    """

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, word: str, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.word = word
