"""From a recipe's signature to the options of a command."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import App, Group, Parameter
from docstring_parser import parse

from tutelage.recipes import arguments, call

Command = Callable[[Any, Any], int]


def summary(function: Callable[..., Any]) -> str:
    """The first line of a docstring.

    >>> summary(summary)
    'The first line of a docstring.'
    """
    return parse(function.__doc__ or "").short_description or ""


def recipe_app(verb: str, name: str, recipe: Callable[..., Any], also: type, body: Command) -> App:
    """Build the command ``verb name``, whose options are the recipe's arguments and the fields of ``also``.

    ``body`` gets the lineage and the ``also`` value.
    """
    takers = arguments(recipe)
    options: dict[str, inspect.Parameter] = {}
    for taker, owner in takers.items():
        found = _parameters(owner, "Recipe options" if taker is None else "Common options")
        options |= {option: parameter for option, parameter in found.items() if option not in takers}
    extra = _parameters(also, f"{verb.capitalize()} options")
    parameters = [*options.values(), *extra.values()]

    def run(**given: Any) -> int:
        told = (
            also(**{option: given.pop(option) for option in extra if option in given}) if also is not None else None
        )
        return body(call(recipe, **given), told)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = summary(recipe)
    app = App(name=f"tutelage {verb} {name}", version_flags=[], help_on_error=False)
    app.default(run)
    return app


def _parameters(owner: Callable[..., Any], title: str) -> dict[str, inspect.Parameter]:
    """The arguments of a function or dataclass as keyword options, with the help of their docstring."""
    hints = get_type_hints(owner)
    helps = {item.arg_name: " ".join((item.description or "").split()) for item in parse(owner.__doc__ or "").params}
    found = {}
    for parameter in inspect.signature(owner).parameters.values():
        kind, several = _option_type(hints.get(parameter.name, str))
        default = parameter.default
        if several and default not in (None, parameter.empty) and not isinstance(default, tuple):
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
