"""The names of options are those that are written down, whatever version of Typer makes them."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from typer.models import CommandInfo, OptionInfo

from ast_cli.cli.app import app


@pytest.mark.parametrize(
    "command", app.registered_commands, ids=lambda one: one.callback.__name__ if one.callback else ""
)
def test_an_option_whose_placeholder_is_its_name_is_spelt_out(command: CommandInfo) -> None:
    """Typer 0.27 takes the spelling of such a placeholder: DEVICE makes --DEVICE."""
    assert command.callback is not None
    for name, hint in get_type_hints(command.callback, include_extras=True).items():
        for option in getattr(hint, "__metadata__", ()):
            if isinstance(option, OptionInfo) and option.metavar is not None:
                alike = option.metavar.lower().replace("_", "-") == name.replace("_", "-")
                spelt_out = option.default is not ...  # where Typer keeps the first argument until it is used
                assert spelt_out or not alike, f"{name}: write its name before {option.metavar}"
