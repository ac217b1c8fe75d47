"""`ast-tag verify`: is this network the published one?"""

from __future__ import annotations

from typing import Literal

import typer
from rich.table import Table
from rich.text import Text

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli.option_groups import argument, grouped, option
from ast_cli.cli.options import OfflineOption, RevisionOption
from ast_cli.cli.screen import error_line, stderr, stdout
from ast_cli.errors import ExitCode, UsageError
from ast_cli.text import one_line

STYLES = {"equal": "green", "different": "bold red"}


@grouped
def verify(
    *,
    file: str | None = argument(
        None, "An audio file, with --against.", metavar="FILE", show_default="the published sample clip"
    ),
    against: Literal["published", "transformers"] = option(
        "published", "The logits its authors publish, or the transformers installed here."
    ),
    model: str = option(DEFAULT_MODEL, "Hub id, folder or weights file.", "-m", metavar="NAME"),
    revision: RevisionOption = None,
    offline: OfflineOption = False,
) -> None:
    """Check a checkpoint's numbers against an independent source; exit code 1 if they differ.

    Fetches the sample clip whose logits are published, once, and compares in float32 on the CPU.
    """
    if file is not None and against == "published":
        raise UsageError(
            "logits are published for one clip only", "Add --against transformers to compare on your own file"
        )
    from ast_cli.checks.verify import TOLERANCE, verify_against_transformers, verify_published

    if against == "published":
        comparisons = verify_published(model, revision, offline=offline)
    else:
        comparisons = verify_against_transformers(model, file, revision, offline=offline, on_notice=_notice)
    columns = ("what", "ours", against, "deviation", "verdict")
    rows = [
        (
            one_line(one.what),  # a label is in it
            f"{one.ours:.6f}",
            f"{one.theirs:.6f}",
            f"{one.deviation:.1e}",
            "equal" if one.holds else "different",
        )
        for one in comparisons
    ]
    with stdout() as console:
        if console.is_terminal:
            table = Table(*columns, box=None, pad_edge=False, header_style="dim")
            for row in rows:
                table.add_row(*map(Text, row[:-1]), Text(row[-1], STYLES[row[-1]]))
            console.print(table)
        else:
            console.file.writelines("\t".join(row) + "\n" for row in (columns, *rows))
    if any(row[-1] == "different" for row in rows):
        theirs = "the published logits" if against == "published" else against
        error_line(f"{model} differs from {theirs} by more than {TOLERANCE:.0e}")
        raise typer.Exit(ExitCode.SOME_FAILED)


def _notice(message: str) -> None:
    stderr().print(Text(one_line(f"ast-tag: {message}"), "yellow"))
