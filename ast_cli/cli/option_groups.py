"""Options declared once, in groups: a command takes the records, and Typer the options that they consist of.

@dataclass(frozen=True)
class LabelOptions:
top_k: Annotated[int, typer.Option("--top-k", "-k", help="Labels per file.")] = 5

@grouped
def tag(labels: LabelOptions, messages: Annotated[MessageOptions, without("verbose")]) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo


@dataclass(frozen=True)
class Without:
    """Fields of a group that a command has no option for: they keep their defaults."""

    names: tuple[str, ...]


def without(*names: str) -> Without:
    """Beside a group, in the signature of a command: leave these fields out."""
    return Without(names)


@dataclass(frozen=True)
class After:
    """The help shows this option right after the one of that parameter, which may be of another group."""

    name: str


@dataclass(frozen=True)
class Options:
    """The options of a settings class, which has names, types and defaults but knows no command line."""

    of: Mapping[str, OptionInfo]
    after: Mapping[str, After] = field(default_factory=dict)


def option(default: Any, help: str, *names: str, after: str = "", **more: Any) -> Any:  # noqa: A002
    """A field of a group, as an option.

    Args:
        default: ... where there is none; a list is copied.
        help: What the option is for.
        *names: Its spellings, where there are others than the field's name.
        after: See `After`.
        **more: See `typer.Option`; its panel, unless named, is the `PANEL` of the group.
    """
    metadata = {"option": (names, {"help": help, **more}, After(after) if after else None)}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=MISSING if default is ... else default, metadata=metadata)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups of options, each a dataclass, Typer sees as their fields, one option each."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    options: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind, *marks = get_args(hints[parameter.name]) or [hints[parameter.name]]
        if isinstance(kind, type) and is_dataclass(kind):
            of_group = [*_options(kind, marks)]
            groups[parameter.name] = (kind, [one.name for one in of_group])
            options += of_group
        else:
            options.append(_keyword(parameter.name, parameter.default, hints[parameter.name]))
    for one in [*options]:
        for mark in (mark for mark in getattr(one.annotation, "__metadata__", ()) if isinstance(mark, After)):
            options.remove(one)
            place = [other.name for other in options].index(mark.name)
            options.insert(place + 1, one)

    @wraps(command)
    def with_groups(**given: Any) -> None:
        for name, (group, names) in groups.items():
            given[name] = group(**{one: given.pop(one) for one in names})
        command(**given)

    with_groups.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {one.name: one.annotation for one in options}
    return with_groups


def _options(group: type, marks: list[Any]) -> Iterator[inspect.Parameter]:
    """A parameter for each field of a group that has an option."""
    hints, known = get_type_hints(group, include_extras=True), {one.name: one for one in fields(group)}
    beside = next((mark for mark in marks if isinstance(mark, Options)), None)
    left_out = [name for mark in marks if isinstance(mark, Without) for name in mark.names]
    for name in known if beside is None else beside.of:
        if name in left_out:
            continue
        one, hint = known[name], hints[name]
        if beside is not None:
            hint = Annotated[(hint, beside.of[name], beside.after.get(name))]
        elif "option" in one.metadata:
            names, more, after = one.metadata["option"]
            if not any(spelling.startswith("--") for spelling in names):
                names = (f"--{name.rstrip('_').replace('_', '-')}", *names)
            more = {"rich_help_panel": group.PANEL} | more  # type: ignore[attr-defined]
            hint = Annotated[(hint, typer.Option(*names, **more), after)]
        default = one.default if one.default_factory is MISSING else one.default_factory()
        yield _keyword(name, inspect.Parameter.empty if default is MISSING else default, hint)


def _keyword(name: str, default: Any, kind: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
