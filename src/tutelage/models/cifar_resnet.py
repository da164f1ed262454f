"""Residual networks for small images: 6n + 2 layers in three stages of 16, 32 and 64 channels.

Shortcuts have no parameters (option A of the paper), except in the wide `resnet8x4` and `resnet32x4`, whose
shortcuts are normalized 1x1 convolutions where the shape changes (option B). The output of `stageS.B.sum` is the
value before the last ReLU of block B of stage S.

The CRD benchmark has option B in the narrow networks too: its resnet20 has 278,324 parameters at 100 classes, the
one here 275,572.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.models._layers import Sum, chain, conv, conv_norm_relu, head, init_he, projection

Shortcut = Callable[[int, int, int], nn.Module]  # (input channels, output channels, stride) -> module


class PadShortcut(nn.Module):
    """Take every second pixel, and fill the added channels with zeros."""

    def __init__(self, added_channels: int) -> None:
        super().__init__()
        self.added_channels = added_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C + added_channels, ceil(H / 2), ceil(W / 2)]`."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added_channels))


def _pad(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else PadShortcut(out_channels - in_channels)


def _block(in_channels: int, out_channels: int, stride: int, shortcut: Shortcut) -> nn.Module:
    body = chain(
        conv1=conv(in_channels, out_channels, 3, stride),
        norm1=nn.BatchNorm2d(out_channels),
        relu1=nn.ReLU(),
        conv2=conv(out_channels, out_channels, 3),
        norm2=nn.BatchNorm2d(out_channels),
    )
    return chain(sum=Sum(body, shortcut(in_channels, out_channels, stride)), relu=nn.ReLU())


def _resnet(
    layers: int,
    num_classes: int,
    in_channels: int,
    widths: tuple[int, int, int, int] = (16, 16, 32, 64),
    shortcut: Shortcut = _pad,
) -> nn.Module:
    depth = (layers - 2) // 6
    stages: dict[str, nn.Module] = {}
    for i in (1, 2, 3):
        first = _block(widths[i - 1], widths[i], 1 if i == 1 else 2, shortcut)
        rest = (_block(widths[i], widths[i], 1, shortcut) for _ in range(depth - 1))
        stages[f"stage{i}"] = nn.Sequential(first, *rest)
    return init_he(chain(stem=conv_norm_relu(in_channels, widths[0], 3), **stages, **head(widths[3], num_classes)))


def resnet8(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-8 for small images (0.08 M parameters); see `resnet20`."""
    return _resnet(8, num_classes, in_channels)


def resnet14(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-14 for small images (0.17 M parameters); see `resnet20`."""
    return _resnet(14, num_classes, in_channels)


def resnet20(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-20 for small images (0.27 M parameters).

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> resnet20(num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 100])

    Source: He et al., arXiv 1512.03385, section 4.2, n = 3.
    """
    return _resnet(20, num_classes, in_channels)


def resnet32(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-32 for small images (0.46 M parameters); see `resnet20`."""
    return _resnet(32, num_classes, in_channels)


def resnet44(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-44 for small images (0.66 M parameters); see `resnet20`."""
    return _resnet(44, num_classes, in_channels)


def resnet56(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-56 for small images (0.85 M parameters); see `resnet20`."""
    return _resnet(56, num_classes, in_channels)


def resnet110(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-110 for small images (1.7 M parameters); see `resnet20`."""
    return _resnet(110, num_classes, in_channels)


def resnet8x4(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-8 with four times the width and 1x1 shortcuts (1.2 M parameters); see `resnet20`.

    Source: the CRD benchmark (Tian, Krishnan, Isola, arXiv 1910.10699).
    """
    return _resnet(8, num_classes, in_channels, (32, 64, 128, 256), projection)


def resnet32x4(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-32 with four times the width and 1x1 shortcuts (7.4 M parameters); see `resnet20`.

    Source: the CRD benchmark (Tian, Krishnan, Isola, arXiv 1910.10699).
    """
    return _resnet(32, num_classes, in_channels, (32, 64, 128, 256), projection)
