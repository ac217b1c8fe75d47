"""What Typer finds wrong with a command line, said as every other error is: cause and remedy in one line.

The cause is the name of the option and what Typer says of it, in the words of its version.
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
    words = [*arguments[: arguments.index("--")]] if "--" in arguments else [*arguments]
    cause, remedy = _cause_and_remedy(error, context, words)
    for name in words:
        if name.startswith("-") and name != "-" and name not in cause and os.path.lexists(name):
            return UsageError(f"{cause}, and {name} is a file that begins like an option", f"Say ./{name}")
    return UsageError(cause, remedy)


def _cause_and_remedy(error: Any, context: Any, words: Sequence[str]) -> tuple[str, str]:
    see = f"See `{error.ctx.command_path if error.ctx else f'ast-tag {words[0]}'} --help`"
    name = getattr(error, "option_name", "")
    if type(error).__name__ == "NoSuchOption":
        command = error.ctx.command if error.ctx else context.command.get_command(context, words[0])
        known = [option for one in command.params for option in one.opts if option.startswith("--")]
        # Of several letters behind one dash, each is an option, and the first that is none is named.
        whole = next((word for word in words if word.startswith(name)), name)
        if "." in whole:
            return f"there is no option {whole}", f"A file of this name is ./{whole}"
        return f"there is no option {name}", did_you_mean(name, known) or see
    option = getattr(error, "param", None)
    if option is None:  # such as an option without its value, or an unknown subcommand
        return error.format_message().rstrip("."), see
    name = next((one for one in option.opts if one.startswith("--")), option.metavar or option.opts[0])
    if not error.message:
        return f"{name} is missing", f"Add {name} {option.metavar}" if name.startswith("--") else see
    # Of a choice, the message quotes what was given and then all that there are.
    given, *choices = re.findall("'([^']*)'", error.message) or [""]
    reason = error.message.removeprefix("Value error, ").rstrip(".")
    return f"{name}: {reason}", did_you_mean(given, choices) or see
