"""From plain values to a study: each arm a recipe with its arguments, beside arguments that all arms share."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tutelage.errors import unknown
from tutelage.lineage import Lineage
from tutelage.recipes import arguments, call, find
from tutelage.study import Study
from tutelage.user_code import data_only
from tutelage.validation import checked

Plain = Mapping[str, Any]
Result = TypeVar("Result")
OWN = ("arms", "seeds", "reference", "name", "watch_test", "meter")
"""What a study is told itself; every other word at its top is an argument of the arms."""
MAX_TOML = 2**16
"""Bytes of a study's file: hundreds of arms."""
_LONG_KEY = re.compile(rb"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){50}""")  # quadratic in tomllib


def study(
    arms: Sequence[str | Plain],
    *,
    seeds: Sequence[int] = (0,),
    reference: str | None = None,
    name: str | None = None,
    watch_test: bool = False,
    meter: bool = False,
    **shared: Any,
) -> Study:
    """Make a study of recipes: ``{"recipe": ..., "name": ..., argument: value, ...}`` for each arm.

    A recipe's name alone will do. ``shared`` arguments go to every arm whose recipe takes them and that does not say
    otherwise. An arm is named after its recipe; where two would have one name, after its arguments too.

    Errors: ``ValueError`` that begins with the path of the fault: a recipe, argument or reference that does not
    exist, with the nearest names, a value of the wrong type, or a shared argument that no arm takes.

    >>> made = study(["baseline", {"recipe": "label_smoothing", "smoothing": 0.2}], epochs=5, seeds=(0, 1))
    >>> [lineage.name for lineage in made.lineages], made.lineages[1].generations[0].schedule.epochs
    (['baseline', 'label_smoothing'], 5)
    >>> study([{"recipe": "label_smoothing", "smoothin": 0.2}])
    Traceback (most recent call last):
    ...
    ValueError: arms[0]: unknown argument of label_smoothing 'smoothin': did you mean smoothing or rotation?
    """
    entries = _entries(arms)
    recipes = [_at(f"arms[{place}]", _found, entry["recipe"]) for place, entry in enumerate(entries)]
    takers = [taken(recipe) for recipe in recipes]
    for option in shared:
        if not any(option in found for found in takers):
            raise unknown("word", option, {*OWN, *(name for found in takers for name in found)})
    lineages = []
    for place, (entry, recipe, known) in enumerate(zip(entries, recipes, takers, strict=True)):
        own = {option: value for option, value in entry.items() if option not in ("recipe", "name")}
        given = {option: value for option, value in shared.items() if option in known} | own
        for option, value in given.items():
            path = f"arms[{place}].{option}" if option in own else option
            if option in known:
                given[option] = checked(value, known[option], path)
        lineages.append(_at(f"arms[{place}]", call, recipe, **given))
    told = [[f"{k}={v}" for k, v in entry.items() if k not in ("recipe", "name")] for entry in entries]
    names = arm_names(
        [entry.get("name") for entry in entries],
        [lineage.name for lineage in lineages],
        [" ".join([lineage.name, *words]) for lineage, words in zip(lineages, told, strict=True)],
    )
    return Study(
        lineages=named(lineages, names),
        seeds=tuple(checked(list(seeds) if isinstance(seeds, range) else seeds, tuple[int, ...], "seeds")),
        reference=checked(reference, str | None, "reference"),
        title=checked(name, str | None, "name"),
        watch_test=checked(watch_test, bool, "watch_test"),
        meter=checked(meter, bool, "meter"),
    )


def read_study(path: Path, *, trust: bool = False) -> Study:
    """Read a study from a TOML file, which says what :func:`study` is told; every fault is named with its path.

    A file is data: without ``trust`` it may name the recipes, networks and methods of tutelage and of the libraries
    that it knows, and no code.

    Errors: ``ValueError`` with the file and the path in it; ``FileNotFoundError``.
    """
    import tomllib

    with path.open("rb") as file:
        text = file.read(MAX_TOML + 1)
    if len(text) > MAX_TOML:
        raise ValueError(f"{path} has more than the {MAX_TOML} bytes that a study needs")
    if _LONG_KEY.search(text):
        raise ValueError(f"{path}: a key has more than 50 parts")
    try:
        told = tomllib.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: its arrays are nested too deep") from None
    except ValueError as error:  # also a TOMLDecodeError, bytes that are not UTF-8, a number of 4300 digits
        raise ValueError(f"{path}: {error}") from None
    if "arms" not in told:
        raise ValueError(f"{path}: a study needs arms: write arms = [...] or [[arms]] tables, each with a recipe")
    with contextlib.nullcontext() if trust else data_only():
        return _at(str(path), study, **told)


def arm_names(given: Sequence[str | None], short: Sequence[str], long: Sequence[str]) -> list[str]:
    """The names of a study's arms: those given, else the short ones, else where two are equal the long ones.

    >>> arm_names([None, None, "b", None], ["a", "a", "a", "c"], ["a x=1", "a x=2", "a x=3", "c y=1"])
    ['a x=1', 'a x=2', 'b', 'c']
    """
    first = [name if name is not None else word for name, word in zip(given, short, strict=True)]
    return [
        more if name is None and first.count(word) > 1 else word
        for name, word, more in zip(given, first, long, strict=True)
    ]


def named(lineages: Sequence[Lineage], names: Sequence[str]) -> tuple[Lineage, ...]:
    """Lineages under the names of their arms; a name is no part of a model's address."""
    return tuple(replace(lineage, name=name) for lineage, name in zip(lineages, names, strict=True))


def taken(recipe: Callable[..., Lineage]) -> dict[str, Any]:
    """The arguments that a recipe can be told, flat, with their types.

    >>> taken(find("label_smoothing"))["smoothing"]
    <class 'float'>
    """
    takers = arguments(recipe)
    found: dict[str, Any] = {}
    for taker in takers.values():
        hints = get_type_hints(taker)
        names = (name for name in inspect.signature(taker).parameters if name not in takers)
        found |= {name: hints.get(name, Any) for name in names}
    return found


def _entries(arms: Any) -> list[Plain]:
    if not isinstance(arms, Sequence) or isinstance(arms, str):
        raise ValueError(f"arms: expected a list of arms, not {arms!r}")
    entries: list[Plain] = []
    for place, arm in enumerate(arms):
        entry = {"recipe": arm} if isinstance(arm, str) else arm
        if not isinstance(entry, Mapping) or "recipe" not in entry:
            raise ValueError(f"arms[{place}]: an arm is a recipe's name, or a table with a recipe in it, not {arm!r}")
        checked(entry.get("name"), str | None, f"arms[{place}].name")
        entries.append(entry)
    return entries


def _found(recipe: Any) -> Callable[..., Lineage]:
    """A recipe by name; from Python also the function itself."""
    if callable(recipe):
        return recipe  # type: ignore[no-any-return]  # a user's function: nothing is known of it
    return find(checked(recipe, str, "recipe"))


def _at(path: str, function: Callable[..., Result], /, *positional: Any, **given: Any) -> Result:
    """Call with the path of what is read put before whatever is wrong with it."""
    try:
        return function(*positional, **given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
