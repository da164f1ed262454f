"""Scalars, the temperatures and weights of terms: their protocol, and those that belong to no single paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from torch import Tensor

from tutelage.objective.formula import number
from tutelage.objective.signals import Signals

Shape = Literal["linear", "cosine"]


@runtime_checkable
class Scalar(Protocol):
    """A temperature or weight: one number for the batch, or one for each sample; no gradient passes through it."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it reads the teacher's logits or features."""
        ...

    def __call__(self, signals: Signals) -> float | Tensor:
        """The number, ``[]`` or ``[B]``."""
        ...

    def formula(self) -> str:
        """The scalar as written in a formula."""
        ...


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
        """The number as text."""
        return number(self.value)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A number that goes from ``from_`` to ``to`` while training goes from ``start`` to ``stop``.

    Formula: ``from_ + (to - from_) s``, ``s = clip((progress - start) / (stop - start), 0, 1)``; with ``cosine``
    ``s`` becomes ``(1 - cos(pi s)) / 2``. With ``start == stop`` it is a jump.

    Units: ``start`` and ``stop`` are shares of training in ``[0, 1]``, not epochs.

    Errors: ``ValueError`` for shares out of order, ends that are not finite, an unknown shape, or signals without
    ``progress``.

    >>> import torch
    >>> rise = Ramp(0.0, 0.5, to=0.9)
    >>> rise.formula()
    '(0 to 0.9 over progress 0 to 0.5)'
    >>> import torch
    >>> logits, labels = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    >>> [rise(Signals(student_logits=logits, labels=labels, progress=done)) for done in (0.0, 0.25, 0.75)]
    [0.0, 0.45, 0.9]

    Source: none needed; the warm-up in the mdistiller code is an example.
    """

    start: float = 0.0
    stop: float = 1.0
    from_: float = 0.0
    to: float = 1.0
    shape: Shape = "linear"
    needs_teacher = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.stop <= 1.0:
            raise ValueError(f"a ramp needs 0 <= start <= stop <= 1, not {self.start} and {self.stop}")
        if not (math.isfinite(self.from_) and math.isfinite(self.to)):
            raise ValueError(f"a ramp goes between finite numbers, not from {self.from_} to {self.to}")
        if self.shape not in get_args(Shape):
            raise ValueError(f"the shape of a ramp is {' or '.join(get_args(Shape))}, not {self.shape!r}")
        for name in ("start", "stop", "from_", "to"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def __call__(self, signals: Signals) -> float:
        """The number at this moment of training."""
        if signals.progress is None:
            raise ValueError("this objective changes over training: the signals need progress, a share in [0, 1]")
        return self.at(signals.progress)

    def at(self, progress: float) -> float:
        """The number when a share ``progress`` of training is done."""
        if progress >= self.stop:
            return self.to
        if progress <= self.start:
            return self.from_
        share = (progress - self.start) / (self.stop - self.start)
        if self.shape == "cosine":
            share = (1.0 - math.cos(math.pi * share)) / 2.0
        return self.from_ + (self.to - self.from_) * share

    def formula(self) -> str:
        """The scalar as written in a formula."""
        suffix = "" if self.shape == "linear" else f" by {self.shape}"
        ends = f"{number(self.from_)} to {number(self.to)}{suffix}"
        return f"({ends} over progress {number(self.start)} to {number(self.stop)})"


def is_zero(scalar: Scalar, progress: float | None) -> bool:
    """Whether a weight is exactly 0 at this moment of training, known without looking at a batch.

    False for a scalar of any other kind, whose number only a batch tells, and for a ramp without ``progress``.

    >>> is_zero(Constant(0.0), None), is_zero(Ramp(0.5, 1.0), 0.25), is_zero(Ramp(0.5, 1.0), 0.75)
    (True, True, False)
    """
    match scalar:
        case Constant():
            return scalar.value == 0.0
        case Ramp():
            return progress is not None and scalar.at(progress) == 0.0
    return False
