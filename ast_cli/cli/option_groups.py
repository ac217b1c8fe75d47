"""Options declared once, in groups: a command takes the records, and Typer the options that they consist of.

@dataclass(frozen=True)
class LabelOptions:
    PANEL: ClassVar[str] = "Labels"
    top_k: int = option(5, "Labels per file.", "-k")

@grouped
def tag(*, labels: LabelOptions, messages: Annotated[MessageOptions, without("verbose")]) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typing_extensions import dataclass_transform

Group = TypeVar("Group")


@dataclass(frozen=True)
class Chosen:
    """Fields of a group that a command has options for, or has none for: these keep their defaults."""

    names: tuple[str, ...]
    shown: bool


def only(*names: str) -> Chosen:
    """Beside a group, in the signature of a command: of its fields only these."""
    return Chosen(names, shown=True)


def without(*names: str) -> Chosen:
    """Beside a group, in the signature of a command: all of its fields but these."""
    return Chosen(names, shown=False)


@dataclass(frozen=True)
class After:
    """The help shows this option right after the one of that parameter, which may be of another group."""

    name: str


class Options:
    """The options of a settings class, which has names, types and defaults but knows no command line."""

    def __init__(self, panel: str, **of: Any) -> None:
        self.panel = panel
        self.of = of


def option(default: Any, help: str, *names: str, after: str = "", **more: Any) -> Any:  # noqa: A002
    """An option: a field of a group, or a parameter of a command.

    Args:
        default: ... where there is none; a list is copied.
        help: What the option is for.
        *names: Its spellings, where there are others than the field's name.
        after: See `After`.
        **more: See `typer.Option`; `panel` is its panel in the help, by default that of the group.
    """
    made = {"kind": typer.Option, "names": names, "more": {"help": help} | more, "after": after}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=made)
    return field(default=MISSING if default is ... else default, metadata=made)


def argument(default: Any, help: str, **more: Any) -> Any:  # noqa: A002
    """The same for an argument: see `typer.Argument`."""
    made = option(default, help, **more)
    made.metadata = {**made.metadata, "kind": typer.Argument}
    return made


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, field))
def option_group(panel: str) -> Callable[[type[Group]], type[Group]]:
    """A class whose fields are options becomes a frozen dataclass; the help shows them in this panel."""

    def made(group: type[Group]) -> type[Group]:
        group = dataclass(frozen=True, kw_only=True)(group)
        group.PANEL = panel  # type: ignore[attr-defined]
        return group

    return made


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose groups of options, each a dataclass, Typer sees as their fields, one option each."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    options: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind, *marks = get_args(hints[name]) or [hints[name]]
        if isinstance(kind, type) and is_dataclass(kind):
            of_group = [*_options(kind, marks)]
            groups[name] = (kind, [one.name for one in of_group])
            options += of_group
        elif isinstance(parameter.default, Field):
            options.append(_option(name, hints[name], parameter.default))
        else:
            options.append(_keyword(name, hints[name], parameter.default))
    for one in [*options]:
        for mark in getattr(one.annotation, "__metadata__", ()):
            if isinstance(mark, After):
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
    chosen = next((mark for mark in marks if isinstance(mark, Chosen)), without())
    for name in known if beside is None else beside.of:
        one = known[name]
        if beside is not None:
            yield _option(name, hints[name], beside.of[name], beside.panel, one.default)
        elif (name in chosen.names) is chosen.shown:
            if one.metadata:
                yield _option(name, hints[name], one, group.PANEL)  # type: ignore[attr-defined]
            else:
                yield _keyword(name, hints[name], one.default)


def _option(
    name: str, hint: Any, one: Field[Any], panel: str | None = None, default: Any = None
) -> inspect.Parameter:
    names, more = one.metadata["names"], {**one.metadata["more"]}
    is_option = one.metadata["kind"] is typer.Option
    if is_option and not any(spelling.startswith("--") for spelling in names):
        names = (f"--{name.rstrip('_').replace('_', '-')}", *names)
    more["rich_help_panel"] = more.pop("panel", panel if is_option else None)
    after = [After(one.metadata["after"])] if one.metadata["after"] else []
    if default is None:
        default = one.default if one.default_factory is MISSING else one.default_factory()
    return _keyword(name, Annotated[(hint, one.metadata["kind"](*names, **more), *after)], default)


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
