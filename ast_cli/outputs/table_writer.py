"""The table a person sees: a heading for each recording, a bar for each score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TextIO

from rich.console import Console
from rich.text import Text

from ast_cli.outputs.writer import Writer
from ast_cli.results import Event, FileResult, RunInfo, Tag, display_name
from ast_cli.text import clock, color_system, one_line

BAR_WIDTH = 20
LEVELS = " ▁▂▃▄▅▆▇█"
FEWEST_POINTS = 3  # windows of which a course can be seen
EIGHTHS = " ▏▎▍▌▋▊▉"


class TableWriter(Writer):
    """Colored where the terminal has colors; never wider than it, but for a name, which is never cut."""

    suffix = ".txt"

    def __init__(self, stream: TextIO, run_info: Callable[[], RunInfo]) -> None:
        super().__init__(stream, run_info)
        self._console = Console(file=stream, color_system=color_system(), highlight=False, soft_wrap=True)

    def result(self, result: FileResult) -> None:
        """Draw one recording."""
        # Text, never markup: a name such as `[red]` must be shown as it is.
        heading = Text(one_line(display_name(result.file)), "bold")
        heading.append(f"  {clock(result.duration)}", "dim not bold")
        self._console.print(heading)
        if result.events is not None:
            self._events(result.events)
            return
        if not result.windows:
            self._tags(result.tags)
        elif len(result.windows) >= FEWEST_POINTS:
            self._courses(result)
        for window in result.windows:
            self._print(Text(f"  {clock(window.start)} – {clock(window.end)}", "cyan"))
            self._tags(window.tags)

    def _events(self, events: Sequence[Event]) -> None:
        if not events:
            self._print(Text("  no event", "dim"))
        times = [f"{clock(event.start)} – {clock(event.end)}" for event in events]
        width = max(map(len, times), default=0)
        for time, event in zip(times, events, strict=True):
            line = Text(f"  {time:<{width}}  ", "cyan")
            line.append(f"{event.score:6.3f}  ", "dim")
            line.append(one_line(event.label), "default")
            self._print(line)

    def _tags(self, tags: Sequence[Tag]) -> None:
        if not tags:
            self._print(Text("  nothing scored above the threshold", "dim"))
        for tag in tags:
            self._tag(tag, bar(tag.score))

    def _courses(self, result: FileResult) -> None:
        """The recording's labels, each with its course over the windows."""
        scores: dict[int, list[float]] = {tag.index: [] for tag in result.tags}
        for window in result.windows:
            found = {tag.index: tag.score for tag in window.tags}
            for index, course in scores.items():
                course.append(found.get(index, 0.0))  # it is not among the window's labels
        for tag in result.tags:
            self._tag(tag, sparkline(scores[tag.index]).ljust(BAR_WIDTH))

    def _tag(self, tag: Tag, drawn: str) -> None:
        line = Text(f"  {tag.score:6.3f}  ", "dim")
        line.append(drawn, "green not dim")
        line.append(f"  {one_line(tag.label)}", "not dim")
        self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True, soft_wrap=False)


def bar(score: float) -> str:
    """A bar of `BAR_WIDTH` cells, in eighths of a cell; logits beyond 0 and 1 fill none or all."""
    eighths = round(min(max(score, 0.0), 1.0) * BAR_WIDTH * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(BAR_WIDTH)


def sparkline(scores: Sequence[float]) -> str:
    """A column for each score, in eighths of a line; at most `BAR_WIDTH`, each the highest of its scores."""
    columns = min(len(scores), BAR_WIDTH)
    bounds = [len(scores) * column // columns for column in range(columns + 1)]
    highest = [max(scores[start:end]) for start, end in pairwise(bounds)]
    return "".join(LEVELS[round(min(max(score, 0.0), 1.0) * (len(LEVELS) - 1))] for score in highest)
