"""Stochastic gradient descent with momentum, on torch's fused kernel."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Sgd:
    """``torch.optim.SGD(fused=True)``, bit for bit; the learning rate is an argument of each step.

    Formula: ``g = grad + weight_decay w``, ``m = momentum m + g``, ``w = w - rate m``, or with ``nesterov``
    ``w - rate (g + momentum m)``. Parameters without a gradient stay as they are.

    Why not torch's class: it does not take a rate that lies on a GPU, which a recorded step needs, and its first use
    imports torch's compiler, which takes longer than the first step.

    >>> weight = nn.Parameter(torch.ones(1))
    >>> weight.grad = torch.ones(1)
    >>> Sgd([weight], momentum=0.9, nesterov=True, weight_decay=0.0).step(0.1)
    >>> round(weight.item(), 4)
    0.81

    Source: Sutskever et al. 2013, in torch's form.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, momentum: float, nesterov: bool, weight_decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.decay, self.momentum, self.nesterov = weight_decay, momentum, nesterov and momentum > 0
        self.buffers: dict[nn.Parameter, Tensor] = {}
        """The momentum ``m`` of each parameter that has had a gradient."""
        self.broken = torch.zeros(1, device=self.parameters[0].device)
        """1 from the first gradient on that was not a finite number, float32 ``[1]``."""
        self._one = torch.ones_like(self.broken)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """Update every parameter that has a gradient; ``rate`` may be a float32 ``[]`` on the parameters' device.

        Nothing changes in a step whose gradients are not all finite, nor in any step after it: ``broken`` is 1.
        """
        groups: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], ...]] = {}
        for parameter in self.parameters:
            if parameter.grad is not None:
                group = groups.setdefault((parameter.device, parameter.dtype), ([], [], []))
                group[0].append(parameter)
                group[1].append(parameter.grad)
                if self.momentum:
                    if parameter not in self.buffers:
                        self.buffers[parameter] = torch.zeros_like(parameter)
                    group[2].append(self.buffers[parameter])
        # Every gradient is checked before any weight changes. The kernels raise a flag on the device and read it
        # there, so the host waits for nothing. Unscaling by 1 leaves the gradients as they are.
        for _, gradients, _ in groups.values():
            torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.broken, self._one)
        for weights, gradients, buffers in groups.values():
            torch._fused_sgd_(
                weights,
                gradients,
                buffers,
                weight_decay=self.decay,
                momentum=self.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=self.nesterov,
                maximize=False,
                is_first_step=False,
                found_inf=self.broken,
            )
