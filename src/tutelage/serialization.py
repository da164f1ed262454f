"""Frozen values to plain JSON and back.

The constructor call is the configuration: a frozen dataclass becomes ``{"is": "objective:Match", ...its fields}``,
a function ``{"function": "functional:kl_divergence"}``, a tuple a list. The name before the colon is the floor that
offers the value, so moving a class between the files of a floor changes no configuration and no address.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, get_type_hints

from tutelage.errors import unknown
from tutelage.validation import checked

type_key = "is"
_ROOT = "tutelage"
_FUNCTIONS = ("functional", "objective", "methods")  # the floors whose functions a configuration may name


def name_of(value: type | FunctionType) -> str:
    """Name a class or function of ours as ``floor:name`` or ``floor.file:name``, any other as ``module:name``.

    >>> from tutelage.data import DataConfig
    >>> name_of(DataConfig)
    'data:DataConfig'
    """
    module, name = value.__module__, value.__qualname__
    if "<" in name or module == "__main__":
        raise TypeError(f"{module}:{name} cannot be named in a configuration: put it at the top of a module")
    if not module.startswith(f"{_ROOT}."):
        return f"{module}:{name}"
    floor = module.split(".")[1]
    offered = getattr(importlib.import_module(f"{_ROOT}.{floor}"), name, None) is value
    return f"{floor if offered else module.removeprefix(f'{_ROOT}.')}:{name}"


def find(name: str, allow: tuple[str, ...] = ()) -> Any:
    """Look up what :func:`name_of` named. Modules outside tutelage must be allowed, since importing runs code.

    >>> find("data:DataConfig").__name__
    'DataConfig'
    >>> find("os:system")
    Traceback (most recent call last):
    ...
    ValueError: 'os:system' is not part of tutelage, and importing it would run its code: allow 'os' if you trust it
    """
    if not isinstance(name, str):
        raise ValueError(f"a name is text, not {name!r}")
    module, _, attribute = name.partition(":")
    named = all(part.isidentifier() for part in module.split("."))
    try:
        ours = importlib.util.find_spec(f"{_ROOT}.{module}") if named else None
    except ModuleNotFoundError:
        ours = None
    if ours is None and module not in allow:
        raise ValueError(
            f"{name!r} is not part of {_ROOT}, and importing it would run its code: allow {module!r} if you trust it"
        )
    home = importlib.import_module(f"{_ROOT}.{module}" if ours else module)
    try:
        found = getattr(home, attribute)
    except AttributeError:
        raise unknown(f"name in {module}", attribute, [n for n in dir(home) if n[0] != "_"]) from None
    if ours and not str(getattr(found, "__module__", "")).startswith(f"{_ROOT}."):
        raise ValueError(f"{name!r} is not {_ROOT}'s own")  # what a module of ours imports, such as shutil
    return found


def to_json(value: Any) -> Any:
    """Turn a frozen value into plain JSON.

    Errors: ``TypeError`` for anything that is not a frozen dataclass, a named function, a mapping with text keys,
    a sequence or a plain scalar.

    >>> from tutelage.data import DataConfig
    >>> to_json(DataConfig(name="digits", train_size=300))
    {'is': 'data:DataConfig', 'name': 'digits', 'train_size': 300, 'holdout': 0, 'test_size': None}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise TypeError(f"{value} has no place in a configuration: JSON has finite numbers only")
            return value
        case list() | tuple():
            return [to_json(item) for item in value]
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"keys of a mapping must be text, not {key!r}")
            return {key: to_json(item) for key, item in value.items()}
        case FunctionType():
            return {"function": name_of(value)}
    how = getattr(type(value), "__dataclass_params__", None)
    if how is not None and how.frozen:
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {type_key: name_of(type(value)), **fields}
    raise TypeError(f"{type(value).__name__} cannot stand in a configuration: use a frozen dataclass")


def from_json(value: Any, allow: tuple[str, ...] = (), path: str = "$") -> Any:
    """Turn the JSON of :func:`to_json` back into the value; ``allow`` names modules outside tutelage to trust.

    Errors: ``ValueError`` with the path of the fault, for an unknown name, or fields that do not fit.

    >>> from tutelage.data import DataConfig
    >>> from_json(to_json(DataConfig(train_size=300))) == DataConfig(train_size=300)
    True
    >>> from_json({"is": "data:DataConfig", "nam": "digits"})
    Traceback (most recent call last):
    ...
    ValueError: $: unknown field of data:DataConfig 'nam': did you mean name?
    """
    if isinstance(value, list):
        return tuple(from_json(item, allow, f"{path}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, dict):
        return value
    if type_key not in value and "function" not in value:
        return {key: from_json(item, allow, f"{path}.{key}") for key, item in value.items()}
    try:
        if "function" in value:
            function = find(value["function"], allow)
            home = value["function"].partition(":")[0]
            if home.split(".")[0] not in _FUNCTIONS and home not in allow:
                raise ValueError(f"{value['function']} is no function of {', '.join(_FUNCTIONS)}")
            if not isinstance(function, FunctionType):
                raise ValueError(f"{value['function']} is not a function")
            if len(value) > 1:
                raise ValueError(f"a function has no fields, such as {sorted(value.keys() - {'function'})[0]!r}")
            return function
        kind = find(value[type_key], allow)
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise ValueError(f"{value[type_key]} is not a value that a configuration can hold")
        known = _kinds(kind)
        for key in sorted(value.keys() - known.keys() - {type_key}):
            raise unknown(f"field of {value[type_key]}", key, known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    fields = {
        k: checked(from_json(item, allow, f"{path}.{k}"), known[k], f"{path}.{k}")
        for k, item in value.items()
        if k != type_key
    }
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


@functools.cache
def _kinds(kind: type) -> dict[str, Any]:
    """The fields of a dataclass, and what each is declared to be."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON, with sorted keys: the address of what it describes. 1 and 1.0 are the same number.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(_whole(to_json(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _whole(tree: Any) -> Any:
    """Write floats without a fraction as integers, so that equal values have equal text."""
    match tree:
        case float() if tree.is_integer():
            return int(tree)
        case list():
            return [_whole(item) for item in tree]
        case dict():
            return {key: _whole(item) for key, item in tree.items()}
    return tree


def functions_returning(package: str, kind: type) -> dict[str, Callable[..., Any]]:
    """Every public function in the modules of a package that is declared to return ``kind``, by name.

    >>> from tutelage.objective import Objective
    >>> "distillation" in functions_returning("tutelage.methods", Objective)
    True
    """
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        home = importlib.import_module(f"{package}.{module.name}")
        for name, function in inspect.getmembers(home, inspect.isfunction):
            if function.__module__ != home.__name__ or name.startswith("_"):
                continue
            if inspect.get_annotations(function, eval_str=True).get("return") is kind:
                assert name not in found, f"two functions of {package} are named {name}"
                found[name] = function
    return dict(sorted(found.items()))
