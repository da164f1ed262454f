"""The inputs all golden numbers were computed from: the teacher predicts 0, 2, 1 and the student 1, 2, 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor


def tensor(values: Sequence[object] | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


STUDENT = tensor([[1.0, 2.0, 0.5, -1.0], [0.2, -0.3, 1.5, 0.7], [-0.5, 0.0, 0.3, 2.0]])
TEACHER = tensor([[2.0, 1.0, 0.1, -0.5], [0.0, 0.5, 3.0, 1.0], [0.4, 1.2, -0.7, 0.9]])
LABELS = torch.tensor([0, 2, 3])
CLASSES = 4

_index = torch.arange(16, dtype=torch.float64)
STUDENT_MAP = ((7 * _index + 3).remainder(11) / 5 - 1).reshape(2, 2, 2, 2)
TEACHER_MAP = ((5 * _index + 2).remainder(13) / 6 - 1).reshape(2, 2, 2, 2)


def near(actual: Tensor | Sequence[float] | float, expected: Sequence[object] | float, within: float = 5e-7) -> None:
    """Equal to six decimals, in float64."""
    actual = actual if isinstance(actual, Tensor) else tensor(actual)
    assert actual.dtype == torch.float64
    torch.testing.assert_close(actual, tensor(expected), rtol=0.0, atol=within)


def random_logits(seed: int, *shape: int, spread: float = 3.0) -> Tensor:
    return spread * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_labels(seed: int, rows: int, classes: int) -> Tensor:
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))


def gradient(value: Tensor, of: Tensor) -> Tensor:
    """The gradient of the sum of a loss."""
    return torch.autograd.grad(value.sum(), of)[0]


repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=30)
seeds = st.integers(0, 2**31)
rows = st.integers(1, 6)
classes = st.integers(2, 9)
temperatures = st.floats(0.5, 30.0)
