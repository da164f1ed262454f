"""Make a study from plain values: each arm a recipe with its options, beside options that all arms share."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tutelage import storage
from tutelage.errors import unknown
from tutelage.lineage import Lineage, TrainOptions
from tutelage.recipes import call, find_recipe, option_types
from tutelage.study import Study
from tutelage.user_code import data_only
from tutelage.validation import checked

ArmSpec = Mapping[str, Any]
"""An arm as plain values: ``recipe``, perhaps ``name``, and the recipe's options."""
Returned = TypeVar("Returned")
STUDY_KEYS = ("arms", "seeds", "reference", "name")
"""The keys of the study itself; every other key at its top is an option of the arms."""
TRAINING_KEYS = ("watch_test", "meter")
"""The keys of a study's file that are training options."""
MAX_TOML = 2**16
"""Bytes of a study's file: enough for hundreds of arms."""
_LONG_KEY = re.compile(rb"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){50}""")  # tomllib takes quadratic time for it


def study(
    arms: Sequence[str | ArmSpec],
    *,
    seeds: Sequence[int] = (0,),
    reference: str | None = None,
    name: str | None = None,
    **shared: Any,
) -> Study:
    """Make a study of arms ``{"recipe": ..., "name": ..., option: value, ...}``, or of the names of recipes.

    ``shared`` options go to every arm whose recipe has them and that does not set them itself. An arm is named after
    its recipe; where two arms would have the same name, after its options too.

    Errors: ``ValueError`` that begins with the path of the fault: a recipe, option or reference that does not exist,
    with the nearest names, a value of the wrong type, or a shared option that no arm has.

    >>> spec = study(["baseline", {"recipe": "label_smoothing", "smoothing": 0.2}], epochs=5, seeds=(0, 1))
    >>> [lineage.name for lineage in spec.lineages], spec.lineages[1].generations[0].schedule.epochs
    (['baseline', 'label_smoothing'], 5)
    >>> study([{"recipe": "label_smoothing", "smoothin": 0.2}])
    Traceback (most recent call last):
    ...
    ValueError: arms[0]: unknown argument of label_smoothing 'smoothin': did you mean smoothing or rotation?
    """
    specs = _arm_specs(arms)
    recipes = [_with_path(f"arms[{place}]", _recipe_function, spec["recipe"]) for place, spec in enumerate(specs)]
    types_by_arm = [option_types(recipe) for recipe in recipes]
    for option in shared:
        if not any(option in types for types in types_by_arm):
            raise unknown("key", option, {*STUDY_KEYS, *TRAINING_KEYS}.union(*types_by_arm))
    own_options = [_own_options(spec) for spec in specs]
    lineages = []
    for place, (recipe, types, own) in enumerate(zip(recipes, types_by_arm, own_options, strict=True)):
        options = {option: value for option, value in shared.items() if option in types} | own
        for option, value in options.items():
            path = f"arms[{place}].{option}" if option in own else option
            if option in types:
                options[option] = checked(value, types[option], path)
        lineages.append(_with_path(f"arms[{place}]", call, recipe, **options))
    long_names = [
        " ".join([lineage.name, *(f"{option}={value}" for option, value in own.items())])
        for lineage, own in zip(lineages, own_options, strict=True)
    ]
    names = arm_names([spec.get("name") for spec in specs], [lineage.name for lineage in lineages], long_names)
    return Study(
        lineages=rename_lineages(lineages, names),
        seeds=tuple(checked(list(seeds) if isinstance(seeds, range) else seeds, tuple[int, ...], "seeds")),
        reference=checked(reference, str | None, "reference"),
        title=checked(name, str | None, "name"),
    )


def read_study(path: Path, *, trust: bool = False) -> tuple[Study, TrainOptions]:
    """Read a study from a TOML file with the arguments of :func:`study`, and the training options in it.

    A file is data: without ``trust`` it may name the recipes, networks and methods of tutelage and of the libraries
    that tutelage knows, but no other code.

    Errors: ``ValueError`` with the file and the path in it; ``FileNotFoundError``.
    """
    with storage.open_regular(path) as file:
        text = file.read(MAX_TOML + 1)
    if len(text) > MAX_TOML:
        raise ValueError(f"{path} is larger than {MAX_TOML} bytes, the limit for a study")
    if _LONG_KEY.search(text):
        raise ValueError(f"{path}: a key has more than 50 parts")
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: its arrays are nested too deep") from None
    except ValueError as error:  # a TOMLDecodeError, bytes that are not UTF-8, or a number of 4300 digits
        raise ValueError(f"{path}: {error}") from None
    if "arms" not in document:
        raise ValueError(f"{path}: a study needs arms: write arms = [...] or [[arms]] tables, each with a recipe")
    training = {key: document.pop(key) for key in TRAINING_KEYS if key in document}
    with contextlib.nullcontext() if trust else data_only():
        return _with_path(str(path), study, **document), _with_path(str(path), _train_options, **training)


def arm_names(names: Sequence[str | None], short: Sequence[str], long: Sequence[str]) -> list[str]:
    """The names of a study's arms: ``names`` where there are any, else the short ones, or the long ones of equals.

    >>> arm_names([None, None, "b", None], ["a", "a", "a", "c"], ["a x=1", "a x=2", "a x=3", "c y=1"])
    ['a x=1', 'a x=2', 'b', 'c']
    """
    candidates = [name if name is not None else short_name for name, short_name in zip(names, short, strict=True)]
    return [
        long_name if name is None and candidates.count(candidate) > 1 else candidate
        for name, candidate, long_name in zip(names, candidates, long, strict=True)
    ]


def rename_lineages(lineages: Sequence[Lineage], names: Sequence[str]) -> tuple[Lineage, ...]:
    """Lineages under the names of their arms; a name is no part of a model's address."""
    return tuple(replace(lineage, name=name) for lineage, name in zip(lineages, names, strict=True))


def _train_options(**values: Any) -> TrainOptions:
    return TrainOptions(**{key: checked(value, bool, key) for key, value in values.items()})


def _arm_specs(arms: Any) -> list[ArmSpec]:
    if not isinstance(arms, Sequence) or isinstance(arms, str):
        raise ValueError(f"arms: expected a list of arms, not {arms!r}")
    specs: list[ArmSpec] = []
    for place, arm in enumerate(arms):
        spec = {"recipe": arm} if isinstance(arm, str) else arm
        if not isinstance(spec, Mapping) or "recipe" not in spec:
            raise ValueError(f"arms[{place}]: an arm is a recipe's name, or a table with a recipe in it, not {arm!r}")
        checked(spec.get("name"), str | None, f"arms[{place}].name")
        specs.append(spec)
    return specs


def _own_options(spec: ArmSpec) -> dict[str, Any]:
    """The options that an arm sets itself."""
    return {option: value for option, value in spec.items() if option not in ("recipe", "name")}


def _recipe_function(recipe: Any) -> Callable[..., Lineage]:
    """A recipe by name; from Python also the function itself."""
    if callable(recipe):
        return recipe  # type: ignore[no-any-return]  # a user's function: nothing is known of it
    return find_recipe(checked(recipe, str, "recipe"))


def _with_path(path: str, function: Callable[..., Returned], /, *positional: Any, **keywords: Any) -> Returned:
    """Call a function; a ``ValueError`` from it begins with the path of the value that is read."""
    try:
        return function(*positional, **keywords)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
