"""A moment of training as tensors: copied, checked to be finite, and put back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.objective import BoundObjective
from tutelage.training.sgd import Sgd


class NotFinite(ArithmeticError):
    """A loss, gradient or weight that is not a finite number; the message says where it arose."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """A moment of training, complete: continuing from it gives the same weights, bit for bit, as never stopping.

    ``step`` counts optimizer steps; ``tensors`` holds the network, what the objective learns or remembers, the
    momentum of both, and the running sums of the epoch. ``source`` names the file that it was read from, for errors.
    """

    step: int
    tensors: dict[str, Tensor]
    source: str = "the state"


def _owners(network: nn.Module, bound: BoundObjective) -> tuple[tuple[str, nn.Module], ...]:
    return ("network", network), ("learned", bound)


def _check(state: State, network: nn.Module, bound: BoundObjective, sums: Tensor) -> None:
    """Check the names, types and shapes of a state, and that its values are finite: its file may be anyone's."""
    required: dict[str, Tensor] = {"sums": sums}
    optional: dict[str, Tensor] = {}
    for owner, module in _owners(network, bound):
        required |= {f"{owner}/{name}": value for name, value in module.state_dict().items()}
        optional |= {f"momentum/{owner}/{name}": value for name, value in module.named_parameters()}
    expected = required | optional
    problem = f"{state.source} does not continue this training run"
    for name in sorted(required.keys() - state.tensors.keys()):
        raise ValueError(f"{problem}: it has no {name}")
    for name, value in state.tensors.items():
        if name not in expected:
            raise ValueError(f"{problem}: it holds {name[:80]!r}")
        if (value.dtype, value.shape) != (expected[name].dtype, expected[name].shape):
            own, kind = expected[name], f"{value.dtype} {list(value.shape)}"
            raise ValueError(f"{problem}: {name} is {kind}, not {own.dtype} {list(own.shape)}")
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{state.source} holds values in {name} that are not finite numbers")


def capture(step: int, network: nn.Module, bound: BoundObjective, optimizer: Sgd, sums: Tensor) -> State:
    """Copy a moment of training.

    Errors: :class:`NotFinite` for a weight, buffer or momentum that is not a finite number.
    """
    tensors: dict[str, Tensor] = {}
    for owner, module in _owners(network, bound):
        tensors |= {f"{owner}/{name}": value for name, value in module.state_dict().items()}
        for name, parameter in module.named_parameters():
            momentum = optimizer.buffers.get(parameter)
            if momentum is not None:
                tensors[f"momentum/{owner}/{name}"] = momentum
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise NotFinite(f"after step {step}, {bad[0]} holds values that are not finite numbers; nothing was saved")
    tensors["sums"] = sums
    return State(step=step, tensors={name: value.detach().clone() for name, value in tensors.items()})


def restore(state: State, network: nn.Module, bound: BoundObjective, optimizer: Sgd, sums: Tensor) -> None:
    """Put a moment of training back.

    Errors: ``ValueError`` for tensors that are not those of this training run; nothing is changed then.
    """
    _check(state, network, bound, sums)
    for owner, module in _owners(network, bound):
        prefix = f"{owner}/"
        module.load_state_dict({n.removeprefix(prefix): v for n, v in state.tensors.items() if n.startswith(prefix)})
        for name, parameter in module.named_parameters():
            momentum = state.tensors.get(f"momentum/{prefix}{name}")
            if momentum is not None:
                optimizer.buffers[parameter] = torch.empty_like(parameter).copy_(momentum)
    sums.copy_(state.tensors["sums"])
