"""Losses that change over training: scalars that follow ``signals.progress``, and mixtures of methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective.formula import number
from tutelage.objective.objective import Objective
from tutelage.objective.protocol import Term, TermWrapper
from tutelage.objective.signals import Signals
from tutelage.objective.targets import Scalar

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A number that goes from ``from_`` to ``to`` while training goes from ``start`` to ``stop``.

    Formula: ``from_ + (to - from_) s``, ``s = clip((progress - start) / (stop - start), 0, 1)``; with ``cosine``
    ``s`` becomes ``(1 - cos(pi s)) / 2``. With ``start == stop`` it is a jump.

    Units: ``start`` and ``stop`` are shares of training in ``[0, 1]``, not epochs.

    Errors: ``ValueError`` for shares out of order, ends that are not finite, an unknown shape, or signals without
    ``progress``.

    >>> rise = Ramp(0.0, 0.5, to=0.9)
    >>> rise.formula()
    '(0 to 0.9 over progress 0 to 0.5)'
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
        if signals.progress >= self.stop:
            return self.to
        if signals.progress <= self.start:
            return self.from_
        share = (signals.progress - self.start) / (self.stop - self.start)
        if self.shape == "cosine":
            share = (1.0 - math.cos(math.pi * share)) / 2.0
        return self.from_ + (self.to - self.from_) * share

    def formula(self) -> str:
        """The scalar as written in a formula."""
        suffix = "" if self.shape == "linear" else f" by {self.shape}"
        ends = f"{number(self.from_)} to {number(self.to)}{suffix}"
        return f"({ends} over progress {number(self.start)} to {number(self.stop)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled(TermWrapper):
    """Any term, multiplied by a scalar.

    >>> from tutelage.objective import ConfidencePenalty
    >>> Scaled(name="penalty", of=ConfidencePenalty(weight=0.1), by=Ramp(0.5, 1.0)).formula()
    '(0 to 1 over progress 0.5 to 1) [-0.1 H(student)]'

    Source: none needed.
    """

    name: str = field()  # in place of the inherited property, which a dataclass would take for a default
    of: Term
    by: Scalar

    def __post_init__(self) -> None:
        for part, kind in (("of", Term), ("by", Scalar)):
            if not isinstance(getattr(self, part), kind):
                raise TypeError(f"{part} of {self.name!r} must be a {kind.__name__}, not {getattr(self, part)!r}")

    @property
    def needs_teacher(self) -> bool:
        """Whether the term or the scalar needs a teacher."""
        return self.of.needs_teacher or self.by.needs_teacher

    def apply(self, signals: Signals, inner: Callable[[Signals], Tensor]) -> Tensor:
        """The scaled value of each example, ``[B]``."""
        with torch.no_grad():
            scale = functional.per_sample(self.by(signals), signals.student_logits).flatten()
        return scale * inner(signals)

    def formula(self) -> str:
        """The term as a formula."""
        return f"{self.by.formula()} [{self.of.formula()}]"


def crossfade(first: Objective, then: Objective, start: float = 0.0, stop: float = 1.0) -> Objective:
    """Mix two methods over training: the first fades out while the second fades in.

    Formula: ``(1 - s) first + s then``, ``s`` rising from 0 at ``start`` to 1 at ``stop``.

    Units: ``start`` and ``stop`` are shares of training in ``[0, 1]``.

    Errors: as :class:`Ramp`.

    >>> from tutelage.methods.hinton import distillation, labels_only
    >>> print(crossfade(distillation(teacher_weight=1.0), labels_only(), start=0.5))
    (1 to 0 over progress 0.5 to 1) [4^2 KL(teacher@4 ‖ student@4)] + \
(0 to 1 over progress 0.5 to 1) [H(labels, student)]

    Source: ours.
    """
    falling, rising = Ramp(start, stop, 1.0, 0.0), Ramp(start, stop, 0.0, 1.0)
    fading_out = tuple(Scaled(name=f"first/{term.name}", of=term, by=falling) for term in first.terms)
    fading_in = tuple(Scaled(name=f"then/{term.name}", of=term, by=rising) for term in then.terms)
    return Objective(fading_out + fading_in)
