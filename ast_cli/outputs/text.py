"""Names and labels made harmless for where they are shown: they come from strangers."""

from __future__ import annotations

import unicodedata

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def one_line(text: str) -> str:
    r"""Text for one line of a terminal: what is not printable is shown as `\n`, `\x1b`, `\u202e`."""
    return "".join(
        char
        if char.isprintable() or unicodedata.category(char) == "Zs"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def inert(text: str) -> str:
    """A label for a cell: one that begins like a formula, which a spreadsheet would run, gets a quote."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def inert_path(path: str) -> str:
    """A path for a cell: `./` keeps one from beginning like a formula, and still names the same file."""
    return f"./{path}" if path.startswith(FORMULA_STARTS) and path != "-" else path


def cell(label: str) -> str:
    r"""A label for a cell of a table that cannot quote: one line, inert, and `\"` where it begins with `"`.

    To a reader that knows quotes, that one would hold everything up to the next, over all lines between.
    """
    line = one_line(label)
    return rf"\{line}" if line.startswith('"') else inert(line)


def cell_path(path: str) -> str:
    """A path for such a cell; it still names the same file, unless it had to be escaped to be one line."""
    line = one_line(path)
    return f"./{line}" if line.startswith('"') else inert_path(line)
