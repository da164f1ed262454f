"""Zhao et al.: Decoupled Knowledge Distillation (arXiv 2203.08679, CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective import (
    Constant,
    LogitTarget,
    LogitTerm,
    Objective,
    Ramp,
    Scalar,
    Signals,
    TeacherProbs,
    beside_labels,
    is_zero,
    number,
    times,
)

WARM_UP = 20 / 240
"""The first 20 of the 240 epochs of the authors' schedule for CIFAR-100, as a share of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoupled(LogitTerm):
    """The divergence from the teacher in two weighted parts: the label or not, and the other classes.

    Formula: ``weight * T^2 (target_weight TCKD + other_weight NCKD)``, from ``target`` at temperature T. It works on
    logits, so the target must have some.

    Errors: ``TypeError`` for a target without logits, or a temperature or weight that is not a scalar.

    >>> Decoupled(other_weight=2.0).formula()
    '4^2 (TCKD + 2 NCKD)(teacher@4 ‖ student@4)'

    Source: arXiv 2203.08679; T^2 as in the authors' code.
    """

    target_weight: float = 1.0
    other_weight: float = 8.0
    target: LogitTarget = TeacherProbs()
    temperature: Scalar = Constant(4.0)
    weight: Scalar = Constant(1.0)
    name: str = "decoupled"
    needs_teacher = True

    def __post_init__(self) -> None:
        for part, kind in (("target", LogitTarget), ("temperature", Scalar), ("weight", Scalar)):
            if not isinstance(getattr(self, part), kind):
                raise TypeError(f"{part} of {self.name!r} must be a {kind.__name__}, not {getattr(self, part)!r}")

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0 at this moment."""
        return is_zero(self.weight, progress)

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted divergence of each example, ``[B]``."""
        with torch.no_grad():
            temperature = self.temperature(signals)
            teacher = self.target.logits(signals, temperature).detach()
            scale = functional.per_sample(self.weight(signals) * temperature**2, teacher).flatten()
        return scale * functional.dkd(
            signals.student_logits, teacher, signals.labels, temperature, self.target_weight, self.other_weight
        )

    def formula(self) -> str:
        """The term as a formula."""
        label = times(number(self.target_weight), "TCKD")
        others = times(number(self.other_weight), "NCKD")
        temperature, weight = self.temperature.formula(), self.weight.formula()
        fixed = isinstance(self.temperature, Constant)
        symbol = temperature if fixed else "τ"
        mark, power = ("", "") if symbol == "1" else (f"@{symbol}", f"{symbol}^2 ")
        text = f"{power}({label} + {others})({self.target.formula(mark)} ‖ student{mark})"
        text = times(weight, text)
        return text if fixed else f"{text} with τ = {temperature}"


def decoupled(
    *,
    hard_weight: float = 1.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
    temperature: float = 4.0,
    warm_up: float = WARM_UP,
) -> Objective:
    """DKD: labels, and the two parts of the divergence from the teacher, with a warm-up.

    Formula: ``h H(e_y, p) + r T^2 (a TCKD + b NCKD)``; ``TCKD`` is the divergence of "the label or not", ``NCKD``
    that among the other classes, ``a = target_weight``, ``b = other_weight``, and ``r`` rises linearly from 0 to 1
    over the share ``warm_up`` of training (0 for none). The authors' code counts the warm-up in epochs, 20 of 240
    (its weight is ``epoch / 20``, from 1 / 20 in the first epoch); a share of training also suits runs of another
    length.

    >>> print(decoupled(warm_up=0.0))
    H(labels, student) + 4^2 (TCKD + 8 NCKD)(teacher@4 ‖ student@4)
    >>> print(decoupled(other_weight=2.0).terms[1].formula())
    (0 to 1 over progress 0 to 0.083333) 4^2 (TCKD + 2 NCKD)(teacher@4 ‖ student@4)

    Source: arXiv 2203.08679; all values from the authors' code, mdistiller, for resnet32x4 to resnet8x4 on CIFAR-100.
    """
    term = Decoupled(
        target_weight=target_weight,
        other_weight=other_weight,
        temperature=Constant(temperature),
        weight=warming_up(warm_up),
    )
    return beside_labels(hard_weight, term)


def warming_up(warm_up: float, to: float = 1.0) -> Scalar:
    """A weight that rises from 0 over the share ``warm_up`` of training; a constant if that is 0.

    >>> warming_up(0.0, to=9.0)
    Constant(value=9.0)
    """
    return Ramp(0.0, warm_up, 0.0, to) if warm_up else Constant(to)
