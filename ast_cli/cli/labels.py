"""`ast-tag labels`: the class table, searched."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ast_cli.cli.option_groups import argument, grouped
from ast_cli.cli.screen import stdout
from ast_cli.errors import UsageError
from ast_cli.scoring.labels import (
    AudioSetNode,
    audioset_classes,
    audioset_nodes,
    children,
    search_audioset,
    tree_paths,
)
from ast_cli.text import did_you_mean

SEPARATOR = " › "


@grouped
def labels(
    *,
    query: list[str] = argument(
        [], "Words of a name, an index or a mid; all if none.", metavar="QUERY", show_default=False
    ),
) -> None:
    """Search AudioSet's classes, and show where they stand in its tree.

    Into a pipe: index, mid, name and tree paths, separated by tabs. Nodes without an index only group others.
    """
    words = " ".join(query or [])
    found = search_audioset(words) if words else list(audioset_classes())
    if not found:
        names = [node.name for node in audioset_nodes().values()]
        raise UsageError(f"no class is called {words}", did_you_mean(words, names) or "Try a shorter word")
    with stdout() as console:
        if console.is_terminal:
            console.print(_table(found))
            return
        for node in found:
            index = "" if node.index is None else str(node.index)
            console.file.write("\t".join((index, node.mid, node.name, " | ".join(_paths(node)))) + "\n")


def _table(found: list[AudioSetNode]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("index", justify="right")
    table.add_column("mid", style="dim", no_wrap=True)
    table.add_column("name", style="bold")
    table.add_column("in the tree")
    for node in found:
        below = children(node)
        place = Text("\n".join(_paths(node)), "dim")
        if below and len(found) <= 3:
            place.append(f"\nholds {', '.join(child.name for child in below)}", "not dim")
        table.add_row("" if node.index is None else str(node.index), node.mid, Text(node.name), place)
    return table


def _paths(node: AudioSetNode) -> list[str]:
    return [SEPARATOR.join(path) for path in tree_paths(node)]
