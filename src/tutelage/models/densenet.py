"""Densely connected networks for small images, with bottlenecks and compression (DenseNet-BC).

Stages of dense layers, each layer BN-ReLU-1x1-BN-ReLU-3x3, joined by transitions that halve the channels and the
image. `norm` and `relu` follow the last stage, so the output of a stage is a value before activation.

Source: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", arXiv 1608.06993.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tutelage.models._layers import Concat, chain, conv, head, init_he


def _layer(in_channels: int, growth: int) -> nn.Module:
    body = chain(
        norm1=nn.BatchNorm2d(in_channels),
        relu1=nn.ReLU(),
        conv1=conv(in_channels, 4 * growth, 1),
        norm2=nn.BatchNorm2d(4 * growth),
        relu2=nn.ReLU(),
        conv2=conv(4 * growth, growth, 3),
    )
    return Concat(input=nn.Identity(), body=body)


def _densenet(
    depths: tuple[int, ...],
    growth: int,
    num_classes: int,
    in_channels: int,
    transition_activation: Callable[[], nn.Module],
) -> nn.Sequential:
    channels = 2 * growth
    modules: dict[str, nn.Module] = {"stem": conv(in_channels, channels, 3)}
    for i, depth in enumerate(depths, 1):
        modules[f"stage{i}"] = nn.Sequential(*(_layer(channels + j * growth, growth) for j in range(depth)))
        channels += depth * growth
        if i < len(depths):
            modules[f"transition{i}"] = chain(
                norm=nn.BatchNorm2d(channels),
                relu=transition_activation(),
                conv=conv(channels, channels // 2, 1),
                pool=nn.AvgPool2d(2),
            )
            channels //= 2
    return chain(**modules, norm=nn.BatchNorm2d(channels), relu=nn.ReLU(), **head(channels, num_classes))


def densenet_bc_100_12(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """DenseNet-BC with 100 layers and growth 12 (0.8 M parameters).

    Shapes: images `[B, in_channels, H, W]`, H and W at least 4 -> logits `[B, num_classes]`.

    >>> import torch
    >>> densenet_bc_100_12()(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 10])

    Source: Huang et al., arXiv 1608.06993, table 2.
    """
    return init_he(_densenet((16, 16, 16), 12, num_classes, in_channels, nn.ReLU))


def densenet_bc_190_40(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """DenseNet-BC with 190 layers and growth 40 (25.6 M parameters); see `densenet_bc_100_12`."""
    return init_he(_densenet((31, 31, 31), 40, num_classes, in_channels, nn.ReLU))


def densenet121(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """DenseNet-121 for small images (7.0 M parameters), as in Tf-KD.

    The stem is one 3x3 convolution, the transitions have no activation, weights have torch's default initialization.

    Shapes: images `[B, in_channels, H, W]`, H and W at least 8 -> logits `[B, num_classes]`.

    Source: Huang et al., arXiv 1608.06993, table 1; the public code of Yuan et al., arXiv 1909.11723.
    """
    return _densenet((6, 12, 24, 16), 32, num_classes, in_channels, nn.Identity)
