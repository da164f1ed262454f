"""Features of any network by module name, without changing its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.errors import unknown

_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module")  # torch.compile; DataParallel, DDP, averages; FSDP
_INPUT = ":input"


def unwrap(network: nn.Module) -> nn.Module:
    """Remove what ``torch.compile``, ``DataParallel`` and the like wrap around a network, however nested.

    >>> network = nn.Sequential(nn.Linear(2, 2))
    >>> unwrap(nn.DataParallel(torch.compile(network, backend="eager"))) is network
    True
    """
    children = list(network.named_children())
    if len(children) == 1 and children[0][0] in _WRAPPERS:
        return unwrap(children[0][1])
    return network


def candidates(network: nn.Module, limit: int = 40) -> list[str]:
    """The names of modules whose features can be read: the outermost levels of a network, about ``limit`` names.

    >>> candidates(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.ReLU(), nn.Flatten())))
    ['0', '1', '1.0', '1.1']
    """
    collected: list[str] = []
    level = [("", unwrap(network))]
    while level:
        level = [
            (f"{name}.{child}".lstrip("."), unwrap(module))
            for name, parent in level
            for child, module in parent.named_children()
        ]
        # A list or dictionary of modules is never called, so it has no output.
        names = [name for name, module in level if not isinstance(module, nn.ModuleList | nn.ModuleDict)]
        if collected and len(collected) + len(names) > limit:
            break
        collected += names
    return sorted(collected)


def resolve(network: nn.Module, name: str) -> nn.Module:
    """The module of this name, with or without the parts that a wrapper adds to names.

    Errors: ``ValueError`` with the nearest names.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> resolve(torch.compile(network, backend="eager"), "0")
    Linear(in_features=2, out_features=3, bias=True)
    >>> resolve(network, "2")
    Traceback (most recent call last):
    ...
    ValueError: unknown module '2': choose from 0, 1
    """
    module, path = network, ""
    for part in name.split("."):
        child = _child(module, part)
        if child is None:
            beside = [f"{path}{sibling}" for sibling, _ in unwrap(module).named_children() if path]
            raise unknown("module", name, beside or candidates(network))
        module, path = child, f"{path}{part}."
    return module


def _child(module: nn.Module, name: str) -> nn.Module | None:
    children = dict(module.named_children())
    if name in children:
        return children[name]
    wrapped = next((children[wrapper] for wrapper in _WRAPPERS if wrapper in children), None)
    return None if wrapped is None else _child(wrapped, name)


class FeatureHooks:
    """The outputs of named modules (with ``NAME:input`` their inputs) in the latest forward pass of a network.

    The network may be plain, compiled or wrapped, before or after the hooks are set. For a module that is called
    several times in one pass, the last call counts. Nothing is copied: a feature carries its gradient, and is
    released by the next pass or by :meth:`clear`. A context manager; :meth:`close` removes the hooks.

    Errors: ``ValueError`` for a name that does not exist, or a network that is split over several devices; during
    the pass, for a module whose output is not a tensor.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with FeatureHooks(network, ["1", "2:input", "2"]) as hooks:
    ...     logits = network(torch.zeros(4, 2))
    ...     {name: list(feature.shape) for name, feature in hooks.features.items()}
    {'1': [4, 3], '2:input': [4, 3], '2': [4, 1]}
    >>> with FeatureHooks(network, ["1", "2:input", "2"]) as hooks:
    ...     logits = network(torch.zeros(4, 2))
    ...     hooks.features["2"] is logits
    True
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        _refuse_split(network)
        self.names = tuple(dict.fromkeys(names))
        modules = [resolve(network, name.removesuffix(_INPUT)) for name in self.names]
        self._captures = tuple(_Capture(name) for name in self.names)
        if not self._captures:
            self._handles = []
            return
        _let_compiled_code_see_hooks()
        self._handles = [network.register_forward_pre_hook(_clear(self._captures))]
        for capture, module in zip(self._captures, modules, strict=True):
            if capture.name.endswith(_INPUT):
                self._handles.append(module.register_forward_pre_hook(_store_input(capture)))
            else:
                self._handles.append(module.register_forward_hook(_store_output(capture)))

    @property
    def features(self) -> dict[str, Tensor]:
        """The features of the latest forward pass by name, in the order of the names.

        Errors: ``RuntimeError`` before a pass, for a module that the pass did not call, or whose output was changed
        in place afterwards, as by ``ReLU(inplace=True)``.
        """
        missing = [capture.name for capture in self._captures if capture.feature is None]
        if missing:
            some_ran = len(missing) < len(self._captures)
            reason = "the latest forward did not call them" if some_ran else "the network has not run since"
            raise RuntimeError(f"no features of {', '.join(missing)}: {reason}")
        features: dict[str, Tensor] = {}
        for capture in self._captures:
            assert capture.feature is not None
            if capture.version >= 0 and capture.feature._version != capture.version:
                raise RuntimeError(
                    f"the features of {capture.name} were changed in place after they were computed: "
                    "read those of the module that changes them, or set its inplace=False"
                )
            features[capture.name] = capture.feature
        return features

    def clear(self) -> None:
        """Release the features, and the graph behind them."""
        for capture in self._captures:
            capture.feature = None

    def close(self) -> None:
        """Remove the hooks from the network."""
        for hook in self._handles:
            hook.remove()
        self._handles.clear()
        self.clear()

    def __enter__(self) -> FeatureHooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Capture:
    """One feature, and torch's count of writes to it when it was stored (-1 if unknown).

    Each feature has its own object, so that compiled code that stores one depends neither on the others nor on the
    previous value.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.feature: Tensor | None = None
        self.version = -1

    def store(self, feature: Any) -> None:
        if not isinstance(feature, Tensor):
            raise ValueError(
                f"module {self.name!r} gives a {type(feature).__name__}, and a feature is a tensor: "
                "name a module inside it"
            )
        counted = not torch.compiler.is_compiling() and not feature.is_inference()
        self.feature, self.version = feature, feature._version if counted else -1


def _store_output(capture: _Capture) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, output: capture.store(output)


def _store_input(capture: _Capture) -> Callable[[nn.Module, Any], None]:
    return lambda module, args: capture.store(args[0] if args else None)


def _clear(captures: tuple[_Capture, ...]) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, args: Any) -> None:
        for capture in captures:
            capture.feature = None

    return hook


def _refuse_split(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(
                f"DataParallel splits each batch over {len(module.device_ids)} devices, so that no feature is that "
                "of the whole batch: use DistributedDataParallel"
            )


def _let_compiled_code_see_hooks() -> None:
    """Make compiled code notice hooks that are set and removed.

    By default it assumes that the hooks it was compiled with never change, even in other networks of the same class:
    new hooks would then not run, or run after they are removed. Code compiled under that assumption is dropped, once
    per process.
    """
    import torch._dynamo

    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._dynamo.reset()
