"""One file per paper: each public function that returns an ``Objective`` is a method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tutelage.errors import unknown
from tutelage.objective import Objective
from tutelage.serialization import functions_returning


def factories() -> dict[str, Callable[..., Objective]]:
    """Every method by name, collected by walking this package; there is no registry.

    >>> str(factories()["label_smoothing"](smoothing=0.2))
    'H(labels smoothed by 0.2, student)'
    """
    return dict(_factories())


@functools.cache  # a walk of 3 ms, and a mixture makes many methods
def _factories() -> dict[str, Callable[..., Objective]]:
    return functions_returning(__name__, Objective)


def make(request: str, **defaults: Any) -> Objective:
    """Call a method as written on the command line: ``name`` or ``name:argument=value,argument=value``.

    ``defaults`` are passed for those arguments that the method has and the request does not set.

    Errors: ``ValueError`` for a method or argument that does not exist, with the nearest names, and for a value whose
    type is not that of the argument's default.

    >>> print(make("distillation:teacher_weight=0.5,temperature=2"))
    0.5 H(labels, student) + 0.5 2^2 KL(teacher@2 ‖ student@2)
    >>> make("distilation")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown method 'distilation': did you mean distillation...
    >>> make("distillation:temprature=2")
    Traceback (most recent call last):
    ...
    ValueError: unknown argument of distillation 'temprature': did you mean temperature or temperature_power?
    """
    name, _, settings = request.partition(":")
    known = _factories()
    if name not in known:
        raise unknown("method", name, known)
    parameters = inspect.signature(known[name]).parameters
    arguments = {argument: value for argument, value in defaults.items() if argument in parameters}
    for part in settings.split(",") if settings else ():
        argument, equals, text = map(str.strip, part.partition("="))
        if argument not in parameters or not equals:
            raise unknown(f"argument of {name}", argument, parameters)
        arguments[argument] = _value(f"{name}:{argument}", text, parameters[argument].default)
    return known[name](**arguments)


def _value(where: str, text: str, default: object) -> object:
    """Read a value from the command line as the type of the default; several names are joined by ``+``."""
    try:
        match default:
            case bool():
                return {"true": True, "false": False}[text.lower()]
            case int():
                return int(text)
            case float() | None:
                return float(text)
            case tuple():
                return tuple(tuple(each.split("/")) if "/" in each else each for each in text.split("+"))
    except (ValueError, KeyError):
        expected = "a number" if default is None else f"like {default!r}"
        raise ValueError(f"{where} must be {expected}, not {text!r}") from None
    return text
