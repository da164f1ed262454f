"""Wen, Lai, Qian: Preparing Lessons (arXiv 1911.07471): knowledge adjustment and dynamic temperature.

The paper's full text and its hyper-parameters could not be read; what is our reading says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective import (
    Constant,
    Match,
    Objective,
    Scalar,
    Signals,
    Target,
    TeacherProbs,
    beside_labels,
    number,
    target_logits,
)

Normalize = Literal["none", "sum", "mean"]
_TINY = 1e-30  # the least share of a smoothed label whose logarithm is taken: a normal number in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """Probability shift: if a target's best class is not the label, the two swap their values.

    Source: arXiv 1911.07471, knowledge adjustment (PS).
    """

    of: Target = TeacherProbs()

    @property
    def needs_teacher(self) -> bool:
        """Whether the inner target needs a teacher."""
        return self.of.needs_teacher

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        return functional.shift_probabilities(self.of(signals, temperature), signals.labels)

    def logits(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The swapped logits ``[B, K]``: their softmax is the swapped distribution at every temperature."""
        return functional.shift_probabilities(target_logits(self.of, signals, temperature), signals.labels)

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"shifted({self.of.formula(temperature)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """Label smoothing: if a target's best class is not the label, the smoothed label replaces it.

    Source: arXiv 1911.07471, knowledge adjustment (LS); two re-implementations replace only wrong
    targets, as here.
    """

    of: Target = TeacherProbs()
    smoothing: float = 0.1

    @property
    def needs_teacher(self) -> bool:
        """Whether the inner target needs a teacher."""
        return self.of.needs_teacher

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        return functional.smooth_wrong(self.of(signals, temperature), signals.labels, self.smoothing)

    def logits(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The logits ``[B, K]``; for a smoothed label ``T ln`` of it, so that it is not softened."""
        logits = target_logits(self.of, signals, temperature)
        smoothed = functional.smooth_labels(signals.labels, logits.shape[1], self.smoothing, logits.dtype)
        label_logits = functional.per_sample(temperature, logits) * smoothed.clamp_min(_TINY).log()
        return torch.where((logits.argmax(1) == signals.labels)[:, None], logits, label_logits)

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"smoothed({self.of.formula(temperature)}, {number(self.smoothing)})"


def _temperature_formula(weights: str, base: str, bias: float, normalize: str, floor: float | None) -> str:
    weights = weights if normalize == "none" else f"{weights}/{normalize}"
    text = f"{base} + {number(bias)}(mean w - w), w = {weights}"
    return text if floor is None else f"max({number(floor)}, {text})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalTemperature:
    """FLSW: a temperature for each sample, lower if student and teacher disagree.

    Formula: ``T_x = max(floor, base + bias (mean w - w_x))``, ``w = (1 - cos(z^S, z^T))^power``.

    Source: arXiv 1911.07471, dynamic temperature (FLSW); unit-norm logits, no normalization of w and the floor are
    our reading.
    """

    base: float = 4.0
    bias: float = 2.0
    power: float = 1.0
    normalize: Normalize = "none"
    floor: float | None = 1.0
    needs_teacher = True

    def __call__(self, signals: Signals) -> Tensor:
        """The temperature of each sample, ``[B]``."""
        weights = functional.focal_weights(signals.student_logits, signals.from_teacher(), self.power)
        return functional.sample_temperature(weights, self.base, self.bias, self.normalize, self.floor)

    def formula(self, base: str | None = None) -> str:
        """The scalar as written in a formula; ``base`` is written in place of the number."""
        weights = f"(1 - cos)^{number(self.power)}"
        return _temperature_formula(weights, base or number(self.base), self.bias, self.normalize, self.floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentMaxTemperature:
    """CWSM: a temperature for each sample, lower if the student is unsure.

    Formula: ``T_x = max(floor, base + bias (mean w - w_x))``, ``w = 1 / max_k p^S_k``.

    Source: arXiv 1911.07471, dynamic temperature (CWSM); the floor and no normalization of w are our reading.
    """

    base: float = 4.0
    bias: float = 1.0
    normalize: Normalize = "none"
    floor: float | None = 1.0
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        """The temperature of each sample, ``[B]``."""
        weights = functional.student_max_weights(signals.student_logits)
        return functional.sample_temperature(weights, self.base, self.bias, self.normalize, self.floor)

    def formula(self, base: str | None = None) -> str:
        """The scalar as written in a formula; ``base`` is written in place of the number."""
        base = base or number(self.base)
        return _temperature_formula("1/max(student)", base, self.bias, self.normalize, self.floor)


Adjustment = Literal["none", "shift", "smooth"]
TemperatureRule = Literal["flsw", "cwsm"]


def _adjusted(adjustment: Adjustment, smoothing: float) -> Target:
    targets: dict[str, Target] = {
        "none": TeacherProbs(),
        "shift": Shifted(),
        "smooth": Smoothed(smoothing=smoothing),
    }
    if adjustment not in targets:
        raise ValueError(f"adjustment is one of {', '.join(targets)}, not {adjustment!r}")
    return targets[adjustment]


def _distillation(teacher_weight: float, target: Target, temperature: Scalar) -> Objective:
    teacher = Match(name="teacher", target=target, temperature=temperature, weight=Constant(teacher_weight))
    return beside_labels(1.0 - teacher_weight, teacher)


def knowledge_adjustment(
    *,
    adjustment: Adjustment = "shift",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    smoothing: float = 0.1,
) -> Objective:
    """Distillation from corrected targets: one whose best class is wrong is shifted or replaced.

    Formula: ``(1 - w) H(e_y, p) + w T^2 KL(A(p^T_T) || p_T)``, ``A`` the shift, or the label with
    ``smoothing``; ``teacher_weight=1`` leaves the labels out.

    >>> print(knowledge_adjustment())
    0.1 H(labels, student) + 0.9 4^2 KL(shifted(teacher@4) ‖ student@4)

    Source: arXiv 1911.07471; weights and temperature are those of the CRD benchmark, not the paper's.
    """
    return _distillation(teacher_weight, _adjusted(adjustment, smoothing), Constant(temperature))


def dynamic_temperature(
    *,
    temperature_rule: TemperatureRule = "flsw",
    adjustment: Adjustment = "none",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    bias: float = 2.0,
    power: float = 1.0,
    normalize: Normalize = "none",
    floor: float | None = 1.0,
    smoothing: float = 0.1,
) -> Objective:
    """Distillation with a temperature for each sample, lower for confusing ones; optionally with corrected targets.

    Formula: ``(1 - w) H(e_y, p) + w mean_x T_x^2 KL(A(p^T_Tx) || p_Tx)``,
    ``T_x = max(floor, T + bias (mean w - w_x))``; FLSW's ``w_x`` is ``(1 - cos)^power``, CWSM's ``1 / max p^S``.

    >>> print(dynamic_temperature(temperature_rule="cwsm", bias=1.0))
    0.1 H(labels, student) + 0.9 τ^2 KL(teacher@τ ‖ student@τ) with τ = max(1, 4 + 1(mean w - w), w = 1/max(student))

    Source: arXiv 1911.07471; base, bias and weight are ours, as the paper's values could not be read.
    """
    temperatures: dict[str, Scalar] = {
        "flsw": FocalTemperature(base=temperature, bias=bias, power=power, normalize=normalize, floor=floor),
        "cwsm": StudentMaxTemperature(base=temperature, bias=bias, normalize=normalize, floor=floor),
    }
    if temperature_rule not in temperatures:
        raise ValueError(f"temperature_rule is one of {', '.join(temperatures)}, not {temperature_rule!r}")
    return _distillation(teacher_weight, _adjusted(adjustment, smoothing), temperatures[temperature_rule])


def adjusted_dynamic_temperature(
    *,
    adjustment: Adjustment = "shift",
    temperature_rule: TemperatureRule = "flsw",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    bias: float = 2.0,
) -> Objective:
    """Both together: corrected targets, and a temperature for each sample.

    Formula: that of :func:`dynamic_temperature` with a corrected target; FLSW compares the original logits.

    >>> print(adjusted_dynamic_temperature())  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...

    Source: arXiv 1911.07471.
    """
    return dynamic_temperature(
        temperature_rule=temperature_rule,
        adjustment=adjustment,
        teacher_weight=teacher_weight,
        temperature=temperature,
        bias=bias,
    )
