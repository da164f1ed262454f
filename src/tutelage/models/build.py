"""From a name to a network: one of tutelage's, of another package, or a function of the user's."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tutelage import models
from tutelage.errors import memory_fault, unknown
from tutelage.models import external
from tutelage.models.weights import WrongClasses
from tutelage.user_code import load_function

MAX_SOURCE = 2**20
"""The largest file, in bytes, that is searched for the network it defines."""


def names() -> tuple[str, ...]:
    """The networks tutelage knows by name.

    >>> "resnet20" in names()
    True
    """
    return tuple(sorted(models.__all__))


def constructor(name: str) -> Callable[..., Any]:
    """The function that a model's name stands for.

    A name is one of :func:`names`, ``timm:NAME`` or ``hf:NAME`` (:mod:`tutelage.models.external`),
    ``module:function`` or ``file.py:function``.

    Errors: ``ValueError`` with the nearest names, or the package that is missing.

    >>> constructor("resnet20").__name__
    'resnet20'
    """
    if external.is_external(name):
        return external.constructor(name)
    if ":" in name:
        return load_function(name)
    if name not in models.__all__:
        hint = "timm:NAME, hf:NAME, package.module:function and file.py:function work too"
        raise unknown("model", name, names(), hint=hint)
    function: Callable[..., Any] = getattr(models, name)
    return function


SMALL_IMAGES = 64
"""The side that larger files are shown at to networks known by name: their first layers keep the size."""


def input_size(name: str) -> int | None:
    """The side of the square images that a network is made for; None where that is not known.

    Errors: those of :func:`constructor`.

    >>> input_size("resnet20"), input_size("math:sqrt")
    (64, None)
    """
    if external.is_external(name):
        expected = external.expectation(name)
        return None if expected is None else expected.size
    return None if ":" in name else SMALL_IMAGES


def build(name: str, num_classes: int, in_channels: int, seed: int | None = None) -> nn.Module:
    """Build a network for these numbers of classes and channels; its initial weights are a function of the seed.

    A user's function is called with those of ``num_classes`` and ``in_channels`` that it takes.

    Errors: ``ValueError`` for an unknown name, or a function that does not return a module.

    >>> build("resnet8", num_classes=10, in_channels=1, seed=0)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    function = constructor(name)
    arguments = {"num_classes": num_classes, "in_channels": in_channels}
    parameters = inspect.signature(function).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        arguments = {key: value for key, value in arguments.items() if key in parameters}
    with torch.random.fork_rng():
        if seed is not None:
            torch.manual_seed(seed)
        network = function(**arguments)
    if not isinstance(network, nn.Module):
        raise ValueError(f"model {name!r} must return a torch.nn.Module, not {type(network).__name__}")
    return network


@torch.no_grad()
def check(network: nn.Module, name: str, num_classes: int, shape: tuple[int, int, int]) -> None:
    """Check that a network takes images ``[C, H, W]`` and returns one score per class.

    Errors: ``ValueError`` with the model's name, for a network that does not take the images; ``WrongClasses`` for
    scores of another shape.

    >>> check(build("resnet8", 10, 1), "resnet8", 10, (1, 8, 8))
    >>> check(build("resnet8", 1, 1), "resnet8", 10, (1, 8, 8))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    tutelage.models.weights.WrongClasses: model 'resnet8' gives scores of shape [2, 1] for 2 images; the data ...
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    training = network.training
    try:
        scores = network.eval()(torch.zeros(2, *shape, device=device))
    except (RuntimeError, ValueError, TypeError) as error:
        if memory_fault(error) is not None:  # which says nothing about the network
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model {name!r} does not take images of shape {list(shape)}: {reason}") from error
    finally:
        network.train(training)
    if not isinstance(scores, torch.Tensor) or scores.shape != (2, num_classes):
        kind = f"shape {list(scores.shape)}" if isinstance(scores, torch.Tensor) else f"type {type(scores).__name__}"
        raise WrongClasses(
            f"model {name!r} gives scores of {kind} for 2 images; "
            f"the data has {num_classes} classes: expected [2, {num_classes}]"
        )


def source(name: str) -> str:
    """The version of the code behind a model's name, which is part of the model's address.

    For a user's function it is the SHA-256 of its file, so that an edited network is another network; for a network
    of another package see :func:`tutelage.models.external.source`.

    >>> source("resnet20")
    'tutelage'
    """
    if external.is_external(name):
        return external.source(name)
    if ":" not in name:
        return "tutelage"
    file = defined_in(name)
    if file is None:
        function = inspect.unwrap(constructor(name))
        source_file = None if inspect.isbuiltin(function) else inspect.getsourcefile(function)
        file = Path(source_file) if source_file else None
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else "unknown"


def defined_in(name: str) -> Path | None:
    """The file that defines ``module:function`` or ``file.py:function``, determined without running it.

    The definition must be a single ``def`` or ``class`` without decorators, with no other binding of that name in the
    file; None for anything that can only be known by importing it.

    >>> defined_in("tutelage.models.plain_cnn:nothing") is None
    True
    """
    place, _, function = name.rpartition(":")
    path = Path(place) if place.endswith(".py") else _module_file(place)
    try:
        if path is None or path.stat().st_size > MAX_SOURCE:
            return None
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names = [name for node in ast.walk(tree) for name in _bound_names(node)]
    definitions = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == function
    ]
    if names.count(function) != 1 or "*" in names or len(definitions) != 1 or definitions[0].decorator_list:
        return None
    return path


def _bound_names(node: ast.AST) -> Iterator[str]:
    """The names that a node of the syntax tree binds."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id
        case ast.alias():
            yield (node.asname or node.name).split(".")[0]
        case ast.Global():
            yield from node.names


def _module_file(name: str) -> Path | None:
    """The source file of a module, located as an import would, but without importing the packages around it."""
    spec, search_path = None, None
    try:
        for end in range(1, name.count(".") + 2):
            spec = PathFinder.find_spec(".".join(name.split(".")[:end]), search_path)
            if spec is None:
                return None
            search_path = spec.submodule_search_locations
    except (ImportError, ValueError, AttributeError, KeyError):  # KeyError: folders without an __init__.py
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
