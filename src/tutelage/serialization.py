"""Frozen values to plain JSON and back.

The constructor call is the configuration: a frozen dataclass becomes ``{"is": "objective:Match", ...its fields}``,
a function ``{"function": "functional:kl_divergence"}``, a tuple a list. The name before the colon is the package that
exports the value, so moving a class between the modules of a package changes no configuration and no address.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

from tutelage.errors import unknown
from tutelage.validation import checked

type_key = "is"
_ROOT = "tutelage"
_FUNCTIONS = ("functional", "objective", "methods")  # the packages whose functions a configuration may name


def name_of(value: type | FunctionType) -> str:
    """Name one of our classes or functions as ``package:name`` or ``package.module:name``, others as ``module:name``.

    >>> from tutelage.data import DataConfig
    >>> name_of(DataConfig)
    'data:DataConfig'
    """
    module, name = value.__module__, value.__qualname__
    if "<" in name or module == "__main__":
        raise TypeError(f"{module}:{name} cannot be named in a configuration: put it at the top of a module")
    if not module.startswith(f"{_ROOT}."):
        return f"{module}:{name}"
    package = module.split(".")[1]
    is_exported = getattr(importlib.import_module(f"{_ROOT}.{package}"), name, None) is value
    return f"{package if is_exported else module.removeprefix(f'{_ROOT}.')}:{name}"


def find_named(name: str, allow: tuple[str, ...] = ()) -> Any:
    """Look up a value by its name from :func:`name_of`.

    Modules outside tutelage must be allowed, since importing a module runs its code.

    >>> find_named("data:DataConfig").__name__
    'DataConfig'
    >>> find_named("os:system")
    Traceback (most recent call last):
    ...
    ValueError: 'os:system' is not part of tutelage, and importing it would run its code: allow 'os' if you trust it
    """
    if not isinstance(name, str):
        raise ValueError(f"a name is text, not {name!r}")
    module, _, attribute = name.partition(":")
    is_valid = all(part.isidentifier() for part in module.split("."))
    try:
        is_ours = is_valid and importlib.util.find_spec(f"{_ROOT}.{module}") is not None
    except ModuleNotFoundError:
        is_ours = False
    if not is_ours and module not in allow:
        raise ValueError(
            f"{name!r} is not part of {_ROOT}, and importing it would run its code: allow {module!r} if you trust it"
        )
    namespace = importlib.import_module(f"{_ROOT}.{module}" if is_ours else module)
    try:
        value = getattr(namespace, attribute)
    except AttributeError:
        raise unknown(f"name in {module}", attribute, [key for key in dir(namespace) if key[0] != "_"]) from None
    if is_ours and not str(getattr(value, "__module__", "")).startswith(f"{_ROOT}."):
        raise ValueError(f"{name!r} is not {_ROOT}'s own")  # but imported by one of our modules, such as shutil
    return value


def to_json(value: Any) -> Any:
    """Convert a frozen value to plain JSON.

    Errors: ``TypeError`` for anything but a frozen dataclass, a named function, a mapping with text keys, a sequence
    or a plain scalar.

    >>> from tutelage.data import CropFlip
    >>> to_json(CropFlip(padding=2))
    {'is': 'data:CropFlip', 'padding': 2, 'flip': True}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise TypeError(f"{value} cannot be part of a configuration: JSON has finite numbers only")
            return value
        case list() | tuple():
            return [to_json(item) for item in value]
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"the keys of a mapping must be text, not {key!r}")
            return {key: to_json(item) for key, item in value.items()}
        case FunctionType():
            return {"function": name_of(value)}
    parameters = getattr(type(value), "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {type_key: name_of(type(value)), **fields}
    raise TypeError(f"{type(value).__name__} cannot be part of a configuration: use a frozen dataclass")


def from_json(value: Any, allow: tuple[str, ...] = (), path: str = "$") -> Any:
    """Convert the JSON of :func:`to_json` back to the value; ``allow`` names modules outside tutelage to trust.

    Errors: ``ValueError``, prefixed with the path of the error, for an unknown name or fields that do not fit.

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
            function = find_named(value["function"], allow)
            module = value["function"].partition(":")[0]
            if module.split(".")[0] not in _FUNCTIONS and module not in allow:
                raise ValueError(f"{value['function']} is not a function of {', '.join(_FUNCTIONS)}")
            if not isinstance(function, FunctionType):
                raise ValueError(f"{value['function']} is not a function")
            if len(value) > 1:
                raise ValueError(f"a function has no fields, such as {sorted(value.keys() - {'function'})[0]!r}")
            return function
        kind = find_named(value[type_key], allow)
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise ValueError(f"{value[type_key]} is not a value that a configuration can contain")
        field_types = _field_types(kind)
        for key in sorted(value.keys() - field_types.keys() - {type_key}):
            raise unknown(f"field of {value[type_key]}", key, field_types)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    fields = {
        key: checked(from_json(item, allow, f"{path}.{key}"), field_types[key], f"{path}.{key}")
        for key, item in value.items()
        if key != type_key
    }
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


@functools.cache
def _field_types(kind: type) -> dict[str, Any]:
    """The fields of a dataclass with their declared types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON with sorted keys: the address of what it describes. 1 and 1.0 have the same digest.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(_normalize_floats(to_json(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize_floats(tree: Any) -> Any:
    """Replace whole floats by integers, so that equal values have equal text."""
    match tree:
        case float() if tree.is_integer():
            return int(tree)
        case list():
            return [_normalize_floats(item) for item in tree]
        case dict():
            return {key: _normalize_floats(item) for key, item in tree.items()}
    return tree


def submodules(package: str) -> list[ModuleType]:
    """Import all modules of a package and return them in the order of their names.

    >>> submodules("tutelage.experiments.papers")[0].__name__
    'tutelage.experiments.papers.born_again'
    """
    # Not by pkgutil, which takes a folder that cannot be read (for want of memory, say) for an empty one.
    (folder,) = importlib.import_module(package).__path__
    names = sorted(path.stem for path in Path(folder).iterdir() if path.suffix == ".py")
    return [importlib.import_module(f"{package}.{name}") for name in names if name != "__init__"]


def functions_returning(package: str, kind: type) -> dict[str, Callable[..., Any]]:
    """All public functions in the modules of a package that are declared to return ``kind``, by name.

    >>> from tutelage.objective import Objective
    >>> "distillation" in functions_returning("tutelage.methods", Objective)
    True
    """
    functions: dict[str, Callable[..., Any]] = {}
    for module in submodules(package):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            if inspect.get_annotations(function, eval_str=True).get("return") is kind:
                assert name not in functions, f"two functions of {package} are named {name}"
                functions[name] = function
    return dict(sorted(functions.items()))
