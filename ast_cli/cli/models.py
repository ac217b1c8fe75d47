"""`ast-tag models`: the checkpoints known by name, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ast_cli.cli import options
from ast_cli.cli.screen import stdout
from ast_cli.locate import cached_models
from ast_cli.published import BUILT_IN_IDS, BUILT_IN_MODELS, DEFAULT_MODEL, PUBLISHED_MODELS

COLUMNS = ("model", "stride", "patches", "labels", "T", "published", "cached")
NUMBERS = ("stride", "patches", "labels", "T")

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
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in COLUMNS:
            # A name that is cut cannot be copied: rather let the table be wider than the terminal.
            table.add_column(
                column, justify="right" if column in NUMBERS else "left", no_wrap=True, overflow="ignore"
            )
        for row in rows:
            table.add_row(*row, style="bold" if row[0] == DEFAULT_MODEL else None)
        console.print(table)
        console.print(
            "\nThe figures are the authors' own, on AudioSet's evaluation set and Speech Commands' test set; "
            "tiny knows synthetic sound only and is for trying the tool.",
            style="dim",
        )


@app.command("pull")
def pull(
    model: Annotated[str, typer.Argument(metavar="ID", help="A model on the Hub.")] = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
) -> None:
    """Fetch a checkpoint into the cache, or bring it up to date; prints the folder it is in."""
    from ast_cli.locate import pull_checkpoint

    files = pull_checkpoint(model, revision)
    with stdout() as console:
        console.file.write(f"{files.weights.parent}\n")
