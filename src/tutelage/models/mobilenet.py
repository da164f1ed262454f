"""MobileNetV2 for small images, in the two forms that distillation papers use.

Seven stages of inverted residuals: a 1x1 convolution to more channels, a 3x3 on each channel by itself, a 1x1 back,
with no activation at the end, so the output of a stage is linear.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2", arXiv 1801.04381.
"""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import Sum, chain, conv, conv_norm_relu, head, init_he

WIDTHS = (16, 24, 32, 64, 96, 160, 320)
DEPTHS = (1, 2, 3, 4, 3, 3, 1)
EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)


def _block(
    in_channels: int, out_channels: int, stride: int, expansion: int, activation: type[nn.Module], bias: bool
) -> nn.Module:
    inner = in_channels * expansion
    body = chain(
        conv1=conv(in_channels, inner, 1, bias=bias),
        norm1=nn.BatchNorm2d(inner),
        relu1=activation(),
        conv2=conv(inner, inner, 3, stride, groups=inner, bias=bias),
        norm2=nn.BatchNorm2d(inner),
        relu2=activation(),
        conv3=conv(inner, out_channels, 1, bias=bias),
        norm3=nn.BatchNorm2d(out_channels),
    )
    return Sum(body, nn.Identity()) if stride == 1 and in_channels == out_channels else body


def _stages(
    channels: int, widths: tuple[int, ...], strides: tuple[int, ...], activation: type[nn.Module], bias: bool
) -> dict[str, nn.Module]:
    stages: dict[str, nn.Module] = {}
    for i, (width, depth, stride, expansion) in enumerate(zip(widths, DEPTHS, strides, EXPANSIONS, strict=True), 1):
        first = _block(channels, width, stride, expansion, activation, bias)
        rest = (_block(width, width, 1, expansion, activation, bias) for _ in range(depth - 1))
        stages[f"stage{i}"] = nn.Sequential(first, *rest)
        channels = width
    return stages


def mobilenet_v2_half(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """MobileNetV2 of half width (0.8 M parameters at 100 classes), as in the CRD benchmark.

    ReLU instead of ReLU6; the stem and stages 3, 4 and 6 halve the image, so that 32x32 ends as 2x2.

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> mobilenet_v2_half(num_classes=100)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 100])

    Source: Sandler et al., arXiv 1801.04381, table 2; the public code of Tian et al., arXiv 1910.10699.
    """
    widths = tuple(width // 2 for width in WIDTHS)
    return init_he(
        chain(
            stem=conv_norm_relu(in_channels, 16, 3, stride=2),
            **_stages(16, widths, (1, 1, 2, 2, 1, 2, 1), nn.ReLU, bias=False),
            tail=conv_norm_relu(160, 1280, 1),
            **head(1280, num_classes),
        ),
        classifier_std=0.01,
    )


def mobilenet_v2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """MobileNetV2 (2.4 M parameters at 100 classes), as in Tf-KD.

    Convolutions have biases; the stem is a 1x1 convolution that adds a border of one pixel; stages 2, 3 and 4
    halve the image. Weights have torch's default initialization.

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    Source: Sandler et al., arXiv 1801.04381, table 2; the public code of Yuan et al., arXiv 1909.11723.
    """
    return chain(
        stem=chain(conv=nn.Conv2d(in_channels, 32, 1, padding=1), norm=nn.BatchNorm2d(32), relu=nn.ReLU6()),
        **_stages(32, WIDTHS, (1, 2, 2, 2, 1, 1, 1), nn.ReLU6, bias=True),
        tail=chain(conv=conv(320, 1280, 1, bias=True), norm=nn.BatchNorm2d(1280), relu=nn.ReLU6()),
        **head(1280, num_classes),
    )
