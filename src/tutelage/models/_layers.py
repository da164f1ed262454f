"""Layers that the families share: named chains, joined branches, convolutions, the head, initial weights.

A network is a chain of named modules, so that any feature can be read by a module's name. No ReLU works in place, so
a feature stays as it was computed. Training needs no more memory for that, since batch normalization keeps its input
and ReLU its output anyway.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn


def chain(**modules: nn.Module) -> nn.Sequential:
    """Return a sequence of modules with names, applied from first to last."""
    return nn.Sequential(OrderedDict(modules))


class Sum(nn.Module):
    """body(x) + shortcut(x): a residual block before its activation."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both branches."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


class Concat(nn.Module):
    """The channels of every branch's output, one branch after the other."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' outputs joined along the channels."""
        return torch.cat([branch(x) for branch in self.children()], 1)


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution, padded so that stride 1 keeps the image size."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """Return a convolution, batch normalization and ReLU."""
    return chain(
        conv=conv(in_channels, out_channels, kernel, stride, groups, bias),
        norm=nn.BatchNorm2d(out_channels),
        relu=nn.ReLU(),
    )


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the shortcut of a block: the identity if it fits, otherwise a 1x1 convolution with normalization."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return chain(conv=conv(in_channels, out_channels, 1, stride), norm=nn.BatchNorm2d(out_channels))


def head(channels: int, num_classes: int) -> dict[str, nn.Module]:
    """Return the end of a network: global average pooling and a linear classifier."""
    return {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(1),
        "classifier": nn.Linear(channels, num_classes),
    }


def init_he(network: nn.Sequential, classifier_std: float | None = None) -> nn.Sequential:
    """Draw initial weights as in the original Torch code of ResNet and DenseNet; return the network.

    Convolutions come from N(0, 2 / (kernel area x output channels)), where a grouped convolution counts all its
    output channels; biases are zero. With `classifier_std`, linear weights come from N(0, classifier_std^2);
    otherwise they stay as torch drew them. On the meta device, which has no numbers, nothing is drawn.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        return network  # torch would run a decomposition in Python for each tensor, half the time of building
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan))
        elif isinstance(module, nn.Linear) and classifier_std is not None:
            nn.init.normal_(module.weight, 0.0, classifier_std)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
