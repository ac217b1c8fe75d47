"""`ast-tag verify`: is this network the published one?"""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.table import Table

from ast_cli.cli import options
from ast_cli.cli.screen import error_line, stdout
from ast_cli.errors import ExitCode, UsageError
from ast_cli.published import DEFAULT_MODEL


def verify(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="An audio file, with --against.",
            show_default="the published sample clip",
        ),
    ] = None,
    against: Annotated[
        Literal["published", "transformers"],
        typer.Option(help="The logits its authors publish, or the transformers installed here."),
    ] = "published",
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Hub id, folder or weights file.")
    ] = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
) -> None:
    """Check a checkpoint's numbers against an independent source; exit code 1 if they differ.

    Fetches the sample clip whose logits are published, once, and compares in float32 on the CPU.
    """
    if file is not None and against == "published":
        raise UsageError(
            "logits are published for one clip only", "Add --against transformers to compare on your own file"
        )
    from ast_cli.verify import TOLERANCE, verify_against_transformers, verify_published

    if against == "published":
        comparisons = verify_published(model, revision, offline=offline)
    else:
        comparisons = verify_against_transformers(model, file, revision, offline=offline)
    table = Table("", "ours", against, "deviation", "", box=None, pad_edge=False, header_style="dim")
    found = list(comparisons)
    for one in found:
        verdict = "[green]equal[/]" if one.holds else "[bold red]different[/]"
        table.add_row(one.what, f"{one.ours:.6f}", f"{one.theirs:.6f}", f"{one.deviation:.1e}", verdict)
    with stdout() as console:
        console.print(table)
    if not all(one.holds for one in found):
        error_line(f"{model} differs by more than {TOLERANCE:.0e} from what is {against}")
        raise typer.Exit(ExitCode.SOME_FAILED)
