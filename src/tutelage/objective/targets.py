"""Targets, the distributions that terms match: their protocol, and those that belong to no single paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from tutelage import functional
from tutelage.objective.formula import number
from tutelage.objective.signals import Signals


@runtime_checkable
class Target(Protocol):
    """A distribution over the classes for each sample; no gradient passes through it."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it reads the teacher's logits or features."""
        ...

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]`` at a temperature ``[]`` or ``[B]``."""
        ...

    def formula(self, temperature: str) -> str:
        """The target as written in a formula; ``temperature`` is the mark of its temperature, such as ``@4``."""
        ...


@runtime_checkable
class LogitTarget(Target, Protocol):
    """A target that also exists as logits, for terms that are no function of the distribution alone."""

    def logits(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """Logits ``[B, K]`` whose softmax at this temperature is the target."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels as distributions, smoothed by ``smoothing`` over all classes or only over the others.

    Formula: ``(1 - e) 1[k = y] + e / K`` or, with ``others_only``, ``1 - e`` on the label and ``e / (K - 1)`` off it.
    Temperatures do not apply.

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
        """The target as written in a formula."""
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
        return functional.soften(self.logits(signals, temperature), temperature)

    def logits(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The teacher's logits ``[B, K]``, the same at every temperature."""
        return signals.from_teacher()

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"teacher{temperature}"


def target_logits(target: Target, signals: Signals, temperature: float | Tensor) -> Tensor:
    """The logits ``[B, K]`` of a target at a temperature.

    Errors: ``TypeError`` for a target that has none.

    >>> import torch
    >>> logits = torch.zeros(1, 2)
    >>> signals = Signals(student_logits=logits, labels=torch.tensor([0]), teacher_logits=logits)
    >>> target_logits(TeacherProbs(), signals, 4.0)
    tensor([[0., 0.]])
    """
    if not isinstance(target, LogitTarget):
        raise TypeError(f"the target {target.formula('')} has no logits, and a term needs them")
    return target.logits(signals, temperature)
