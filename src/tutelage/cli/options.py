"""From a recipe's signature to the options of a command."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import App, Group, Parameter
from docstring_parser import parse

Command = Callable[[Any, Any], int]


def summary(function: Callable[..., Any]) -> str:
    """The first line of a docstring.

    >>> summary(summary)
    'The first line of a docstring.'
    """
    return parse(function.__doc__ or "").short_description or ""


def recipe_app(verb: str, name: str, recipe: Callable[..., Any], also: type | None, body: Command) -> App:
    """Build the command ``verb name``, whose options are the recipe's arguments and the fields of ``also``.

    A dataclass among the recipe's arguments gives its fields. ``body`` gets the lineage and the ``also`` value.
    """
    groups: dict[str, tuple[type | None, dict[str, inspect.Parameter]]] = {}
    own = _parameters(recipe, "Recipe options")
    hints = get_type_hints(recipe)
    groups[""] = (None, {})
    for parameter in inspect.signature(recipe).parameters.values():
        kind = hints.get(parameter.name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            groups[parameter.name] = (kind, _parameters(kind, "Common options"))
        else:
            groups[""][1][parameter.name] = own[parameter.name]
    if also is not None:
        groups["*"] = (also, _parameters(also, "Run options"))
    owners = {option: group for group, (_, options) in groups.items() for option in options}
    parameters = [parameter for _, options in groups.values() for parameter in options.values()]

    def call(**given: Any) -> int:
        told: dict[str, dict[str, Any]] = {group: {} for group in groups}
        for option, value in given.items():
            told[owners[option]][option] = value
        extra = also(**told.pop("*")) if also is not None else None
        arguments = {group: kind(**told.pop(group)) for group, (kind, _) in groups.items() if kind and group in told}
        return body(recipe(**arguments, **told[""]), extra)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = parse(recipe.__doc__ or "").short_description
    app = App(name=f"tutelage {verb} {name}", version_flags=[], help_on_error=False)
    app.default(call)
    return app


def _parameters(owner: Callable[..., Any], title: str) -> dict[str, inspect.Parameter]:
    """The arguments of a function or dataclass as keyword options, with the help of their docstring."""
    hints = get_type_hints(owner)
    helps = {item.arg_name: " ".join((item.description or "").split()) for item in parse(owner.__doc__ or "").params}
    found = {}
    for parameter in inspect.signature(owner).parameters.values():
        kind, several = _option_type(hints.get(parameter.name, str))
        default = parameter.default
        if several and default is not parameter.empty and not isinstance(default, tuple):
            default = (default,)
        marked = Parameter(
            help=helps.get(parameter.name, "").replace("`", ""),
            group=Group(title, sort_key=0 if title.startswith("Recipe") else 1 if title.startswith("Common") else 2),
            consume_multiple=several,
            negative=(),
            show_default=False if default is None else _shown,
        )
        found[parameter.name] = parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, marked], default=default
        )
    return found


def _option_type(hint: Any) -> tuple[Any, bool]:
    """The type an option is read as: ``float | tuple[float, ...]`` is read as one or several numbers."""
    choices = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for choice in choices:
        if get_origin(choice) is tuple:
            return choice, True
    return hint, False


def _shown(default: Any) -> str:
    """A default as it would be typed."""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
