"""Small tensor operations that several files of this package share."""

from __future__ import annotations

import torch
from torch import Tensor

_NO_DIRECTION = 1e-12


def other_classes(classes: Tensor, num_classes: int) -> Tensor:
    """The indices of all other classes, in order: ``[B, K - 1]`` for classes ``[B]``.

    >>> other_classes(torch.tensor([1, 0]), 3)
    tensor([[0, 2],
            [1, 2]])
    """
    position = torch.arange(num_classes - 1, device=classes.device)
    return position + (position >= classes[:, None]).long()


def unit(vectors: Tensor) -> Tensor:
    """Scale vectors (the last dimension) to unit norm; one shorter than 1e-12 stays as it is.

    Dividing those by a small constant instead would give them a gradient as large as the constant is small.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(norm > _NO_DIRECTION, norm, 1.0)


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Turn a value of the whole batch into one per example: all get the same, so that their mean is the value.

    >>> spread(torch.tensor(0.5), torch.zeros(3, 2))
    tensor([0.5000, 0.5000, 0.5000])
    """
    return value.expand(like.shape[0])
