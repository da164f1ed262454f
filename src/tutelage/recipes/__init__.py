"""Runs as functions: each public function here that returns a ``Lineage`` is a recipe.

A recipe's arguments are the command's options; ``CommonOptions`` holds those that all recipes share, and
``Mixture`` those of the recipes with a teacher.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from tutelage.errors import unknown
from tutelage.lineage import Lineage
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.mixture import Mixture
from tutelage.serialization import functions_returning
from tutelage.user_code import load_function
from tutelage.validation import checked

__all__ = ["CommonOptions", "Mixture", "call", "find_recipe", "option_types", "parameter_owners", "recipes"]


def recipes() -> dict[str, Callable[..., Lineage]]:
    """Every recipe by name, from the modules of this package; there is no registry.

    >>> "tolerant" in recipes()
    True
    """
    return functions_returning(__name__, Lineage)


def find_recipe(name: str) -> Callable[..., Lineage]:
    """Find a recipe: one of ours by name, or the user's own as ``module:function`` or ``file.py:function``.

    Errors: ``ValueError`` with the nearest names.

    >>> find_recipe("tolerent")
    Traceback (most recent call last):
    ...
    ValueError: unknown recipe 'tolerent': did you mean tolerant?; path/to/mine.py:function works too
    """
    if ":" in name:
        return load_function(name)
    available = recipes()
    if name not in available:
        hint = "a TOML file is for tutelage study" if name.endswith(".toml") else "path/to/mine.py:function works too"
        raise unknown("recipe", name, available, hint=hint)
    return available[name]


def parameter_owners(recipe: Callable[..., Any]) -> dict[str | None, Callable[..., Any]]:
    """What takes a recipe's options: the recipe itself, under None, and the dataclasses among its arguments, by name.

    >>> parameter_owners(find_recipe("tolerant"))["options"].__name__
    'CommonOptions'
    """
    hints = {name: kind for name, kind in get_type_hints(recipe).items() if name != "return"}
    dataclass_arguments: dict[str | None, Callable[..., Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    return {None: recipe} | dataclass_arguments


def option_types(recipe: Callable[..., Lineage]) -> dict[str, Any]:
    """The options of a recipe with their types: its own arguments, and the fields of the dataclasses among them.

    >>> option_types(find_recipe("label_smoothing"))["smoothing"]
    <class 'float'>
    """
    owners = parameter_owners(recipe)
    types: dict[str, Any] = {}
    for owner in owners.values():
        hints = get_type_hints(owner)
        names = [name for name in inspect.signature(owner).parameters if name not in owners]
        types |= {name: hints.get(name, Any) for name in names}
    return types


def call(recipe: str | Callable[..., Lineage], **options: Any) -> Lineage:
    """Call a recipe with flat options, as the command does: its own arguments, and the fields of ``CommonOptions``.

    Errors: ``ValueError`` for an option that the recipe does not have, with the nearest names, for an argument that
    is missing, for a number that is not finite, and for a recipe that returns no lineage.

    >>> call("tolerant", model="resnet14", generations=1).generations[1].model
    'resnet14'
    >>> call("tolerant", primry=0.5)
    Traceback (most recent call last):
    ...
    ValueError: unknown argument of tolerant 'primry': did you mean primary?
    """
    function = find_recipe(recipe) if isinstance(recipe, str) else recipe
    name = function.__name__
    types = option_types(function)
    for option, value in options.items():
        _check_numbers(option, value)
        if option not in types:
            raise unknown(f"argument of {name}", option, types)
    arguments = _nested(function, options)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    lineage = function(**arguments)
    if not isinstance(lineage, Lineage):
        raise ValueError(f"the recipe {name} must return a Lineage, not {type(lineage).__name__}")
    return lineage


def _check_numbers(option: str, value: Any) -> None:
    """Refuse numbers that cannot be written down: those that are not finite, or have twenty digits."""
    for item in value if isinstance(value, tuple | list) else (value,):
        if isinstance(item, int | float) and not isinstance(item, bool):
            checked(item, float, option)


def _nested(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """A recipe's arguments from flat options: its own, and each dataclass made from those that are its fields."""
    owners = parameter_owners(function)
    arguments: dict[str, Any] = {}
    for argument, owner in owners.items():
        names = [name for name in inspect.signature(owner).parameters if name not in owners]
        values = {name: options.pop(name) for name in names if name in options}
        if argument is None:
            arguments |= values
        else:
            arguments[argument] = owner(**values)
    return arguments
