"""Sgd is torch's optimizer, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.training.sgd import Sgd


@pytest.mark.parametrize("decay", [0.0, 5e-4])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_it_is_the_sgd_of_torch(momentum: float, nesterov: bool, decay: float) -> None:
    torch.manual_seed(3)
    ours = [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(4).double())]
    theirs = [nn.Parameter(each.detach().clone()) for each in ours]
    mine = Sgd(ours, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    reference = torch.optim.SGD(theirs, lr=1.0, momentum=momentum, nesterov=nesterov, weight_decay=decay, fused=True)
    for rate in (0.1, 0.1, 0.01, 1e-3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        mine.step(rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
            if momentum:
                assert torch.equal(mine.buffers[one], reference.state[other]["momentum_buffer"])


def test_a_rate_in_a_tensor_is_the_same_rate() -> None:
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    for weight, rate in zip(weights, (0.25, torch.tensor(0.25)), strict=True):
        weight.grad = torch.tensor([1.0, 2.0, 3.0])
        Sgd([weight], momentum=0.9, nesterov=True, weight_decay=0.0).step(rate)
    assert torch.equal(*weights)


def test_what_has_no_gradient_stays() -> None:
    frozen, trained = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    optimizer = Sgd([frozen, trained], momentum=0.9, nesterov=True, weight_decay=0.1)
    trained.grad = torch.ones(2)
    optimizer.step(0.1)
    assert frozen.tolist() == [1.0, 1.0]
    assert list(optimizer.buffers) == [trained]
    optimizer.zero_grad()
    before = trained.detach().clone()
    optimizer.step(0.1)
    assert torch.equal(trained, before)
