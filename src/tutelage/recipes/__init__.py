"""Runs as functions: each public function here that returns a ``Lineage`` is a recipe.

A recipe's arguments are the command's options; ``CommonOptions`` holds those that all of them share.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from tutelage.errors import unknown
from tutelage.lineage import Lineage
from tutelage.recipes.common_options import CommonOptions
from tutelage.serialization import functions_returning
from tutelage.user_code import load_function
from tutelage.validation import checked

__all__ = ["CommonOptions", "arguments", "call", "find", "recipes"]


def recipes() -> dict[str, Callable[..., Lineage]]:
    """Every recipe by name, found by walking this package; there is no registry.

    >>> "tolerant" in recipes()
    True
    """
    return functions_returning(__name__, Lineage)


def find(name: str) -> Callable[..., Lineage]:
    """Find a recipe: one of ours by name, or a user's as ``module:function`` or ``file.py:function``.

    Errors: ``ValueError`` with the nearest names.

    >>> find("tolerent")
    Traceback (most recent call last):
    ...
    ValueError: unknown recipe 'tolerent': did you mean tolerant?; path/to/mine.py:function works too
    """
    if ":" in name:
        return load_function(name)
    known = recipes()
    if name not in known:
        hint = "a TOML file is for tutelage study" if name.endswith(".toml") else "path/to/mine.py:function works too"
        raise unknown("recipe", name, known, hint=hint)
    return known[name]


def arguments(recipe: Callable[..., Any]) -> dict[str | None, Callable[..., Any]]:
    """Who takes a recipe's arguments: itself (under None), and each frozen dataclass among them, by its name.

    >>> arguments(find("tolerant"))["setting"].__name__
    'CommonOptions'
    """
    hints = {name: kind for name, kind in get_type_hints(recipe).items() if name != "return"}
    values: dict[str | None, Callable[..., Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    return {None: recipe} | values


def call(recipe: str | Callable[..., Lineage], **given: Any) -> Lineage:
    """Call a recipe with flat arguments, as the command does: those of its ``CommonOptions`` stand beside its own.

    Errors: ``ValueError`` for an argument that nobody takes, with the nearest names, one that is missing, a number
    that is not finite, and a recipe that returns no lineage.

    >>> call("tolerant", model="resnet14", generations=1).generations[1].model
    'resnet14'
    >>> call("tolerant", primry=0.5)
    Traceback (most recent call last):
    ...
    ValueError: unknown argument of tolerant 'primry': did you mean primary?
    """
    function = find(recipe) if isinstance(recipe, str) else recipe
    takers = arguments(function)
    own: dict[str, Any] = {}
    known: list[str] = []
    for option, value in given.items():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, int | float) and not isinstance(item, bool):
                checked(item, float, option)  # what is not finite, or has twenty digits, cannot be written down
    for name, taker in takers.items():
        names = [option for option in inspect.signature(taker).parameters if option not in takers]
        known += names
        told = {option: given.pop(option) for option in names if option in given}
        if name is None:
            own |= told
        else:
            own[name] = taker(**told)
    for option in given:
        raise unknown(f"argument of {function.__name__}", option, known)
    try:
        inspect.signature(function).bind(**own)
    except TypeError as error:
        raise ValueError(f"{function.__name__}: {error}") from None
    lineage = function(**own)
    if not isinstance(lineage, Lineage):
        raise ValueError(f"the recipe {function.__name__} must return a Lineage, not {type(lineage).__name__}")
    return lineage
