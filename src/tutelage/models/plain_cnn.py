"""The small convolutional network without shortcuts that Tf-KD uses as a weak student."""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import chain, conv


def _stage(in_channels: int, out_channels: int) -> nn.Sequential:
    return chain(
        conv=conv(in_channels, out_channels, 3, bias=True),
        norm=nn.BatchNorm2d(out_channels),
        maxpool=nn.MaxPool2d(2),
        relu=nn.ReLU(),
    )


def plain_cnn(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Three convolutions and two linear layers with dropout (0.36 M parameters).

    A 32x32 image reaches the linear layers as 4x4; other sizes are averaged to 4x4. Weights have torch's
    default initialization.

    Shapes: images `[B, in_channels, H, W]`, H and W at least 8 -> logits `[B, num_classes]`.

    >>> import torch
    >>> plain_cnn()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

    Source: the public code of Yuan et al., arXiv 1909.11723, with the 32 channels of its experiments.
    """
    return chain(
        stage1=_stage(in_channels, 32),
        stage2=_stage(32, 64),
        stage3=_stage(64, 128),
        pool=nn.AdaptiveAvgPool2d(4),
        flatten=nn.Flatten(1),
        hidden=chain(linear=nn.Linear(4 * 4 * 128, 128), norm=nn.BatchNorm1d(128), relu=nn.ReLU()),
        dropout=nn.Dropout(0.5),
        classifier=nn.Linear(128, num_classes),
    )
