"""VGG for small images, with batch normalization and one linear layer, in the form of the CRD benchmark.

Max pooling follows the stem and stages 1 and 2, so that a 32x32 image enters stages 3 and 4 as 4x4. The output of
`stageS.B.norm` of the last B is the value before the stage's last ReLU.

Source: Simonyan, Zisserman, arXiv 1409.1556; the public code of Tian, Krishnan, Isola, arXiv 1910.10699.
"""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import chain, conv_norm_relu, head, init_he


def _stage(in_channels: int, width: int, depth: int) -> nn.Sequential:
    rest = (conv_norm_relu(width, width, 3, bias=True) for _ in range(depth - 1))
    return nn.Sequential(conv_norm_relu(in_channels, width, 3, bias=True), *rest)


def _vgg(depth: int, num_classes: int, in_channels: int) -> nn.Module:
    return init_he(
        chain(
            stem=_stage(in_channels, 64, depth),
            maxpool1=nn.MaxPool2d(2),
            stage1=_stage(64, 128, depth),
            maxpool2=nn.MaxPool2d(2),
            stage2=_stage(128, 256, depth),
            maxpool3=nn.MaxPool2d(2),
            stage3=_stage(256, 512, depth),
            stage4=_stage(512, 512, depth),
            **head(512, num_classes),
        ),
        classifier_std=0.01,
    )


def vgg8(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG with one convolution per stage (3.9 M parameters).

    Shapes: images `[B, in_channels, H, W]`, H and W at least 8 -> logits `[B, num_classes]`.

    >>> import torch
    >>> vgg8(num_classes=100)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 100])

    Source: the CRD benchmark (Tian et al., arXiv 1910.10699).
    """
    return _vgg(1, num_classes, in_channels)


def vgg13(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG with two convolutions per stage (9.4 M parameters); see `vgg8`."""
    return _vgg(2, num_classes, in_channels)
