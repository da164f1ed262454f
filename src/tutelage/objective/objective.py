"""The objective: weighted, named terms, and the only place where a mean is taken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tutelage import functional
from tutelage.objective.parts import Constant, Labels
from tutelage.objective.signals import Signals
from tutelage.objective.terms import Match, Term


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A loss ``[]`` with its parts by name; ``parts`` sum to ``total``."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a model minimises: the batch mean of the sum of its terms.

    Errors: ``ValueError`` for no term at all, or two of one name.

    >>> import torch
    >>> from tutelage.methods.hinton import distillation
    >>> objective = distillation(teacher_weight=0.9, temperature=4.0)
    >>> print(objective)
    0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)
    >>> logits = torch.tensor([[1.0, 2.0, 0.5], [0.2, -0.3, 1.5]])
    >>> loss = objective(Signals(student_logits=logits, labels=torch.tensor([1, 2]), teacher_logits=logits))
    >>> {name: abs(round(part.item(), 4)) for name, part in loss.parts.items()}
    {'labels': 0.0414, 'teacher': 0.0}
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        names = [term.name for term in self.terms]
        if not names:
            raise ValueError("an objective needs at least one term")
        if len(set(names)) != len(names):
            raise ValueError(f"the terms of an objective need different names, not {', '.join(names)}")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term asks a teacher."""
        return any(term.needs_teacher for term in self.terms)

    def __call__(self, signals: Signals) -> Loss:
        """The loss of a batch and its parts, each a batch mean."""
        parts = {}
        for term in self.terms:
            values = term(signals)
            assert values.shape == signals.labels.shape, (term.name, values.shape)
            parts[term.name] = values.mean()
        total = sum(parts.values())
        assert isinstance(total, Tensor)
        return Loss(total, parts)

    def __str__(self) -> str:
        return " + ".join(term.formula() for term in self.terms).replace("+ -", "- ")


def beside_labels(hard_weight: float, *terms: Term) -> Objective:
    """Put terms beside the labels' cross-entropy at temperature 1; a weight of 0 leaves the labels out.

    >>> from tutelage.objective import ScoreDifference
    >>> print(beside_labels(0.5, ScoreDifference(weight=0.5)))
    0.5 H(labels, student) + 0.5 D_5(student)
    """
    if hard_weight == 0.0:
        return Objective(terms)
    labels = Match(name="labels", target=Labels(), weight=Constant(hard_weight), distance=functional.cross_entropy)
    return Objective((labels, *terms))
