"""What a person at a terminal sees while a stream is processed: what sounds now, above it what has ended."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ast_cli.outputs.table_writer import bar
from ast_cli.results import Event, Tag
from ast_cli.text import clock, one_line


class LiveScreen:
    """Drawn anew with every window. A context: what it showed of now is wiped out at its end.

    Args:
        console: The terminal.
        first: When the first window is complete, in seconds.
    """

    def __init__(self, console: Console, first: float) -> None:
        self._lasting: dict[int, Event] = {}
        self._live = Live(
            Text(f"  nothing is told before {clock(first)} are heard", "dim"),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            # Warnings go above it, but those that go into a file stay there.
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveScreen:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, event: Event) -> None:
        """An event began."""
        self._lasting[event.index] = event

    def ended(self, event: Event) -> None:
        """It is over, and becomes a line above."""
        self._lasting.pop(event.index, None)
        line = _line(f"  {clock(event.start)} – {clock(event.end)}  ", "cyan")
        line.append(f"{event.score:6.3f}  ", "dim")
        line.append(one_line(event.label), "default")
        self._live.console.print(line, soft_wrap=False)

    def scored(self, seconds: float, tags: tuple[Tag, ...], behind: float) -> None:
        """Draw a window: its highest labels, and the sounds that last though they are not among these.

        Args:
            seconds: Where it ends.
            tags: Its highest labels.
            behind: Seconds of audio that came after it already.
        """
        head = _line(f"  {clock(seconds)}", "bold")
        head.append(f"  {clock(behind)} behind", "dim not bold")
        lines = [head]
        for tag in tags:
            line = _line(f"  {tag.score:6.3f}  ", "dim")
            line.append(bar(tag.score), "green not dim")
            lines.append(self._named(line, tag.index, tag.label))
        shown = {tag.index for tag in tags}
        for index, event in self._lasting.items():
            if index not in shown:
                lines.append(self._named(_line(" " * 30), index, event.label))
        self._live.update(Group(*lines), refresh=True)

    def _named(self, line: Text, index: int, label: str) -> Text:
        lasting = self._lasting.get(index)
        line.append(f"  {one_line(label)}", "not dim" if lasting is None else "bold not dim")
        if lasting is not None:
            line.append(f"  since {clock(lasting.start)}", "cyan not dim")
        return line


def _line(text: str, style: str = "") -> Text:
    # Text, never markup: a name such as `[red]` must be shown as it is.
    return Text(text, style, no_wrap=True, overflow="ellipsis")
