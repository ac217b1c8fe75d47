"""The table of optional packages is what pyproject.toml declares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ast_cli.errors import EngineError
from ast_cli.extras import EXTRAS, require_extra

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def declared() -> dict[str, set[str]]:
    """Extra -> names of the packages that it brings, in small letters."""
    [table] = re.findall(
        r"^\[project\.optional-dependencies\]\n(.*?)^\[", PYPROJECT.read_text("utf-8"), re.M | re.S
    )
    return {
        extra: {name.lower() for name in re.findall(r'"([\w.-]+)', packages)}
        for extra, packages in re.findall(r"^(\w+) = \[(.*?)\]$", table, re.M | re.S)
    }


@pytest.mark.parametrize(
    ("extra", "package"),
    [(extra, package) for extra, brings in EXTRAS.items() for package in brings.values()],
)
def test_what_an_extra_is_said_to_bring_is_declared(extra: str, package: str) -> None:
    assert package.lower() in declared()[extra]


def test_every_extra_of_a_user_is_known() -> None:
    assert {*EXTRAS} == {*declared()} - {"test"}


def test_what_is_missing_is_named_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sklearn", "accelerate"):
        monkeypatch.setitem(sys.modules, module, None)
    require_extra("plot")
    with pytest.raises(
        EngineError, match=r"^scikit-learn is not installed\. pip install 'ast-cli\[train\]'$"
    ):
        require_extra("train", "sklearn")
    with pytest.raises(EngineError, match=r"^accelerate and scikit-learn are not installed"):
        require_extra("train")
