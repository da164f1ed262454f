"""Which experiments there are, found by walking this package: each file with a ``made`` is a paper's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from tutelage.errors import unknown

if TYPE_CHECKING:
    from tutelage.experiments.spec import Experiment, LeftOut


def experiments() -> dict[str, Experiment]:
    """Every experiment that tutelage can run, by name.

    >>> "tolerant/table-1/densenet-100" in experiments()
    True
    """
    from tutelage.experiments.spec import Experiment

    return {name: one for name, one in _all().items() if isinstance(one, Experiment)}


def left_out() -> dict[str, str]:
    """The experiments that tutelage cannot run, by name, each with what it would need.

    >>> left_out()["tolerant/table-2/resnet18"]
    'it needs the images of ILSVRC2012; tutelage has digits, cifar10 and cifar100'
    """
    from tutelage.experiments.spec import LeftOut

    return {name: one.reason for name, one in _all().items() if isinstance(one, LeftOut)}


def find(name: str) -> Experiment:
    """Find an experiment by name.

    Errors: ``ValueError`` with the nearest names, or with what an experiment would need that tutelage lacks.

    >>> find("tolerant/table-1/densenet-100").study.seeds
    (0,)
    >>> find("tolerant/table-1")
    Traceback (most recent call last):
    ...
    ValueError: tolerant/table-1 is no whole name: tolerant/table-1/densenet-100, tolerant/table-1/densenet-190
    """
    known = _all()
    if name not in known:
        start = name.rstrip("/") + "/"
        if below := _next(start, known):
            raise ValueError(f"{start[:-1]} is no whole name: {', '.join(below)}")
        near = get_close_matches(name, known, cutoff=0.5) or _next("", known)
        raise unknown("experiment", name, near, hint="a study's file ends in .toml")
    if name in left_out():
        raise ValueError(f"experiment {name!r} cannot be run: {left_out()[name]}")
    return experiments()[name]


def _next(start: str, names: Iterable[str]) -> list[str]:
    """How the names that begin so go on, up to the next slash."""
    below = (name for name in names if name.startswith(start))
    parts = (name[len(start) :].partition("/") for name in below)
    return list(dict.fromkeys(f"{start}{part}{'/...' if rest else ''}" for part, rest, _ in parts))


@cache
def _all() -> dict[str, Experiment | LeftOut]:
    found: dict[str, Experiment | LeftOut] = {}
    package = importlib.import_module("tutelage.experiments")
    for file in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{file.name}")
        made: Iterator[Experiment | LeftOut] = module.made() if hasattr(module, "made") else iter(())
        for one in made:
            assert one.name not in found, f"two experiments are named {one.name}"
            found[one.name] = one
    return found
