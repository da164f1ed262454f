"""From the signatures of recipes and dataclasses to the options of a command."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cyclopts import App, Group, Parameter
from docstring_parser import parse

from tutelage.cli.exit_codes import DONE

if TYPE_CHECKING:
    from tutelage.lineage import Lineage

Own = TypeVar("Own")
Value = TypeVar("Value")


def summary(function: Callable[..., Any]) -> str:
    """The first line of a docstring.

    >>> summary(summary)
    'The first line of a docstring.'
    """
    return parse(function.__doc__ or "").short_description or ""


def options_app(
    name: str,
    about: str,
    owners: Sequence[tuple[str, Callable[..., Any]]],
    body: Callable[..., Any],
    positional: Sequence[inspect.Parameter] = (),
) -> App:
    """Build a command whose options are the arguments of several functions or dataclasses, each under a title.

    ``body`` takes the values of the request by name, without those that are left at their defaults.

    Errors: ``ValueError`` for two options of one name.
    """
    groups = {title: Group(title, sort_key=place) for place, title in enumerate(dict.fromkeys(t for t, _ in owners))}
    parameters = {parameter.name: parameter for parameter in positional}
    for title, owner in owners:
        for option, parameter in _parameters(owner, groups[title]).items():
            if option in parameters:
                raise ValueError(f"{name} has two options --{option.replace('_', '-')}: rename the recipe's argument")
            parameters[option] = parameter

    def run(*arguments: Any, **options: Any) -> Any:
        named = dict(zip((parameter.name for parameter in positional), arguments, strict=False))
        return body(**named, **options)

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]  # read by cyclopts
    run.__annotations__ = {option: parameter.annotation for option, parameter in parameters.items()}
    run.__doc__ = about
    app = App(name=name, version_flags=[], help_on_error=False)
    app.default(run)
    return app


def take(owner: Callable[..., Value], options: dict[str, Any]) -> Value:
    """Make a dataclass of those options that are its fields, and remove them from the others."""
    names = inspect.signature(owner).parameters
    return owner(**{name: options.pop(name) for name in names if name in options})


def recipe_app(
    verb: str,
    name: str,
    recipe: Callable[..., Lineage],
    own: Callable[..., Own],
    body: Callable[[dict[str, Any], Own], int],
) -> App:
    """Build the command ``verb name``, whose options are those of the recipe and the fields of the dataclass ``own``.

    ``body`` takes the recipe's options and the ``own`` value.

    Errors: ``ValueError`` for two options of one name.
    """

    def run(**options: Any) -> int:
        own_value = take(own, options)
        return body(options, own_value)

    owners = [*_recipe_owners(recipe), (f"{verb.capitalize()} options", own)]
    return options_app(f"tutelage {verb} {name}", summary(recipe), owners, run)


def recipe_lineage(name: str, recipe: Callable[..., Lineage], tokens: list[str]) -> Lineage:
    """Call a recipe with the options in some tokens."""
    from tutelage.recipes import call

    app = options_app(name, summary(recipe), _recipe_owners(recipe), partial(call, recipe))
    lineage: Lineage = run_app(app, tokens)
    return lineage


def recipes_app(verb: str, about: str, own: Callable[..., Any]) -> App:
    """Build the help of a command that takes a recipe: the recipes, the options of all of them, and its own."""
    from tutelage.recipes import CommonOptions, recipes

    owners = [("Common options", CommonOptions), (f"{verb.capitalize()} options", own)]
    app = options_app(f"tutelage {verb}", about, owners, lambda **options: 0)
    app.usage = f"Usage: tutelage {verb} RECIPE [OPTIONS]\n       tutelage {verb} RECIPE --help"
    group = Group("Recipes", sort_key=-1)
    for name, recipe in recipes().items():
        app.command(App(name=name, help=summary(recipe), group=group, help_flags=[], version_flags=[]))
    return app


def exit_code(app: App, tokens: list[str]) -> int:
    """Run a command; returns its exit code, which is 0 where it only printed its help."""
    code = run_app(app, tokens)
    return code if isinstance(code, int) else DONE


def run_app(app: App, tokens: list[str]) -> Any:
    """Run a command; returns what its function returned, None where it only printed its help.

    Errors: ``CycloptsError`` for tokens that are not its options.
    """
    from rich.console import Console

    # The app would share one console among its calls, and rich silences a console for good once its reader has left.
    return app(tokens, console=Console(), exit_on_error=False, print_error=False, result_action="return_value")


def _recipe_owners(recipe: Callable[..., Any]) -> list[tuple[str, Callable[..., Any]]]:
    """What takes the options of a recipe, each with the title of its options."""
    from tutelage.recipes import parameter_owners

    titles = {None: "Recipe options", "options": "Common options"}
    owners = parameter_owners(recipe).items()
    return [(titles.get(argument) or f"Options of the {argument}", owner) for argument, owner in owners]


def _parameters(owner: Callable[..., Any], group: Group) -> dict[str, inspect.Parameter]:
    """The arguments of a function or dataclass as keyword options, with the help of their docstring or annotation.

    An argument that is a dataclass itself has an owner of its own.
    """
    hints = get_type_hints(owner, include_extras=True)
    helps = {item.arg_name: " ".join((item.description or "").split()) for item in parse(owner.__doc__ or "").params}
    parameters = {}
    for parameter in inspect.signature(owner).parameters.values():
        hint, *extras = _unwrapped(hints.get(parameter.name, str))
        if dataclasses.is_dataclass(hint):
            continue
        kind, several = _option_type(hint)
        default = parameter.default
        if several and default not in (None, parameter.empty) and not isinstance(default, tuple):
            default = (default,)
        option = Parameter(
            help=helps.get(parameter.name, "").replace("`", ""),
            group=group,
            consume_multiple=several,
            # A switch that is off by default needs no opposite; one that the data decides does.
            negative=f"--no-{parameter.name.replace('_', '-')}" if kind == bool | None else (),
            show_default=False if default is None or default is False or default == () else _default_text,
        )
        parameters[parameter.name] = parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option, *extras], default=default
        )
    return parameters


def _unwrapped(hint: Any) -> tuple[Any, ...]:
    """A type, and what it is annotated with."""
    return get_args(hint) if get_origin(hint) is Annotated else (hint,)


def _option_type(hint: Any) -> tuple[Any, bool]:
    """The type an option is read as: ``float | tuple[float, ...]`` is read as one or several numbers."""
    choices = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for choice in choices:
        if get_origin(choice) is tuple:
            return choice, True
    return hint, False


def _default_text(default: Any) -> str:
    """A default as it would be typed."""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
