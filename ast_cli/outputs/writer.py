"""What every writer has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TextIO

from ast_cli.results import FileFailure, FileResult, Outcome, RunInfo

if TYPE_CHECKING:
    from typing_extensions import Self


class Writer(ABC):
    """Writes outcomes to a stream, in the order they come.

    Attributes:
        suffix: Of a file in this format, with its dot.
        of_events: Whether the format holds events, so that they must be found.
        holds_many: Whether one file can hold several recordings.
        tells_failures: Whether it has a place for recordings that failed.

    Args:
        stream: Where to write.
        run_info: Says what the results are made with; called only if the format tells it.
    """

    suffix: ClassVar[str]
    of_events: ClassVar[bool] = False
    holds_many: ClassVar[bool] = True
    tells_failures: ClassVar[bool] = False

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        self.stream = stream
        self.run_info = run_info

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def write(self, outcome: Outcome) -> None:
        """Write one outcome."""
        if isinstance(outcome, FileFailure):
            self.failure(outcome)
        else:
            self.result(outcome)

    def begin(self) -> None:  # noqa: B027 — most formats begin with the first result
        """Write what comes before all results."""

    @abstractmethod
    def result(self, result: FileResult) -> None:
        """Write a tagged recording."""

    def failure(self, failure: FileFailure) -> None:  # noqa: B027
        """Write a failed recording; formats of labels alone have no place for it."""

    def end(self) -> None:  # noqa: B027 — most formats end with the last result
        """Write what comes after all results; also when the run was interrupted."""
