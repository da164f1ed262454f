"""Learned layers that bring a student's features to the shape of its teacher's; they are no part of the student."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tutelage.objective.features import FeatureDistance
from tutelage.objective.formula import distance_name


def pointwise(inputs: int, outputs: int, like: Tensor, bias: bool = True) -> nn.Module:
    """Make a layer that mixes channels at each position: a 1x1 convolution for maps, a linear layer for vectors.

    Errors: ``ValueError`` for features that are neither ``[B, C]`` nor ``[B, C, H, W]``.

    >>> import torch
    >>> pointwise(3, 5, torch.ones(2, 3))
    Linear(in_features=3, out_features=5, bias=True)
    """
    if like.ndim == 2:
        return nn.Linear(inputs, outputs, bias)
    if like.ndim == 4:
        return nn.Conv2d(inputs, outputs, 1, bias=bias)
    raise ValueError(f"a connector takes features [B, C] or [B, C, H, W], not {list(like.shape)}")


def _reshape(student: Tensor, teacher: Tensor) -> nn.Module:
    """Make the layer that turns the student's shape into the teacher's."""
    inputs, outputs = student.shape[1], teacher.shape[1]
    size, target = student.shape[2:], teacher.shape[2:]
    if size == target:
        return pointwise(inputs, outputs, student)
    if len(size) == len(target) == 2:
        if all(one == 2 * other for one, other in zip(size, target, strict=True)):
            return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        if all(2 * one == other for one, other in zip(size, target, strict=True)):
            return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        if all(one >= other for one, other in zip(size, target, strict=True)):
            return nn.Conv2d(inputs, outputs, (1 + size[0] - target[0], 1 + size[1] - target[1]))
    raise ValueError(
        f"no connector leads from student features {list(student.shape)} to teacher features {list(teacher.shape)}: "
        "it takes vectors to vectors, and maps to maps of the same size, twice or at most the size; "
        "choose other layers, or pool them"
    )


def connector(student: Tensor, teacher: Tensor, relu: bool) -> nn.Module:
    """Make a connector from the student's features to the shape of the teacher's: a layer, batch norm, ReLU.

    The layer is a 3x3 convolution of stride 2 if the student's map is twice as large, a transposed 4x4 convolution
    if it is half as large, and otherwise a convolution without padding whose kernel removes the surplus: 1x1 for maps
    of the same size. Vectors get a linear layer, and no normalization.

    Shapes: ``[B, C, H, W]`` or ``[B, C]``, both; only their shapes matter.

    Errors: ``ValueError`` for shapes that none of these connects.

    >>> import torch
    >>> make = connector(torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4), relu=True)
    >>> make(torch.ones(2, 3, 8, 8)).shape
    torch.Size([2, 5, 4, 4])

    Source: Romero et al., "FitNets", arXiv 1412.6550, the regressor of the RepDistiller code.
    """
    layers = [_reshape(student, teacher)]
    if teacher.ndim == 4:
        layers.append(nn.BatchNorm2d(teacher.shape[1]))
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A distance after a learned connector, which is there for features of different shapes, or ``always``.

    With ``relu`` the connector ends in a ReLU, for features that come after one.

    >>> import torch
    >>> from tutelage.functional import fitnet_hint
    >>> one, other = torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4)
    >>> Connected(distance=fitnet_hint).build(one, other)(one, other).shape
    torch.Size([2])
    """

    distance: FeatureDistance
    relu: bool = False
    always: bool = False

    def build(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """Make the distance for features of these shapes."""
        if student.shape[1:] == teacher.shape[1:] and not self.always:
            return _Connected(nn.Identity(), self.distance)
        return _Connected(connector(student, teacher, self.relu), self.distance)

    def __str__(self) -> str:
        return f"connected {distance_name(self.distance)}"


class _Connected(nn.Module):
    def __init__(self, connector: nn.Module, distance: FeatureDistance) -> None:
        super().__init__()
        self.connector = connector
        self.distance = distance

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.distance(self.connector(student), teacher)
