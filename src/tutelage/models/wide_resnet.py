"""Wide residual networks with pre-activation: 6n + 4 layers in three stages of 16k, 32k and 64k channels.

The output of a stage is a value before activation; `stage2.0.norm`, `stage3.0.norm` and `norm` normalize the
outputs of stages 1, 2 and 3 before their ReLU.

Source: Zagoruyko, Komodakis, "Wide Residual Networks", arXiv 1605.07146.
"""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import Sum, chain, conv, head, init_he


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    enter = {"norm1": nn.BatchNorm2d(in_channels), "relu1": nn.ReLU()}
    body = {
        "conv1": conv(in_channels, out_channels, 3, stride),
        "norm2": nn.BatchNorm2d(out_channels),
        "relu2": nn.ReLU(),
        "conv2": conv(out_channels, out_channels, 3),
    }
    if in_channels == out_channels:
        return Sum(chain(**enter, **body), nn.Identity())
    # If the width changes, both branches start from the activated input.
    shortcut = conv(in_channels, out_channels, 1, stride)
    return chain(norm=enter["norm1"], relu=enter["relu1"], sum=Sum(chain(**body), shortcut))


def _wrn(layers: int, widen: int, num_classes: int, in_channels: int) -> nn.Module:
    depth = (layers - 4) // 6
    widths = (16, 16 * widen, 32 * widen, 64 * widen)
    stages: dict[str, nn.Module] = {}
    for i in (1, 2, 3):
        first = _block(widths[i - 1], widths[i], 1 if i == 1 else 2)
        stages[f"stage{i}"] = nn.Sequential(first, *(_block(widths[i], widths[i], 1) for _ in range(depth - 1)))
    return init_he(
        chain(
            stem=conv(in_channels, 16, 3),
            **stages,
            norm=nn.BatchNorm2d(widths[3]),
            relu=nn.ReLU(),
            **head(widths[3], num_classes),
        )
    )


def wrn_16_2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 16 layers, twice the width (0.7 M parameters).

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> wrn_16_2(num_classes=100)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 100])

    Source: Zagoruyko and Komodakis, arXiv 1605.07146, table 1.
    """
    return _wrn(16, 2, num_classes, in_channels)


def wrn_28_1(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 28 layers, single width (0.4 M parameters); see `wrn_16_2`."""
    return _wrn(28, 1, num_classes, in_channels)


def wrn_28_2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 28 layers, twice the width (1.5 M parameters); see `wrn_16_2`."""
    return _wrn(28, 2, num_classes, in_channels)


def wrn_28_5(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 28 layers, five times the width (9.1 M parameters); see `wrn_16_2`."""
    return _wrn(28, 5, num_classes, in_channels)


def wrn_28_10(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 28 layers, ten times the width (36.5 M parameters); see `wrn_16_2`."""
    return _wrn(28, 10, num_classes, in_channels)


def wrn_40_1(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 40 layers, single width (0.6 M parameters); see `wrn_16_2`."""
    return _wrn(40, 1, num_classes, in_channels)


def wrn_40_2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Wide ResNet with 40 layers, twice the width (2.2 M parameters); see `wrn_16_2`."""
    return _wrn(40, 2, num_classes, in_channels)
