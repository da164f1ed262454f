"""No method reads from the device, or copies to it, within a step: a GPU could not record such a step.

Without a GPU this is tested on tensors that have no values at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.methods.test_contract import CASES, signals_for
from tests.objective.batches import training_set
from tutelage.objective import Signals

META = torch.device("meta")


class NothingFromTheHost(TorchDispatchMode):
    """Refuses operations that take a tensor of the host to the device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # A number in a tensor of the host goes along with the launch of an operation, but not of a copy.
        copies = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        origins = [each.device for each in tensors if each.ndim or copies]
        result = func(*args, **(kwargs or {}))
        on = {each.device for each in tree_leaves(result) if isinstance(each, Tensor)}
        if META in on and any(device != META for device in origins):
            raise RuntimeError(f"{func} brings a tensor from the host")
        return result


def away(signals: Signals) -> Signals:
    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().to(META).requires_grad_(value.requires_grad)
        return {name: move(each) for name, each in value.items()} if isinstance(value, dict) else value

    names = Signals.__dataclass_fields__
    return Signals(**{name: move(getattr(signals, name)) for name in names})


@pytest.mark.parametrize("name", CASES)
def test_a_step_needs_nothing_of_the_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = CASES[name]()
    signals = signals_for(objective, rows=7, dtype=torch.float32)
    bound = objective.bind(signals, training_set(signals)).to(META)
    there = away(signals)
    for owner, make in ((torch, "tensor"), (torch, "as_tensor"), (torch, "from_numpy"), (Tensor, "new_tensor")):
        monkeypatch.setattr(owner, make, lambda *_, **__: pytest.fail("numbers of the host become a tensor"))
    with NothingFromTheHost():
        bound(there).total.backward()


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0].sum(),
        lambda x: x + torch.ones(()).to(META),
        lambda x: x + torch.ones(2).to(META),
    ],
)
def test_what_would_be_noticed(asks: Callable[[Tensor], Any]) -> None:
    with NothingFromTheHost(), pytest.raises((RuntimeError, NotImplementedError)):
        asks(torch.zeros(2, device=META))
