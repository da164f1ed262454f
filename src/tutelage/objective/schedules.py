"""What changes over the course of training: scalars that follow ``signals.progress``, and mixtures of methods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tutelage import functional
from tutelage.objective.objective import Objective
from tutelage.objective.signals import Signals
from tutelage.objective.targets import Scalar, number
from tutelage.objective.terms import Term

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A number that goes from ``from_`` to ``to`` while training goes from ``start`` to ``stop``.

    Formula: ``from_ + (to - from_) s``, ``s = clip((progress - start) / (stop - start), 0, 1)``; with ``cosine``
    ``s`` becomes ``(1 - cos(pi s)) / 2``. Where ``start == stop`` it is a step.

    Units: ``start`` and ``stop`` are shares of training in ``[0, 1]``, not epochs.

    Errors: ``ValueError`` for shares out of order, ends that are not finite, an unknown shape, or signals that do not
    say how far training is.

    >>> rise = Ramp(0.0, 0.5, to=0.9)
    >>> rise.formula()
    '(0 to 0.9 over progress 0 to 0.5)'
    >>> logits, labels = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    >>> [rise(Signals(student_logits=logits, labels=labels, progress=done)) for done in (0.0, 0.25, 0.75)]
    [0.0, 0.45, 0.9]

    Source: none needed; the warm-up of the mdistiller code is one.
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
        if signals.progress >= self.stop:
            return self.to
        if signals.progress <= self.start:
            return self.from_
        share = (signals.progress - self.start) / (self.stop - self.start)
        if self.shape == "cosine":
            share = (1.0 - math.cos(math.pi * share)) / 2.0
        return self.from_ + (self.to - self.from_) * share

    def formula(self) -> str:
        """How it reads in a formula."""
        way = "" if self.shape == "linear" else f" by {self.shape}"
        ends = f"{number(self.from_)} to {number(self.to)}{way}"
        return f"({ends} over progress {number(self.start)} to {number(self.stop)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Any term, times a scalar.

    >>> from tutelage.objective import ConfidencePenalty
    >>> Scaled(name="penalty", of=ConfidencePenalty(weight=0.1), by=Ramp(0.5, 1.0)).formula()
    '(0 to 1 over progress 0.5 to 1) [-0.1 H(student)]'

    Source: none needed.
    """

    name: str
    of: Term
    by: Scalar

    def __post_init__(self) -> None:
        for field, kind in (("of", Term), ("by", Scalar)):
            if not isinstance(getattr(self, field), kind):
                raise TypeError(f"{field} of {self.name!r} must be a {kind.__name__}, not {getattr(self, field)!r}")

    @property
    def needs_teacher(self) -> bool:
        """Whether the term or the scalar asks a teacher."""
        return self.of.needs_teacher or self.by.needs_teacher

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers the term reads."""
        return tuple(getattr(self.of, "student_layers", ()))

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers the term reads."""
        return tuple(getattr(self.of, "teacher_layers", ()))

    def build(self, example: Signals) -> nn.Module | None:
        """Make what the term learns for signals like these; None where it learns nothing."""
        head = self.of.build(example) if hasattr(self.of, "build") else None
        return None if head is None else _ScaledHead(self, head)

    def __call__(self, signals: Signals) -> Tensor:
        """The scaled value of each example, ``[B]``."""
        return self.scale(signals, self.of(signals))

    def scale(self, signals: Signals, values: Tensor) -> Tensor:
        """What the term gave, scaled, ``[B]``."""
        with torch.no_grad():
            by = functional.per_sample(self.by(signals), signals.student_logits).flatten()
        return by * values

    def formula(self) -> str:
        """The term as a formula."""
        return f"{self.by.formula()} [{self.of.formula()}]"


class _ScaledHead(nn.Module):
    """What the term learns, scaled."""

    def __init__(self, term: Scaled, head: nn.Module) -> None:
        super().__init__()
        self.term = term
        self.head = head

    def forward(self, signals: Signals) -> Tensor:
        return self.term.scale(signals, self.head(signals))


def crossfade(first: Objective, then: Objective, start: float = 0.0, stop: float = 1.0) -> Objective:
    """Mix two methods over the course of training: one fades out while the other fades in.

    Formula: ``(1 - s) first + s then``, ``s`` the ramp from ``start`` to ``stop``.

    Units: ``start`` and ``stop`` are shares of training in ``[0, 1]``.

    Errors: those of :class:`Ramp`.

    >>> from tutelage.methods.hinton import distillation, labels_only
    >>> print(crossfade(distillation(teacher_weight=1.0), labels_only(), start=0.5))
    (1 to 0 over progress 0.5 to 1) [4^2 KL(teacher@4 ‖ student@4)] + \
(0 to 1 over progress 0.5 to 1) [H(labels, student)]

    Source: ours.
    """
    out, into = Ramp(start, stop, 1.0, 0.0), Ramp(start, stop, 0.0, 1.0)
    fading = tuple(Scaled(name=f"first/{term.name}", of=term, by=out) for term in first.terms)
    coming = tuple(Scaled(name=f"then/{term.name}", of=term, by=into) for term in then.terms)
    return Objective(fading + coming)
