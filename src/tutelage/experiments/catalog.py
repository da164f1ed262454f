"""The experiments by name, from the files of ``papers``: every one of them has a function ``experiments``."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from tutelage.errors import listing, unknown
from tutelage.serialization import submodules

if TYPE_CHECKING:
    from tutelage.experiments.spec import Experiment, Unavailable


def experiments() -> dict[str, Experiment]:
    """Every experiment that tutelage can run, by name.

    >>> "tolerant/table-1/densenet-100" in experiments()
    True
    """
    from tutelage.experiments.spec import Experiment

    return {name: entry for name, entry in _entries().items() if isinstance(entry, Experiment)}


def unavailable_experiments() -> dict[str, str]:
    """The experiments that tutelage cannot run, by name, each with the reason.

    >>> unavailable_experiments()["tolerant/table-2/resnet18"]
    'it needs the images of ILSVRC2012; experiments use digits, cifar10 and cifar100'
    """
    from tutelage.experiments.spec import Unavailable

    return {name: entry.reason for name, entry in _entries().items() if isinstance(entry, Unavailable)}


def find_experiment(name: str) -> Experiment:
    """Find an experiment by name.

    Errors: ``ValueError`` with the nearest names, or with the reason why the experiment cannot be run.

    >>> find_experiment("tolerant/table-1/densenet-100").study.seeds
    (0,)
    >>> find_experiment("tolerant/table-1")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: experiment 'tolerant/table-1' is incomplete: choose from tolerant/table-1/densenet-100, ...
    """
    entries = _entries()
    if name not in entries:
        prefix = name.rstrip("/") + "/"
        if completions := _next_parts(prefix, entries):
            raise ValueError(f"experiment {prefix[:-1]!r} is incomplete: choose from {listing(completions)}")
        nearest = get_close_matches(name, entries, cutoff=0.5) or _next_parts("", entries)
        raise unknown("experiment", name, nearest, hint="a study's file ends in .toml")
    if name in unavailable_experiments():
        raise ValueError(f"experiment {name!r} cannot be run: {unavailable_experiments()[name]}")
    return experiments()[name]


def _next_parts(prefix: str, names: Iterable[str]) -> list[str]:
    """The names that begin with ``prefix``, each cut at the next slash."""
    rests = (name[len(prefix) :].partition("/") for name in names if name.startswith(prefix))
    return list(dict.fromkeys(f"{prefix}{part}{'/...' if rest else ''}" for part, rest, _ in rests))


@cache
def _entries() -> dict[str, Experiment | Unavailable]:
    """Everything that the papers' files list, by name."""
    entries: dict[str, Experiment | Unavailable] = {}
    for paper in submodules("tutelage.experiments.papers"):
        for entry in paper.experiments():
            assert entry.name not in entries, f"two experiments are named {entry.name}"
            entries[entry.name] = entry
    return entries
