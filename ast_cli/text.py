"""Text for people: names and labels made harmless for where they are shown, times, counts, and typos."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

# What Windows takes for a device, whatever follows its first dot.
RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# All but tab and line ends, which CSV and TSV quote, so that a program that reads one has them as they are.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SHOWN_CONTROLS = re.compile(r"(?:\\x(?:0[0-8bcef]|1[0-9a-f]|7f|c2\\x[89][0-9a-f]))+")


def color_system() -> Literal["auto"] | None:
    """For a console of rich, which with NO_COLOR leaves colors away, but neither bold nor dim."""
    return None if os.environ.get("NO_COLOR") else "auto"


def one_line(text: str) -> str:
    r"""Text for one line of a terminal: what is not printable is shown as `\n`, `\x1b`, `\u202e`."""
    return "".join(
        char
        if char.isprintable() or unicodedata.category(char) == "Zs"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def without_controls(text: str) -> str:
    r"""Text for a cell that CSV or TSV may quote, with what a terminal would obey as `\x1b` or `\xc2\x9b`.

    These are its bytes, as `results.display_name` shows those that are not UTF-8.
    """
    return CONTROLS.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), text)


def with_controls(cell: str) -> str:
    """The text that `without_controls` shows so; one that holds such an escape itself cannot be told."""
    return SHOWN_CONTROLS.sub(lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode(), cell)


def inert(text: str) -> str:
    """A label for a cell: one that begins like a formula, which a spreadsheet would run, gets a quote."""
    text = without_controls(text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def inert_path(path: str) -> str:
    """A path for a cell: `./` keeps one from beginning like a formula, and still names the same file.

    What a terminal would obey is escaped: `with_controls` gives it back.
    """
    path = without_controls(path)
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


def shorten(text: str, most: int) -> str:
    """A text of at most so many characters, the last of which is `…` where it was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def first_line(error: BaseException) -> str:
    """What an exception says, without the lines that follow; its kind if it says nothing.

    Of one of the system, it is the reason alone, without number and file.
    """
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def counted(count: int, what: str) -> str:
    """`1 event`, `2,000 events`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def clock(seconds: float) -> str:
    """A time in a recording, to a tenth of a second: `9.3 s`, `2:05.0` or `1:02:05.0`."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest / 10:04.1f}"
    return f"{minutes}:{rest / 10:04.1f}" if minutes else f"{rest / 10:.1f} s"


def duration(seconds: float) -> str:
    """A length of time in whole seconds: `0:07`, `12:30`, `5:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def did_you_mean(word: str, known: Sequence[str], limit: int = 3) -> str:
    """`Did you mean A or B?` for the entries of `known` closest to `word`; empty if none is close.

    A word of a longer entry counts too: `voilin` is close to `Violin, fiddle`.
    """
    by_key: dict[str, str] = {}
    for name in known:
        words = re.findall(r"\w{4,}", name) if " " in name else []
        for key in (name, *words):
            by_key.setdefault(key.casefold(), name)
    close = difflib.get_close_matches(word.casefold(), by_key, n=2 * limit, cutoff=0.6)
    names = list(dict.fromkeys(by_key[key] for key in close))[:limit]
    return f"Did you mean {' or '.join(names)}?" if names else ""
