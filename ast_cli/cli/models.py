"""`ast-tag models`: the checkpoints known by name, and fetching one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import JustifyMethod
from rich.table import Table

from ast_cli.checkpoints.locate import cached_models
from ast_cli.checkpoints.published import BUILT_IN_IDS, BUILT_IN_MODELS, DEFAULT_MODEL, PUBLISHED_MODELS
from ast_cli.cli.options import RevisionOption
from ast_cli.cli.screen import stdout

COLUMNS = ("model", "stride", "patches", "labels", "T", "published", "cached")
NUMBERS = ("stride", "patches", "labels", "T")
FOR_NARROW = ("model", "labels", "published", "cached")  # 80 characters
GAP = 2

app = typer.Typer(help="List the built-in and the published checkpoints, or fetch one.")


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context) -> None:
    """List the built-in and the published checkpoints with their figures, and say which are cached."""
    if ctx.invoked_subcommand is not None:
        return
    cached = {known.id for known in cached_models()}
    rows = [
        (
            known.id,
            str(known.stride),
            str(known.patches),
            str(known.labels),
            str(known.frames),
            f"{known.metric} {known.figure:.3f}",
            "built in" if known.id in BUILT_IN_IDS else "yes" if known.id in cached else "no",
        )
        for known in (*BUILT_IN_MODELS, *PUBLISHED_MODELS)
    ]
    with stdout() as console:
        if not console.is_terminal:
            console.file.writelines("\t".join(row) + "\n" for row in (COLUMNS, *rows))
            return
        console.print(_table(rows, console.width), crop=False)
        console.print(
            "\nThe figures are the authors' own, on AudioSet's evaluation set and Speech Commands' test set; "
            "tiny knows synthetic sound only and is for trying the tool.",
            style="dim",
        )


def _table(rows: Sequence[Sequence[str]], width: int) -> Table:
    """All columns if the terminal has room for them, else those to choose a checkpoint by."""
    widths = [max(map(len, cells)) for cells in zip(COLUMNS, *rows, strict=True)]
    fits = sum(widths) + GAP * (len(widths) - 1) <= width
    shown = [place for place, column in enumerate(COLUMNS) if fits or column in FOR_NARROW]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for place in shown:
        # A name that is cut cannot be copied: rather let the table be wider than the terminal.
        justify: JustifyMethod = "right" if COLUMNS[place] in NUMBERS else "left"
        table.add_column(COLUMNS[place], justify=justify, no_wrap=True, min_width=widths[place])
    for row in rows:
        table.add_row(*(row[place] for place in shown), style="bold" if row[0] == DEFAULT_MODEL else None)
    return table


@app.command("pull")
def pull(
    model: Annotated[str, typer.Argument(metavar="ID", help="A model on the Hub.")] = DEFAULT_MODEL,
    revision: RevisionOption = None,
) -> None:
    """Fetch a checkpoint into the cache, or bring it up to date; prints the folder it is in."""
    from ast_cli.checkpoints.locate import pull_checkpoint

    files = pull_checkpoint(model, revision)
    with stdout() as console:
        console.file.write(f"{files.weights.parent}\n")
