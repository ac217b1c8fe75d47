"""What Typer finds wrong with a command line, said as every other error is: cause and remedy in one line.

Versions of Typer word their messages differently, and some bring the exceptions of click under names of their
own: what is said is taken from the option itself wherever it tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import typer

from ast_cli.errors import UsageError
from ast_cli.text import did_you_mean

# The base of all that Typer raises of a command line; only this one it always exports.
TYPER_ERROR: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError"
)
OUT_OF_RANGE = re.compile("greater than|less than|not in the range")
CHOICES = re.compile("is not one of (.+)")


def said_as_ours(error: Any, context: Any, arguments: Sequence[str]) -> Exception:
    """The error to be raised instead of one of Typer's.

    Args:
        error: One of `TYPER_ERROR`.
        context: Typer's own, of the group of all commands.
        arguments: The whole command line; it begins with the name of a command.

    Returns:
        A UsageError; or the same error where it is no mistake but the help that was asked for.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        return error  # type: ignore[no-any-return]
    options = [*arguments[: arguments.index("--")]] if "--" in arguments else arguments
    cause, remedy = _cause_and_remedy(error, context, options)
    for name in options:
        if name.startswith("-") and name != "-" and name not in cause and os.path.lexists(name):
            return UsageError(f"{cause}, and {name} is a file that begins like an option", f"Say ./{name}")
    return UsageError(cause, remedy)


def _cause_and_remedy(error: Any, context: Any, arguments: Sequence[str]) -> tuple[str, str]:
    command = context.command.get_command(context, arguments[0]) if error.ctx is None else error.ctx.command
    see = f"See `{_called(error.ctx) or f'ast-tag {arguments[0]}'} --help`"
    kind, given = type(error).__name__, getattr(error, "option_name", "")
    if kind == "NoSuchOption":
        known = [name for one in command.params for name in one.opts if name.startswith("--")]
        # Of several letters behind one dash, each is an option, and the first that is none is named.
        whole = next((one for one in arguments if one.startswith(given)), given)
        if "." in whole:
            return f"there is no option {whole}", f"A file of this name is ./{whole}"
        return f"there is no option {given}", did_you_mean(given, known) or see
    if kind == "BadOptionUsage":
        if "not take" in error.message:
            return f"{given} takes no value", f"Say {given} alone"
        return f"{given} needs a value", see
    option = getattr(error, "param", None)
    if option is None:  # such as an unknown subcommand
        return _without_stop(error.message), see
    name = next((one for one in option.opts if one.startswith("--")), option.metavar or option.opts[0])
    if kind == "MissingParameter":
        return f"{name} is missing", f"Add {name} {option.metavar}" if name.startswith("--") else see
    return _bad_value(name, option, error, see)


def _bad_value(name: str, option: Any, error: Any, see: str) -> tuple[str, str]:
    """What is wrong with the value of an option, which the message alone tells."""
    message = str(error.message)
    shown = f"{name} {_value(error)}".rstrip()
    if choices := CHOICES.search(message):
        names = ", ".join(re.findall("'([^']*)'", choices[1]))
        return f"{shown} is no choice", f"Choose one of {names}"
    if OUT_OF_RANGE.search(message):
        return f"{shown} is out of range", f"Give a number {_range(option)}"
    if "integer" in message:
        return f"{shown} is no whole number", f"Give one {_range(option)}".rstrip()
    if re.search("valid (number|float)", message):
        return f"{shown} is no number", "Give one of seconds" if option.metavar == "SECONDS" else see
    return f"{name}: {_without_stop(message)}", see


def _value(error: Any) -> str:
    """What was given, where the error tells."""
    try:
        return str(error.__cause__.errors()[0]["input"])
    except (AttributeError, LookupError, TypeError):  # an older Typer, whose message begins with it
        quoted = re.match("'?([^' ]+)'? is", str(error.message))
        return quoted[1] if quoted else ""


def _range(option: Any) -> str:
    of_type = getattr(option, "type", None)  # an older Typer has the bounds there
    least, most = (getattr(option, bound, getattr(of_type, bound, None)) for bound in ("min", "max"))
    from_ = "" if least is None else f"from {least:,}"
    return from_ if most is None else f"{from_} to {most:,}"


def _called(context: Any) -> str:
    """The command of a context, as it is called; empty for that of all."""
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(["ast-tag", *names]) if names else ""


def _without_stop(message: str) -> str:
    text = message.rstrip(".")
    return text[:1].lower() + text[1:]
