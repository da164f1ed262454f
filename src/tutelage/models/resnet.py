"""The four-stage residual networks of ImageNet with a stem for small images: one 3x3 convolution, no pooling.

Shortcuts that change the shape are normalized 1x1 convolutions (option B of the paper). In `resnet50` the 3x3
convolution of a bottleneck has the stride. The output of `stageS.B.sum` is the value before the last ReLU of
block B of stage S.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1.
"""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import Sum, chain, conv, conv_norm_relu, head, init_he, projection


def _basic(in_channels: int, width: int, stride: int) -> nn.Module:
    body = chain(
        conv1=conv(in_channels, width, 3, stride),
        norm1=nn.BatchNorm2d(width),
        relu1=nn.ReLU(),
        conv2=conv(width, width, 3),
        norm2=nn.BatchNorm2d(width),
    )
    return chain(sum=Sum(body, projection(in_channels, width, stride)), relu=nn.ReLU())


def bottleneck_stage(
    in_channels: int, width: int, out_channels: int, depth: int, stride: int, groups: int = 1
) -> nn.Sequential:
    """Return `depth` blocks of 1x1, 3x3 in groups, 1x1, of which the first has the stride."""

    def block(in_channels: int, stride: int) -> nn.Module:
        body = chain(
            conv1=conv(in_channels, width, 1),
            norm1=nn.BatchNorm2d(width),
            relu1=nn.ReLU(),
            conv2=conv(width, width, 3, stride, groups),
            norm2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            conv3=conv(width, out_channels, 1),
            norm3=nn.BatchNorm2d(out_channels),
        )
        return chain(sum=Sum(body, projection(in_channels, out_channels, stride)), relu=nn.ReLU())

    return nn.Sequential(block(in_channels, stride), *(block(out_channels, 1) for _ in range(depth - 1)))


def resnet18(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-18 for small images (11.2 M parameters).

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> resnet18()(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])

    Source: He et al., arXiv 1512.03385, table 1.
    """
    return init_he(
        chain(
            stem=conv_norm_relu(in_channels, 64, 3),
            stage1=nn.Sequential(_basic(64, 64, 1), _basic(64, 64, 1)),
            stage2=nn.Sequential(_basic(64, 128, 2), _basic(128, 128, 1)),
            stage3=nn.Sequential(_basic(128, 256, 2), _basic(256, 256, 1)),
            stage4=nn.Sequential(_basic(256, 512, 2), _basic(512, 512, 1)),
            **head(512, num_classes),
        )
    )


def resnet50(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-50 for small images (23.7 M parameters at 100 classes); see `resnet18`."""
    return init_he(
        chain(
            stem=conv_norm_relu(in_channels, 64, 3),
            stage1=bottleneck_stage(64, 64, 256, 3, 1),
            stage2=bottleneck_stage(256, 128, 512, 4, 2),
            stage3=bottleneck_stage(512, 256, 1024, 6, 2),
            stage4=bottleneck_stage(1024, 512, 2048, 3, 2),
            **head(2048, num_classes),
        )
    )
