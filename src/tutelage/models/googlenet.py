"""GoogLeNet for small images, as in Tf-KD: batch normalization, two 3x3 for each 5x5, no side classifiers.

Source: Szegedy et al., "Going Deeper with Convolutions", arXiv 1409.4842; the public code of Yuan et al.,
arXiv 1909.11723.
"""

from __future__ import annotations

from torch import nn

from tutelage.models._layers import Concat, chain, conv_norm_relu


def _inception(
    in_channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int
) -> nn.Module:
    return Concat(
        one=conv_norm_relu(in_channels, one, 1, bias=True),
        three=nn.Sequential(
            conv_norm_relu(in_channels, reduce3, 1, bias=True),
            conv_norm_relu(reduce3, three, 3, bias=True),
        ),
        five=nn.Sequential(
            conv_norm_relu(in_channels, reduce5, 1, bias=True),
            conv_norm_relu(reduce5, five, 3, bias=True),
            conv_norm_relu(five, five, 3, bias=True),
        ),
        pooled=nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm_relu(in_channels, pooled, 1, bias=True)),
    )


def googlenet(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """GoogLeNet for small images (6.3 M parameters at 100 classes).

    Weights have torch's default initialization. Tf-KD's code passes the channel count as epsilon to one
    normalization of each 5x5 branch, surely by accident; here it is the usual 1e-5.

    Shapes: images `[B, in_channels, H, W]`, any H and W -> logits `[B, num_classes]`.

    >>> import torch
    >>> googlenet(num_classes=100)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 100])

    Source: Szegedy et al., arXiv 1409.4842, table 1; the public code of Yuan et al., arXiv 1909.11723.
    """
    return chain(
        stem=conv_norm_relu(in_channels, 192, 3, bias=True),
        stage1=nn.Sequential(
            _inception(192, 64, 96, 128, 16, 32, 32),
            _inception(256, 128, 128, 192, 32, 96, 64),
        ),
        maxpool1=nn.MaxPool2d(3, 2, 1),
        stage2=nn.Sequential(
            _inception(480, 192, 96, 208, 16, 48, 64),
            _inception(512, 160, 112, 224, 24, 64, 64),
            _inception(512, 128, 128, 256, 24, 64, 64),
            _inception(512, 112, 144, 288, 32, 64, 64),
            _inception(528, 256, 160, 320, 32, 128, 128),
        ),
        maxpool2=nn.MaxPool2d(3, 2, 1),
        stage3=nn.Sequential(
            _inception(832, 256, 160, 320, 32, 128, 128),
            _inception(832, 384, 192, 384, 48, 128, 128),
        ),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(1),
        dropout=nn.Dropout(0.4),
        classifier=nn.Linear(1024, num_classes),
    )
