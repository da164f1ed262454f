"""Jin, Wang, Lin: Multi-level Logit Distillation (CVPR 2023), in its plain formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective import (
    Constant,
    Match,
    Objective,
    Scalar,
    Signals,
    TeacherProbs,
    TermWrapper,
    beside_labels,
    number,
)


def batch_relations(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``functional.batch_correlation`` to any target distribution, ``[B]``; it depends on the whole batch.

    >>> batch_relations(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2, 2))
    tensor([0.5000, 0.5000])
    """
    student = functional.tempered_logits(student_logits, temperature)
    return functional.batch_correlation(student, target_probs.log())


def class_relations(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``functional.class_correlation`` to any target distribution, ``[B]``; it depends on the whole batch.

    >>> class_relations(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2, 2))
    tensor([0.5000, 0.5000])
    """
    student = functional.tempered_logits(student_logits, temperature)
    return functional.class_correlation(student, target_probs.log())


@runtime_checkable
class TemperatureRule(Scalar, Protocol):
    """A temperature for each sample that lies around a base."""

    @property
    def base(self) -> float:
        """The temperature of a sample with the batch's mean weight."""
        ...

    def formula(self, base: str | None = None) -> str:
        """The scalar as written in a formula; ``base`` is written in place of the number."""
        ...


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One temperature of a sum; in a formula it is written as all of them."""

    scalar: Scalar
    all_scalars: tuple[Scalar, ...]

    @property
    def needs_teacher(self) -> bool:
        return self.scalar.needs_teacher

    def __call__(self, signals: Signals) -> float | Tensor:
        return self.scalar(signals)

    def formula(self) -> str:
        rules = [scalar for scalar in self.all_scalars if isinstance(scalar, TemperatureRule)]
        texts = {rule.formula("T") for rule in rules}
        if len(rules) == len(self.all_scalars) and len(texts) == 1:
            return f"{texts.pop()}, T = {', '.join(number(rule.base) for rule in rules)}"
        return ", ".join(scalar.formula() for scalar in self.all_scalars)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverTemperatures(TermWrapper):
    """A matching term, summed over temperatures, each a constant or a rule of its own.

    Errors: ``ValueError`` without temperatures, or for a term with one of its own, which would have no effect;
    ``TypeError`` for a temperature that is no scalar.

    >>> instance = Match(name="instance", target=TeacherProbs())
    >>> OverTemperatures(of=instance, temperatures=(Constant(2.0), Constant(4.0))).formula()
    'Σ τ^2 KL(teacher@τ ‖ student@τ) with τ = 2, 4'

    Source: Jin, Wang, Lin, CVPR 2023 ("prediction augmentation"); other temperatures than constants are ours.
    """

    of: Match
    temperatures: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", tuple(self.temperatures))
        if not isinstance(self.of, Match):
            raise TypeError(f"what is summed over temperatures must be a Match, not {self.of!r}")
        if self.of.temperature != Constant(1.0):
            raise ValueError(f"{self.of.name!r} is summed over temperatures and cannot have another of its own")
        if not self.temperatures:
            raise ValueError(f"{self.of.name!r} needs at least one temperature")
        for temperature in self.temperatures:
            if not isinstance(temperature, Scalar):
                raise TypeError(f"a temperature of {self.of.name!r} must be a Scalar, not {temperature!r}")

    @property
    def needs_teacher(self) -> bool:
        """Whether the term or one of the temperatures needs a teacher."""
        return self.of.needs_teacher or any(temperature.needs_teacher for temperature in self.temperatures)

    def apply(self, signals: Signals, inner: Callable[[Signals], Tensor]) -> Tensor:
        """The sum for each example, ``[B]``; a Match builds nothing, so ``inner`` is the term itself."""
        return torch.stack([self._at(temperature)(signals) for temperature in self.temperatures]).sum(0)

    def formula(self) -> str:
        """The term as a formula."""
        return f"Σ {self._at(self.temperatures[0]).formula()}"

    def _at(self, temperature: Scalar) -> Match:
        return replace(self.of, temperature=_OneOf(temperature, self.temperatures))


def multi_level(
    *,
    hard_weight: float = 0.1,
    teacher_weight: float = 0.9,
    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0),
) -> Objective:
    """MLKD: labels, the teacher's scores, and its relations between examples and between classes.

    Formula: ``h H(e_y, p) + w sum_T (T^2 KL(P^T || P) + |P^T P^T' - P P'|^2 / B + |P^T' P^T - P' P|^2 / K)``,
    ``P`` and ``P^T`` the ``[B, K]`` scores of student and teacher at temperature T, ``'`` the transpose. There is
    one view of each image, where the paper has a weak and a strong one, and no confidence mask.

    >>> print(multi_level(temperatures=(2.0, 4.0)).terms[1].formula())
    Σ 0.9 τ^2 KL(teacher@τ ‖ student@τ) with τ = 2, 4
    >>> print(multi_level().terms[2].formula())
    Σ 0.9 batch_relations(teacher@τ, student@τ) with τ = 2, 3, 4, 5, 6

    Source: Jin, Wang, Lin, CVPR 2023; weights and temperatures from the authors' code, whose masks and views differ.
    """
    instance = Match(name="instance", target=TeacherProbs(), weight=Constant(teacher_weight))
    batch = replace(instance, name="batch", temperature_power=0.0, distance=batch_relations)
    classes = replace(batch, name="classes", distance=class_relations)
    scalars = tuple(Constant(float(value)) for value in temperatures)
    summed = (OverTemperatures(of=term, temperatures=scalars) for term in (instance, batch, classes))
    return beside_labels(hard_weight, *summed)
