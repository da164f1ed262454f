"""Read JSON and check the types of plain values, which may come from a stranger."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from tutelage.errors import printable

MAX_DEPTH = 100
"""How deep JSON may be nested; what tutelage writes itself is nested some twenty deep."""


def parse_json(text: str | bytes, where: str) -> Any:
    r"""Read JSON that may have been changed since it was written, or come from a stranger; ``where`` names it.

    Errors: ``ValueError`` for what is no JSON, nests deeper than 100, says one key twice, or holds a number that is
    not finite or has more than 4300 digits.

    >>> parse_json('{"lr": 0.1}', "a.json")
    {'lr': 0.1}
    >>> parse_json('{"lr": 0.1, "lr": 0.2}', "a.json")
    Traceback (most recent call last):
    ...
    ValueError: a.json cannot be read as JSON: it says 'lr' twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
        too_deep = _deeper(value, MAX_DEPTH)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        raise ValueError(f"{where} cannot be read as JSON: {printable(str(error))}") from None
    if too_deep:
        raise ValueError(f"{where} cannot be read as JSON: it is nested deeper than {MAX_DEPTH}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)[:80]!r} twice")
    return found


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is not a finite number")
    return value


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def checked(value: Any, kind: Any, path: str) -> Any:
    """Return ``value`` if it is of the kind that an argument is declared to be, with lists as tuples.

    A whole number is below 2^63, and any number finite: nothing else can be written down.

    Errors: ``ValueError`` with the path, what was expected and what was given.

    >>> checked([1, 2], int | tuple[int, ...], "k")
    (1, 2)
    >>> checked("high", float, "arms[1].primary")
    Traceback (most recent call last):
    ...
    ValueError: arms[1].primary: expected a number, not 'high'
    """
    if isinstance(value, list):
        value = tuple(value)
    if not _fits(value, kind):
        given = repr(list(value) if isinstance(value, tuple) else value)
        raise ValueError(
            f"{path}: expected {_expected(kind)}, not {given if len(given) < 90 else given[:87] + '...'}"
        )
    return value


def _fits(value: Any, kind: Any) -> bool:
    options, origin = get_args(kind), get_origin(kind)
    if origin in (types.UnionType, Union):
        return any(_fits(value, option) for option in options)
    if origin is Literal:
        return value in options
    if origin is tuple:
        if not isinstance(value, tuple) or (options[-1] is not ... and len(value) != len(options)):
            return False
        return all(_fits(item, options[0] if options[-1] is ... else options[k]) for k, item in enumerate(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if kind is float:
        return (isinstance(value, float) and math.isfinite(value)) or _fits(value, int)
    if origin is Callable:
        return callable(value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def _expected(kind: Any) -> str:
    options = [option for option in get_args(kind) if option not in (type(None), ...)]
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, options))
    if get_origin(kind) is tuple:
        if get_args(kind)[-1] is ...:
            return f"a list, each {_expected(options[0])}"
        return f"a list of {len(options)}: {', '.join(map(_expected, options))}"
    if get_origin(kind) in (Callable, Mapping):
        return "a function" if get_origin(kind) is Callable else "a mapping"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return " or ".join(map(_expected, options)) or words.get(kind) or str(getattr(kind, "__name__", kind))
