"""ShuffleNet V1 and V2 for small images, in the forms that distillation papers use.

Three stages, each halving the image at its start. Weights have torch's default initialization, as in
the public codes.

Source: Zhang, Zhou, Lin, Sun, "ShuffleNet", arXiv 1707.01083;
Ma, Zhang, Zheng, Sun, "ShuffleNet V2", arXiv 1807.11164.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.models._layers import Concat, Sum, chain, conv, conv_norm_relu, head


class SecondHalf(nn.Module):
    """Pass the first half of the channels through, and apply `body` to the second half."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return both halves joined."""
        first, second = x.chunk(2, 1)
        return torch.cat([first, self.body(second)], 1)


def _v1_block(in_channels: int, out_channels: int, stride: int, groups: int, first_groups: int) -> nn.Module:
    branch_channels = out_channels - in_channels if stride == 2 else out_channels
    inner = branch_channels // 4
    body = chain(
        conv1=conv(in_channels, inner, 1, groups=first_groups),
        norm1=nn.BatchNorm2d(inner),
        relu1=nn.ReLU(),
        shuffle=nn.ChannelShuffle(first_groups),
        conv2=conv(inner, inner, 3, stride, groups=inner),
        norm2=nn.BatchNorm2d(inner),
        relu2=nn.ReLU(),
        conv3=conv(inner, branch_channels, 1, groups=groups),
        norm3=nn.BatchNorm2d(branch_channels),
    )
    if stride == 2:
        return chain(concat=Concat(body=body, shortcut=nn.AvgPool2d(3, stride=2, padding=1)), relu=nn.ReLU())
    return chain(sum=Sum(body, nn.Identity()), relu=nn.ReLU())


def _v1_stage(in_channels: int, out_channels: int, depth: int, first_groups: int) -> nn.Sequential:
    rest = (_v1_block(out_channels, out_channels, 1, 3, 3) for _ in range(depth - 1))
    return nn.Sequential(_v1_block(in_channels, out_channels, 2, 3, first_groups), *rest)


def shufflenet_v1(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ShuffleNet V1 with 3 groups (0.9 M parameters at 100 classes), as in the CRD benchmark.

    The ReLU after each 3x3 convolution is from that code, not the paper. The output of `stageS.B.sum` (`concat` in a
    first block) is the value before the block's last ReLU.

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> shufflenet_v1(num_classes=100)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 100])

    Source: Zhang et al., arXiv 1707.01083, table 1; the public code of Tian et al., arXiv 1910.10699.
    """
    return chain(
        stem=conv_norm_relu(in_channels, 24, 1),
        stage1=_v1_stage(24, 240, 4, first_groups=1),
        stage2=_v1_stage(240, 480, 8, first_groups=3),
        stage3=_v1_stage(480, 960, 4, first_groups=3),
        **head(960, num_classes),
    )


def _v2_body(in_channels: int, inner: int, out_channels: int, stride: int, bias: bool) -> nn.Sequential:
    return chain(
        conv1=conv(in_channels, inner, 1, bias=bias),
        norm1=nn.BatchNorm2d(inner),
        relu1=nn.ReLU(),
        conv2=conv(inner, inner, 3, stride, groups=inner, bias=bias),
        norm2=nn.BatchNorm2d(inner),
        conv3=conv(inner, out_channels, 1, bias=bias),
        norm3=nn.BatchNorm2d(out_channels),
        relu3=nn.ReLU(),
    )


def _v2_stage(in_channels: int, out_channels: int, depth: int, inner: int, bias: bool) -> nn.Sequential:
    half = out_channels // 2
    shortcut = chain(
        conv1=conv(in_channels, in_channels, 3, 2, groups=in_channels, bias=bias),
        norm1=nn.BatchNorm2d(in_channels),
        conv2=conv(in_channels, half, 1, bias=bias),
        norm2=nn.BatchNorm2d(half),
        relu2=nn.ReLU(),
    )
    first = chain(
        concat=Concat(shortcut=shortcut, body=_v2_body(in_channels, inner, half, 2, bias)),
        shuffle=nn.ChannelShuffle(2),
    )
    rest = (
        chain(concat=SecondHalf(_v2_body(half, half, half, 1, bias)), shuffle=nn.ChannelShuffle(2))
        for _ in range(depth - 1)
    )
    return nn.Sequential(first, *rest)


def shufflenet_v2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ShuffleNet V2 (1.4 M parameters at 100 classes), as in the CRD benchmark; see `shufflenet_v1`.

    Source: Ma et al., arXiv 1807.11164, table 5; the public code of Tian et al., arXiv 1910.10699.
    """
    return chain(
        stem=conv_norm_relu(in_channels, 24, 1),
        stage1=_v2_stage(24, 116, 4, inner=58, bias=False),
        stage2=_v2_stage(116, 232, 8, inner=116, bias=False),
        stage3=_v2_stage(232, 464, 4, inner=232, bias=False),
        tail=conv_norm_relu(464, 1024, 1),
        **head(1024, num_classes),
    )


def shufflenet_v2_tfkd(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ShuffleNet V2 (1.4 M parameters at 100 classes), as in Tf-KD; see `shufflenet_v1`.

    Convolutions have biases, the stem is a 3x3 convolution with no ReLU, and the first block of a stage narrows
    only in its last convolution.

    Source: Ma et al., arXiv 1807.11164, table 5; the public code of Yuan et al., arXiv 1909.11723.
    """
    return chain(
        stem=chain(conv=conv(in_channels, 24, 3, bias=True), norm=nn.BatchNorm2d(24)),
        stage1=_v2_stage(24, 116, 4, inner=24, bias=True),
        stage2=_v2_stage(116, 232, 8, inner=116, bias=True),
        stage3=_v2_stage(232, 464, 4, inner=232, bias=True),
        tail=conv_norm_relu(464, 1024, 1, bias=True),
        **head(1024, num_classes),
    )
