"""Losses that change over training: terms scaled by a number that follows it, and mixtures of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective.objective import Objective
from tutelage.objective.protocol import Term, TermWrapper
from tutelage.objective.scalars import Ramp, Scalar, is_zero
from tutelage.objective.signals import Signals


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

    def is_off(self, progress: float | None) -> bool:
        """Whether the scalar is exactly 0 at this moment, or the inner term is off."""
        return is_zero(self.by, progress) or self.of.is_off(progress)

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
