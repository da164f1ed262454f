"""Parameter counts, against published numbers and against sums by hand from the architectures' tables.

The stored text of the public codes prints no counts for the CRD benchmark's ResNet 8x4/32x4, WRN-16-2, VGG,
MobileNetV2 and ShuffleNetV1, nor for Tf-KD's GoogLeNet and plain CNN: those rest on the sums by hand alone.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch

from tutelage import models


@cache
def count(name: str, num_classes: int) -> int:
    with torch.device("meta"):
        network = getattr(models, name)(num_classes)
    return sum(p.numel() for p in network.parameters())


EXACT = [
    # He et al.'s CIFAR-10 networks with identity shortcuts, as counted by public reimplementations, e.g.
    # akamaster/pytorch_resnet_cifar10.
    ("resnet20", 10, 269_722),
    ("resnet32", 10, 464_154),
    ("resnet44", 10, 658_586),
    ("resnet56", 10, 853_018),
    ("resnet110", 10, 1_727_962),
    # L = 100, k = 12 with bottleneck and compression, bamos/densenet.pytorch.
    ("densenet_bc_100_12", 10, 769_162),
    # The common CIFAR forms, kuangliu/pytorch-cifar and weiaicunzai/pytorch-cifar100.
    ("resnet18", 10, 11_173_962),
    ("resnet18", 100, 11_220_132),
    ("resnet50", 100, 23_705_252),
    # torchvision's `num_params` at 1000 classes; the differences are written out. The stems of ImageNet are
    # 7x7 convolutions to 64 channels (DenseNet's with a norm) and ShuffleNet's 3x3 to 24.
    ("resnet18", 1000, 11_689_512 - 49 * 3 * 64 + 9 * 3 * 64),
    ("resnet50", 1000, 25_557_032 - 49 * 3 * 64 + 9 * 3 * 64),
    ("resnext101_32x8d", 1000, 88_791_336 - 49 * 3 * 64 + 9 * 3 * 64),
    ("densenet121", 1000, 7_978_856 - 49 * 3 * 64 - 2 * 64 + 9 * 3 * 64),
    ("shufflenet_v2", 1000, 2_278_604 - 9 * 3 * 24 + 3 * 24),
    # Here also: a 1x1 stem instead of 3x3, a normalised 1x1 convolution of 32 channels in the first block, and a
    # bias beside each of the 17,056 + 32 normalised channels.
    ("mobilenet_v2", 1000, 3_504_872 - 9 * 3 * 32 + 3 * 32 + 32 * 32 + 2 * 32 + 17_056 + 32),
]

ROUNDED = [
    # He et al., arXiv 1512.03385, table 6.
    ("resnet20", 10, "0.27"),
    ("resnet32", 10, "0.46"),
    ("resnet44", 10, "0.66"),
    ("resnet56", 10, "0.85"),
    ("resnet110", 10, "1.7"),
    # Huang et al., arXiv 1608.06993, table 2.
    ("densenet_bc_100_12", 10, "0.8"),
    ("densenet_bc_190_40", 10, "25.6"),
    # Xie et al., arXiv 1611.05431, table 7.
    ("resnext29_8x64d", 10, "34.4"),
    # Zagoruyko and Komodakis, arXiv 1605.07146, table 4.
    ("wrn_28_10", 10, "36.5"),
    ("wrn_40_1", 10, "0.6"),
    ("wrn_40_2", 10, "2.2"),
]

# README of weiaicunzai/pytorch-cifar100, whose networks Tf-KD trains; it cuts digits off instead of rounding.
CUT = [
    ("mobilenet_v2", "2.36"),
    ("shufflenet_v2_tfkd", "1.3"),
    ("densenet121", "7.0"),
    ("googlenet", "6.2"),
    ("resnet18", "11.2"),
    ("resnet50", "23.7"),
]


@pytest.mark.parametrize(("name", "num_classes", "expected"), EXACT)
def test_published_count(name: str, num_classes: int, expected: int) -> None:
    assert count(name, num_classes) == expected


@pytest.mark.parametrize(("name", "num_classes", "millions"), ROUNDED)
def test_count_rounds_to_the_published_figure(name: str, num_classes: int, millions: str) -> None:
    digits = len(millions.partition(".")[2])
    assert f"{count(name, num_classes) / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize(("name", "millions"), CUT)
def test_count_begins_with_the_published_figure(name: str, millions: str) -> None:
    digits = len(millions.partition(".")[2])
    assert math.floor(count(name, 100) / 1e6 * 10**digits) == round(float(millions) * 10**digits)


# Below, parameters as the tables give them: a convolution (without bias) with its normalisation, and so on.


def unit(inputs: int, outputs: int, kernel: int, groups: int = 1) -> int:
    return kernel * kernel * inputs * outputs // groups + 2 * outputs


def biased(inputs: int, outputs: int, kernel: int, groups: int = 1) -> int:
    return unit(inputs, outputs, kernel, groups) + outputs


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def wide(n: int) -> int:
    total = unit(3, 32, 3) + linear(256, 100)
    for before, width in ((32, 64), (64, 128), (128, 256)):
        total += unit(before, width, 3) + unit(width, width, 3) + unit(before, width, 1)
        total += 2 * (n - 1) * unit(width, width, 3)
    return total


def wrn(n: int, k: int) -> int:
    total = 27 * 16 + 2 * 64 * k + linear(64 * k, 100)
    before = 16
    for width in (16 * k, 32 * k, 64 * k):
        total += 2 * before + 9 * before * width + 2 * width + 9 * width * width  # the first block
        total += (n - 1) * 2 * (2 * width + 9 * width * width)
        total += before * width * (before != width)
        before = width
    return total


def mobilenet_half() -> int:
    total = unit(3, 16, 3) + unit(160, 1280, 1) + linear(1280, 100)
    before = 16
    for expansion, width, depth in (
        (1, 8, 1),
        (6, 12, 2),
        (6, 16, 3),
        (6, 32, 4),
        (6, 48, 3),
        (6, 80, 3),
        (6, 160, 1),
    ):
        for _ in range(depth):
            inner = expansion * before
            total += unit(before, inner, 1) + unit(inner, inner, 3, inner) + unit(inner, width, 1)
            before = width
    return total


def shuffle_v1() -> int:
    total = unit(3, 24, 1) + linear(960, 100)
    before = 24
    for width, depth in ((240, 4), (480, 8), (960, 4)):
        new = width - before  # the shortcut brings the other channels
        groups = 1 if before == 24 else 3
        total += unit(before, new // 4, 1, groups) + unit(new // 4, new // 4, 3, new // 4) + unit(new // 4, new, 1, 3)
        inner = width // 4
        total += (depth - 1) * (unit(width, inner, 1, 3) + unit(inner, inner, 3, inner) + unit(inner, width, 1, 3))
        before = width
    return total


def shuffle_v2_tfkd() -> int:
    total = biased(3, 24, 3) + biased(464, 1024, 1) + linear(1024, 100)
    before = 24
    for width, depth in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        total += biased(before, before, 3, before) + biased(before, half, 1)
        total += biased(before, before, 1) + biased(before, before, 3, before) + biased(before, half, 1)
        total += (depth - 1) * (2 * biased(half, half, 1) + biased(half, half, 3, half))
        before = width
    return total


def inception(inputs: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int) -> int:
    total = (
        biased(inputs, one, 1) + biased(inputs, reduce3, 1) + biased(reduce3, three, 3) + biased(inputs, pooled, 1)
    )
    return total + biased(inputs, reduce5, 1) + biased(reduce5, five, 3) + biased(five, five, 3)


def resnext29() -> int:
    total = unit(3, 64, 3) + linear(1024, 100)
    before = 64
    for width in (256, 512, 1024):
        inner = 2 * width
        total += unit(before, width, 1)
        for inputs in (before, width, width):
            total += unit(inputs, inner, 1) + unit(inner, inner, 3, 8) + unit(inner, width, 1)
        before = width
    return total


BY_HAND = {
    "resnet8x4": (1_233_540, wide(1)),
    "resnet32x4": (7_433_860, wide(5)),
    "wrn_16_2": (703_284, wrn(2, 2)),
    "wrn_28_1": (375_348, wrn(4, 1)),
    "wrn_28_2": (1_479_220, wrn(4, 2)),
    "wrn_28_5": (9_161_524, wrn(4, 5)),
    "wrn_28_10": (36_536_884, wrn(4, 10)),
    "wrn_40_1": (569_780, wrn(6, 1)),
    "wrn_40_2": (2_255_156, wrn(6, 2)),
    "vgg8": (
        3_965_028,
        sum(biased(i, o, 3) for i, o in ((3, 64), (64, 128), (128, 256), (256, 512), (512, 512))) + linear(512, 100),
    ),
    "vgg13": (
        9_462_180,
        sum(biased(i, o, 3) + biased(o, o, 3) for i, o in ((3, 64), (64, 128), (128, 256), (256, 512), (512, 512)))
        + linear(512, 100),
    ),
    "mobilenet_v2_half": (812_836, mobilenet_half()),
    "shufflenet_v1": (949_258, shuffle_v1()),
    "shufflenet_v2_tfkd": (1_360_896, shuffle_v2_tfkd()),
    "resnext29_8x64d": (34_518_948, resnext29()),
    "googlenet": (
        6_258_500,
        biased(3, 192, 3)
        + inception(192, 64, 96, 128, 16, 32, 32)
        + inception(256, 128, 128, 192, 32, 96, 64)
        + inception(480, 192, 96, 208, 16, 48, 64)
        + inception(512, 160, 112, 224, 24, 64, 64)
        + inception(512, 128, 128, 256, 24, 64, 64)
        + inception(512, 112, 144, 288, 32, 64, 64)
        + inception(528, 256, 160, 320, 32, 128, 128)
        + inception(832, 256, 160, 320, 32, 128, 128)
        + inception(832, 384, 192, 384, 48, 128, 128)
        + linear(1024, 100),
    ),
    "plain_cnn": (
        369_124,
        biased(3, 32, 3) + biased(32, 64, 3) + biased(64, 128, 3) + linear(2048, 128) + 2 * 128 + linear(128, 100),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_count_by_hand(name: str) -> None:
    literal, by_hand = BY_HAND[name]
    assert count(name, 100) == by_hand == literal


@pytest.mark.parametrize("layers", [8, 14, 20, 32, 44, 56, 110])
def test_cifar_resnet_count_by_hand(layers: int) -> None:
    n = (layers - 2) // 6
    total = unit(3, 16, 3) + linear(64, 100)
    for before, width in ((16, 16), (16, 32), (32, 64)):
        total += unit(before, width, 3) + (2 * n - 1) * unit(width, width, 3)
    assert count(f"resnet{layers}", 100) == total


@pytest.mark.parametrize(("layers", "growth"), [(100, 12), (190, 40)])
def test_densenet_bc_count_by_hand(layers: int, growth: int) -> None:
    channels = 2 * growth
    total = 27 * channels
    for stage in range(3):
        for _ in range((layers - 4) // 6):
            total += 2 * channels + unit(channels, 4 * growth, 1) + 9 * 4 * growth * growth
            channels += growth
        if stage < 2:
            total += 2 * channels + channels * (channels // 2)
            channels //= 2
    assert count(f"densenet_bc_{layers}_{growth}", 100) == total + 2 * channels + linear(channels, 100)


@pytest.mark.parametrize("name", models.__all__)
def test_one_input_channel_saves_two_thirds_of_the_first_kernel(name: str) -> None:
    with torch.device("meta"):
        parameters = [p.numel() for p in getattr(models, name)(100, in_channels=1).parameters()]
    assert count(name, 100) - sum(parameters) == 2 * parameters[0]
