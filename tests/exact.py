"""A network whose scores for an image are the same in any batch, on any processor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Exact(nn.Module):
    """A network that computes in float64 and rounds once, at the end.

    On many processors a row of a matrix product has another last bit in another batch, or in another place of it
    (docs/decisions/0005-teacher-store.md). What a store of logits promises holds bit for bit only for a teacher whose
    answers do not depend on that.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int = 64) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64 * in_channels, width), nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return rounded(linear(self.head, linear(self.body, x.flatten(1)).relu()))


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """The output of a layer, in float64."""
    return F.linear(x.double(), layer.weight.double(), layer.bias.double())


def rounded(logits: Tensor) -> Tensor:
    """Round to the precision of the logits of a network here: bfloat16 under autocast, else float32."""
    return logits.bfloat16() if torch.is_autocast_enabled("cpu") else logits.float()
