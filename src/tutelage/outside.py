"""What comes from outside, as text, plain values or the names of code: read with care, checked, printed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

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


def printable(text: str) -> str:
    r"""A text from outside as it can be printed: what would steer a terminal becomes an escape.

    >>> print(printable("cat\x1b[2J"), printable("caf\u00e9\udcff"))
    cat\x1b[2J café\udcff
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


def unknown(kind: str, given: str, choices: Iterable[str], hint: str = "") -> ValueError:
    """Build the error for a name that does not exist, with the nearest names that do.

    >>> print(unknown("model", "resnet21", ["resnet20", "resnet32", "densenet_bc_100_12"]))
    unknown model 'resnet21': did you mean resnet32 or resnet20?
    >>> print(unknown("recipe", "zzz", ["tolerant", "baseline"]))
    unknown recipe 'zzz': choose from baseline, tolerant
    """
    names = sorted(choices)
    near = get_close_matches(given, names, n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"
    return ValueError(f"unknown {kind} {given!r}: {advice}{'; ' + hint if hint else ''}")


_data_only: ContextVar[bool] = ContextVar("_data_only", default=False)


@contextlib.contextmanager
def data_only() -> Iterator[None]:
    """While the body runs, :func:`load_function` refuses: what is read comes from a file, and a file is data.

    >>> with data_only():
    ...     load_function("math:sqrt")
    Traceback (most recent call last):
    ...
    ValueError: 'math:sqrt' is code outside tutelage, and importing it runs it: add --trust if you trust who names it
    """
    token = _data_only.set(True)
    try:
        yield
    finally:
        _data_only.reset(token)


def load_function(target: str) -> Callable[..., Any]:
    """Import the function a user named as ``package.module:function`` or ``path/to/file.py:function``.

    Errors: ``ValueError`` that says which half was not found; within :func:`data_only`, for any name.

    >>> load_function("math:sqrt")(9.0)
    3.0
    """
    place, _, name = target.rpartition(":")
    if _data_only.get():
        raise ValueError(
            f"{target!r} is code outside tutelage, and importing it runs it: add --trust if you trust who names it"
        )
    if not place:
        raise ValueError(f"{target!r} names no function: write package.module:function or path/to/file.py:function")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise ValueError(f"no file {place!r} (from {target!r})")
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(place)
        except (ModuleNotFoundError, TypeError) as error:  # TypeError for a relative name
            raise ValueError(f"no module {place!r} (from {target!r}): {error}") from None
    function = getattr(module, name, None)
    if not callable(function):
        callables = [n for n, v in vars(module).items() if callable(v) and n[0] != "_"]
        raise unknown(f"function in {place}", name, callables)
    return function  # type: ignore[no-any-return]  # a user's function: nothing is known of it
