"""The terms on logits that belong to no single paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective.formula import distance_name, number, times
from tutelage.objective.protocol import LogitTerm
from tutelage.objective.scalars import Constant, Scalar, is_zero
from tutelage.objective.signals import Signals
from tutelage.objective.targets import Target

Distance = Callable[[Tensor, Tensor, float | Tensor], Tensor]
"""A function ``(target [B, K], student_logits [B, K], temperature [] or [B]) -> [B]``."""

_SYMBOLS = {
    "kl_divergence": ("KL(", " ‖ "),
    "cross_entropy": ("H(", ", "),
    "kl_divergence_element_mean": ("1/K KL(", " ‖ "),
}


def _checked(scalar: float | Tensor, logits: Tensor) -> float | Tensor:
    """Refuse a tensor that is neither ``[]`` nor ``[B]``, and convert it to the dtype of the logits."""
    return functional.per_sample(scalar, logits).squeeze(-1) if isinstance(scalar, Tensor) else scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(LogitTerm):
    """Bring the student's distribution close to a target.

    Formula: ``weight * temperature**temperature_power * distance(target, student)``, both at that temperature.
    No gradient passes through target, temperature and weight, only through the distance.

    >>> from tutelage.objective import Constant, TeacherProbs
    >>> print(Match(name="teacher", target=TeacherProbs(), temperature=Constant(4.0), weight=Constant(0.9)).formula())
    0.9 4^2 KL(teacher@4 ‖ student@4)

    Source: the common form of the losses in arXiv 1503.02531, 1805.04770, 1805.05551, 1909.11723, 1911.07471.
    """

    name: str
    target: Target
    temperature: Scalar = Constant(1.0)
    weight: Scalar = Constant(1.0)
    temperature_power: float = 2.0
    distance: Distance = functional.kl_divergence

    def __post_init__(self) -> None:
        for part, kind in (("target", Target), ("temperature", Scalar), ("weight", Scalar)):
            if not isinstance(getattr(self, part), kind):
                raise TypeError(f"{part} of {self.name!r} must be a {kind.__name__}, not {getattr(self, part)!r}")

    @property
    def needs_teacher(self) -> bool:
        """Whether the target, the temperature or the weight needs a teacher."""
        return any(part.needs_teacher for part in (self.target, self.temperature, self.weight))

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0 at this moment."""
        return is_zero(self.weight, progress)

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted distance of each example, ``[B]``."""
        with torch.no_grad():
            temperature = _checked(self.temperature(signals), signals.student_logits)
            target = self.target(signals, temperature)
            scale = _checked(self.weight(signals), signals.student_logits)
            if self.temperature_power:
                scale = scale * temperature**self.temperature_power
        return scale * self.distance(target, signals.student_logits, temperature)

    def formula(self) -> str:
        """The term as a formula; ``@T`` marks a distribution softened at temperature T."""
        temperature = self.temperature.formula()
        fixed = temperature.replace(".", "").isdigit()  # a number; anything longer is written once, as τ
        mark = "" if temperature == "1" else f"@{temperature}" if fixed else "@τ"
        name = distance_name(self.distance)
        opening, between = _SYMBOLS.get(name, (f"{name}(", ", "))
        text = f"{opening}{self.target.formula(mark)}{between}student{mark})"
        if mark and self.temperature_power:
            power = f"{self.temperature_power:g}"
            text = f"{temperature if fixed else 'τ'}^{power} {text}"
        text = times(self.weight.formula(), text)
        return text if fixed else f"{text} with τ = {temperature}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDifference(LogitTerm):
    """Keep confidence on ``k - 1`` secondary classes.

    Formula: ``weight * D_k``, ``D_k = f_a1 - mean(f_a2 ... f_ak)``, a_i the i-th best class of the output itself.

    >>> ScoreDifference(weight=0.5, k=5).formula()
    '0.5 D_5(student)'

    Source: arXiv 1805.05551 v1, Eq. 3.
    """

    weight: float
    k: int = 5
    name: str = "score_difference"
    needs_teacher = False

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"the score difference compares k >= 2 classes, not k = {self.k}")

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0."""
        return self.weight == 0.0

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted score difference of each example, ``[B]``."""
        return self.weight * functional.score_difference(signals.student_logits, self.k)

    def formula(self) -> str:
        """The term as a formula."""
        return times(Constant(self.weight).formula(), f"D_{self.k}(student)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDifferenceByShare(LogitTerm):
    """Keep confidence on the secondary classes near the best one, however many a sample has.

    Formula: ``weight * (f_a1 - mean {f_aj : f_aj > share f_a1})``, a_j the j-th best class of the output itself, j
    from 2 to ``max_k`` (all by default); the second best always counts.

    >>> ScoreDifferenceByShare(weight=0.5, share=0.1, max_k=5).formula()
    '0.5 D(student; scores above 0.1 of the best, at most 5)'

    Source: ours; arXiv 1805.05551 v1 announces a k for each sample without a formula.
    """

    weight: float
    share: float
    max_k: int | None = None
    name: str = "score_difference"
    needs_teacher = False

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share is a part of the best score in (0, 1], not {self.share}")
        if self.max_k is not None and self.max_k < 2:
            raise ValueError(f"the score difference compares at least 2 classes, not max_k = {self.max_k}")

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0."""
        return self.weight == 0.0

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted score difference of each example, ``[B]``."""
        return self.weight * functional.score_difference_by_share(signals.student_logits, self.share, self.max_k)

    def formula(self) -> str:
        """The term as a formula."""
        most = "" if self.max_k is None else f", at most {self.max_k}"
        return times(number(self.weight), f"D(student; scores above {number(self.share)} of the best{most})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidencePenalty(LogitTerm):
    """Reward entropy; with a ``threshold`` in nats, only up to it.

    Formula: ``-weight * H(student)`` or ``weight * max(0, threshold - H(student))``.

    >>> ConfidencePenalty(weight=0.1).formula()
    '-0.1 H(student)'

    Source: Pereyra et al., arXiv 1701.06548.
    """

    weight: float
    threshold: float | None = None
    name: str = "confidence_penalty"
    needs_teacher = False

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0."""
        return self.weight == 0.0

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted penalty of each example, ``[B]``."""
        if self.threshold is None:
            return self.weight * functional.confidence_penalty(signals.student_logits)
        return self.weight * functional.confidence_hinge(signals.student_logits, self.threshold)

    def formula(self) -> str:
        """The term as a formula."""
        weight = Constant(self.weight).formula()
        if self.threshold is None:
            return f"-{times(weight, 'H(student)')}"
        return times(weight, f"max(0, {Constant(self.threshold).formula()} - H(student))")
