"""Image classifiers: functions `(num_classes, in_channels) -> nn.Module`, one file per family."""

from tutelage.models.cifar_resnet import (
    resnet8,
    resnet8x4,
    resnet14,
    resnet20,
    resnet32,
    resnet32x4,
    resnet44,
    resnet56,
    resnet110,
)
from tutelage.models.densenet import densenet121, densenet_bc_100_12, densenet_bc_190_40
from tutelage.models.googlenet import googlenet
from tutelage.models.mobilenet import mobilenet_v2, mobilenet_v2_half
from tutelage.models.plain_cnn import plain_cnn
from tutelage.models.resnet import resnet18, resnet50
from tutelage.models.resnext import resnext29_8x64d, resnext101_32x8d
from tutelage.models.shufflenet import shufflenet_v1, shufflenet_v2, shufflenet_v2_tfkd
from tutelage.models.vgg import vgg8, vgg13
from tutelage.models.wide_resnet import wrn_16_2, wrn_28_1, wrn_28_2, wrn_28_5, wrn_28_10, wrn_40_1, wrn_40_2

__all__ = [
    "densenet121",
    "densenet_bc_100_12",
    "densenet_bc_190_40",
    "googlenet",
    "mobilenet_v2",
    "mobilenet_v2_half",
    "plain_cnn",
    "resnet8",
    "resnet8x4",
    "resnet14",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet32x4",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet110",
    "resnext29_8x64d",
    "resnext101_32x8d",
    "shufflenet_v1",
    "shufflenet_v2",
    "shufflenet_v2_tfkd",
    "vgg8",
    "vgg13",
    "wrn_16_2",
    "wrn_28_1",
    "wrn_28_2",
    "wrn_28_5",
    "wrn_28_10",
    "wrn_40_1",
    "wrn_40_2",
]
