"""Residual networks with grouped convolutions and a stem for small images: one 3x3 convolution, no pooling.

8x64d means 8 groups of 64 channels each in the first stage.

Source: Xie, Girshick, Dollár, Tu, He, "Aggregated Residual Transformations for Deep Neural Networks",
arXiv 1611.05431.
"""

from __future__ import annotations

import math

from torch import nn

from tutelage.models._layers import chain, conv_norm_relu, head, init_he
from tutelage.models.resnet import bottleneck_stage


def resnext29_8x64d(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNeXt-29, 8x64d (34.4 M parameters).

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> with torch.device("meta"):
    ...     resnext29_8x64d()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

    Source: Xie et al., arXiv 1611.05431, section 5.3.
    """
    return init_he(
        chain(
            stem=conv_norm_relu(in_channels, 64, 3),
            stage1=bottleneck_stage(64, 512, 256, 3, 1, groups=8),
            stage2=bottleneck_stage(256, 1024, 512, 3, 2, groups=8),
            stage3=bottleneck_stage(512, 2048, 1024, 3, 2, groups=8),
            **head(1024, num_classes),
        ),
        classifier_std=math.sqrt(2 / 1024),
    )


def resnext101_32x8d(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNeXt-101, 32x8d, with the stem for small images (86.8 M parameters at 10 classes); see `resnext29_8x64d`."""
    return init_he(
        chain(
            stem=conv_norm_relu(in_channels, 64, 3),
            stage1=bottleneck_stage(64, 256, 256, 3, 1, groups=32),
            stage2=bottleneck_stage(256, 512, 512, 4, 2, groups=32),
            stage3=bottleneck_stage(512, 1024, 1024, 23, 2, groups=32),
            stage4=bottleneck_stage(1024, 2048, 2048, 3, 2, groups=32),
            **head(2048, num_classes),
        )
    )
