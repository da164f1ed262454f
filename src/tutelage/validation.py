"""Parse untrusted JSON, and check the types of plain values."""

from __future__ import annotations

import json
import math
import types
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from tutelage.errors import printable

MAX_DEPTH = 100
"""How deep JSON may be nested; files that tutelage writes are nested about twenty levels deep."""


def parse_json(text: str | bytes, where: str) -> Any:
    r"""Parse JSON that may be damaged or untrusted; ``where`` names it in errors.

    Errors: ``ValueError`` for text that is not JSON, is nested deeper than 100, repeats a key, or contains a number
    that is not finite or has more than 4300 digits.

    >>> parse_json('{"lr": 0.1}', "a.json")
    {'lr': 0.1}
    >>> parse_json('{"lr": 0.1, "lr": 0.2}', "a.json")
    Traceback (most recent call last):
    ...
    ValueError: a.json cannot be read as JSON: it contains the key 'lr' twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_finite, parse_float=_finite)
        too_deep = _is_deeper(value, MAX_DEPTH)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        raise ValueError(f"{where} cannot be read as JSON: {printable(str(error))}") from None
    if too_deep:
        raise ValueError(f"{where} cannot be read as JSON: it is nested deeper than {MAX_DEPTH}")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"it contains the key {repeated[:80]!r} twice")
    return mapping


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is not a finite number")
    return value


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether containers are nested more than ``limit`` deep; level by level, since recursion could overflow."""
    level = [value]
    for _ in range(limit + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for container in containers
            for inner in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return True


def checked(value: Any, kind: Any, path: str) -> Any:
    """Return ``value``, with lists as tuples, if it is of the type that an argument is declared to have.

    A whole number must be below 2^63 and every number finite, so that it can be stored as JSON.

    Errors: ``ValueError`` with the path, the expected type and the value.

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
        text = repr(list(value) if isinstance(value, tuple) else value)
        raise ValueError(f"{path}: expected {_describe(kind)}, not {text if len(text) < 90 else text[:87] + '...'}")
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


def _describe(kind: Any) -> str:
    options = [option for option in get_args(kind) if option not in (type(None), ...)]
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, options))
    if get_origin(kind) is tuple:
        if get_args(kind)[-1] is ...:
            return f"a list, each {_describe(options[0])}"
        return f"a list of {len(options)}: {', '.join(map(_describe, options))}"
    if get_origin(kind) in (Callable, Mapping):
        return "a function" if get_origin(kind) is Callable else "a mapping"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return " or ".join(map(_describe, options)) or names.get(kind) or str(getattr(kind, "__name__", kind))
