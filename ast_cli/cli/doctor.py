"""`ast-tag doctor`: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

from itertools import chain

import typer
from rich.markup import escape

from ast_cli.cli.option_groups import grouped, option
from ast_cli.cli.screen import stdout
from ast_cli.errors import ExitCode


@grouped
def doctor(
    *,
    ray: str | None = option(
        None,
        "Ask the machines of a Ray cluster, too, which must have installed what is here.",
        metavar="local|auto|ADDRESS",
        show_default=False,
    ),
) -> None:
    """Check versions, device, codecs and cache by trying them; exit code 3 if something needed is broken."""
    from ast_cli.checks.doctor import examine, examine_cluster

    broken = False
    with stdout() as console:
        for finding in chain(examine(), () if ray is None else examine_cluster(ray)):
            mark = "[green]✓[/]" if finding.works else "[bold red]✗[/]" if finding.needed else "[yellow]–[/]"
            console.print(f"{mark} [bold]{finding.what}[/]  {escape(finding.found)}", soft_wrap=True)
            if not finding.works:
                console.print(f"    {escape(finding.remedy)}", soft_wrap=True)
                broken = broken or finding.needed
    if broken:
        raise typer.Exit(ExitCode.CANNOT_RUN)
