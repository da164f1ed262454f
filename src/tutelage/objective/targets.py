"""The parts a matching term is made of: targets and scalars that belong to no single paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from tutelage import functional
from tutelage.objective.signals import Signals


@runtime_checkable
class Target(Protocol):
    """A distribution over the classes for each sample; it never sees a gradient."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it asks a teacher."""
        ...

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]`` at a temperature ``[]`` or ``[B]``."""
        ...

    def formula(self, temperature: str) -> str:
        """How it reads in a formula, at a temperature written so (empty for 1)."""
        ...


@runtime_checkable
class Scalar(Protocol):
    """One number for the batch, or one for each sample ``[B]``; it never sees a gradient."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it asks a teacher."""
        ...

    def __call__(self, signals: Signals) -> float | Tensor:
        """The number, or one for each sample."""
        ...

    def formula(self) -> str:
        """How it reads in a formula."""
        ...


def number(value: float) -> str:
    """Write a number with at most six decimals and no trailing zeros.

    >>> number(4 / 7), number(4.0), number(1e-4)
    ('0.571429', '4', '0.0001')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 or value == 0 else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Constant:
    """The same number for every sample.

    >>> Constant(0.6).formula()
    '0.6'
    """

    value: float
    needs_teacher = False

    def __post_init__(self) -> None:
        if not isinstance(self.value, int | float):
            raise TypeError(f"a constant is a number, not {self.value!r}")
        object.__setattr__(self, "value", float(self.value))

    def __call__(self, signals: Signals) -> float:
        """The number."""
        return self.value

    def formula(self) -> str:
        """The number, written out."""
        return number(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels as distributions, smoothed by ``smoothing`` over all classes or over the others only.

    Formula: ``(1 - e) 1[k = y] + e / K`` or, with ``others_only``, ``1 - e`` on the label and ``e / (K - 1)`` off it.
    No temperature applies to it.

    Source: Szegedy et al. 2016; the second form is that of the official Tf-KD code.
    """

    smoothing: float = 0.0
    others_only: bool = False
    needs_teacher = False

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        dtype, classes = signals.student_logits.dtype, signals.num_classes
        if self.smoothing == 0.0:
            return functional.one_hot(signals.labels, classes, dtype=dtype)
        smooth = functional.smooth_other_labels if self.others_only else functional.smooth_labels
        return smooth(signals.labels, classes, self.smoothing, dtype=dtype)

    def formula(self, temperature: str) -> str:
        """How it reads in a formula."""
        if self.smoothing == 0.0:
            return "labels"
        return f"labels smoothed by {number(self.smoothing)}{' over the others' if self.others_only else ''}"


@dataclass(frozen=True, slots=True)
class TeacherProbs:
    """The teacher's softened prediction, ``softmax(z / T)``.

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531.
    """

    needs_teacher = True

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        return functional.soften(signals.from_teacher(), temperature)

    def formula(self, temperature: str) -> str:
        """How it reads in a formula."""
        return f"teacher{temperature}"
