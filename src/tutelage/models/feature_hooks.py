"""Features of any network by module name, without touching its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.errors import unknown

_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module")  # torch.compile; DataParallel, DDP, averages; FSDP
_INPUT = ":input"


def unwrap(network: nn.Module) -> nn.Module:
    """Take away what ``torch.compile``, ``DataParallel`` and their like put around a network, however nested.

    >>> network = nn.Sequential(nn.Linear(2, 2))
    >>> unwrap(nn.DataParallel(torch.compile(network, backend="eager"))) is network
    True
    """
    children = list(network.named_children())
    if len(children) == 1 and children[0][0] in _WRAPPERS:
        return unwrap(children[0][1])
    return network


def candidates(network: nn.Module, limit: int = 40) -> list[str]:
    """The names of a network's modules that may be tapped, the outermost levels of them, about ``limit``.

    >>> candidates(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.ReLU(), nn.Flatten())))
    ['0', '1', '1.0', '1.1']
    """
    found: list[str] = []
    level = [("", unwrap(network))]
    while level:
        level = [
            (f"{name}.{child}".lstrip("."), unwrap(module))
            for name, parent in level
            for child, module in parent.named_children()
        ]
        # A list or dictionary of modules is never called, so nothing comes out of it.
        names = [name for name, module in level if not isinstance(module, nn.ModuleList | nn.ModuleDict)]
        if found and len(found) + len(names) > limit:
            break
        found += names
    return sorted(found)


def resolve(network: nn.Module, name: str) -> nn.Module:
    """Find a module by its name, with or without the parts that a wrapper adds to it.

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
    """What the named modules of a network put out (or, with ``NAME:input``, take in) in its latest forward.

    The network may be plain, compiled or wrapped, before or after. Of a module that is called several times in a
    forward the last call counts. Nothing is copied: a feature carries its gradient, and the next forward or
    :meth:`clear` lets go of it. A context manager; :meth:`close` takes the taps out.

    Errors: ``ValueError`` for a name that does not exist, or a network that is split over several devices; during
    the forward, for a module that puts out something else than a tensor.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with FeatureHooks(network, ["1", "2:input", "2"]) as taps:
    ...     logits = network(torch.zeros(4, 2))
    ...     {name: list(feature.shape) for name, feature in taps.features.items()}
    {'1': [4, 3], '2:input': [4, 3], '2': [4, 1]}
    >>> with FeatureHooks(network, ["1", "2:input", "2"]) as taps:
    ...     logits = network(torch.zeros(4, 2))
    ...     taps.features["2"] is logits
    True
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        _refuse_split(network)
        self.names = tuple(dict.fromkeys(names))
        modules = [resolve(network, name.removesuffix(_INPUT)) for name in self.names]
        self._taps = tuple(_Tap(name) for name in self.names)
        if not self._taps:
            self._hooks = []
            return
        _let_compiled_code_see_hooks()
        self._hooks = [network.register_forward_pre_hook(_clear(self._taps))]
        for tap, module in zip(self._taps, modules, strict=True):
            if tap.name.endswith(_INPUT):
                self._hooks.append(module.register_forward_pre_hook(_keep_input(tap)))
            else:
                self._hooks.append(module.register_forward_hook(_keep_output(tap)))

    @property
    def features(self) -> dict[str, Tensor]:
        """The features of the latest forward by name, in the order of the names.

        Errors: ``RuntimeError`` before a forward, for a module that the forward did not call, or whose output was
        changed in place afterwards, as ``ReLU(inplace=True)`` does.
        """
        missing = [tap.name for tap in self._taps if tap.feature is None]
        if missing:
            ran = len(missing) < len(self._taps)
            reason = "the latest forward did not call them" if ran else "the network has not run since"
            raise RuntimeError(f"no features of {', '.join(missing)}: {reason}")
        found: dict[str, Tensor] = {}
        for tap in self._taps:
            assert tap.feature is not None
            if tap.version >= 0 and tap.feature._version != tap.version:
                raise RuntimeError(
                    f"the features of {tap.name} were changed in place after they were taken: "
                    "tap the module that changes them, or set its inplace=False"
                )
            found[tap.name] = tap.feature
        return found

    def clear(self) -> None:
        """Let go of the features, and of the graph behind them."""
        for tap in self._taps:
            tap.feature = None

    def close(self) -> None:
        """Take the taps out of the network."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.clear()

    def __enter__(self) -> FeatureHooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Tap:
    """One feature and how often it had been written to, -1 where nobody counts.

    An object of its own for each: compiled code that fills it needs to know nothing of the others, nor of what was
    in it before.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.feature: Tensor | None = None
        self.version = -1

    def keep(self, feature: Any) -> None:
        if not isinstance(feature, Tensor):
            raise ValueError(
                f"module {self.name!r} gives a {type(feature).__name__}, and a feature is a tensor: tap one inside it"
            )
        counted = not torch.compiler.is_compiling() and not feature.is_inference()
        self.feature, self.version = feature, feature._version if counted else -1


def _keep_output(tap: _Tap) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, output: tap.keep(output)


def _keep_input(tap: _Tap) -> Callable[[nn.Module, Any], None]:
    return lambda module, args: tap.keep(args[0] if args else None)


def _clear(taps: tuple[_Tap, ...]) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, args: Any) -> None:
        for tap in taps:
            tap.feature = None

    return hook


def _refuse_split(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(
                f"DataParallel deals each batch out to {len(module.device_ids)} devices, so that no feature is of "
                "the whole batch: use DistributedDataParallel"
            )


def _let_compiled_code_see_hooks() -> None:
    """Make compiled code notice hooks that come and go.

    By default it assumes that the hooks it was compiled with stay for good, also in other networks of the same
    class: taps would then be silent, or stay after they are closed. Code compiled under that assumption is dropped,
    once in a process.
    """
    import torch._dynamo

    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._dynamo.reset()
