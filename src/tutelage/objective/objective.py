"""The objective: weighted, named terms, and the only place where a mean is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from tutelage import functional
from tutelage.objective.combining import combined
from tutelage.objective.protocol import Term
from tutelage.objective.scalars import Constant
from tutelage.objective.signals import Signals, TrainingSet
from tutelage.objective.targets import Labels
from tutelage.objective.terms import Match


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A loss ``[]`` with its parts by name; ``parts`` sum to ``total``."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a model minimizes: the batch mean of the sum of its terms.

    Errors: ``ValueError`` for no term, or for two of the same name; ``TypeError`` for anything that is not a term.

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
        for term in self.terms:
            if not isinstance(term, Term):
                raise TypeError(
                    f"an objective is made of terms, and {term!r} is not a complete one: see tutelage.objective.Term"
                )
        names = [term.name for term in self.terms]
        if not names:
            raise ValueError("an objective needs at least one term")
        if len(set(names)) != len(names):
            raise ValueError(f"the terms of an objective need different names, not {', '.join(names)}")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term needs a teacher."""
        return any(term.needs_teacher for term in self.terms)

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers whose features the terms read, each once."""
        return tuple(dict.fromkeys(layer for term in self.terms for layer in term.student_layers))

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers whose features the terms read, each once."""
        return tuple(dict.fromkeys(layer for term in self.terms for layer in term.teacher_layers))

    def bind(self, example: Signals, data: TrainingSet) -> BoundObjective:
        """Build what the terms learn or remember, for signals shaped like the example and for this training set."""
        modules = {term.name: term.build(example, data) for term in self.terms}
        return BoundObjective(self, {name: module for name, module in modules.items() if module is not None})

    def also(self, other: Objective) -> Objective:
        """Add the terms of another objective; none is dropped.

        The plain cross-entropy of the labels counts once, with the weight that it has here. A name that is there
        already gets a number: ``teacher``, ``teacher 2``.

        Errors: ``ValueError`` for a term that is there already, with whatever weight, for a second term on the labels
        that is not the plain one, and for an objective that adds nothing.

        >>> from tutelage.methods.hinton import distillation
        >>> from tutelage.methods.confidence_penalty import confidence_penalty
        >>> print(distillation().also(confidence_penalty()))
        0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4) - 0.1 H(student)
        >>> from tutelage.methods.born_again import born_again
        >>> [term.name for term in distillation().also(born_again()).terms]
        ['labels', 'teacher', 'teacher 2']
        """
        return Objective(combined(self.terms, other.terms))

    def __call__(self, signals: Signals) -> Loss:
        """The loss of a batch and its parts, each a batch mean.

        Errors: ``ValueError`` for terms that learn: call :meth:`bind` first.
        """
        return self.evaluate(signals, {})

    def evaluate(self, signals: Signals, modules: Mapping[str, nn.Module]) -> Loss:
        """The loss of a batch; ``modules`` are those that terms built, by the terms' names.

        Terms whose weight is 0 at this moment are skipped, unless all are: a loss needs at least one.
        """
        active = [term for term in self.terms if not term.is_off(signals.progress)] or self.terms
        parts = {term.name: signals.student_logits.new_zeros(()) for term in self.terms}
        for term in active:
            value = modules[term.name](signals) if term.name in modules else term(signals)
            if value.shape != signals.labels.shape:
                actual, expected = list(value.shape), list(signals.labels.shape)
                raise ValueError(f"term {term.name!r} gives {actual}, not {expected}: one value per example")
            parts[term.name] = value.mean()
        total = sum(parts[term.name] for term in active)
        assert isinstance(total, Tensor)
        return Loss(total, parts)

    def __str__(self) -> str:
        return " + ".join(term.formula() for term in self.terms).replace("+ -", "- ")


class BoundObjective(nn.Module):
    """An objective with the modules that its terms built; their parameters are trained beside the network's."""

    def __init__(self, objective: Objective, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.objective = objective
        self.learned = nn.ModuleDict(modules)

    def forward(self, signals: Signals) -> Loss:
        """The loss of a batch and its parts, each a batch mean."""
        return self.objective.evaluate(signals, dict(self.learned.items()))


def beside_labels(hard_weight: float, *terms: Term) -> Objective:
    """The labels' cross-entropy at temperature 1, plus other terms; a weight of 0 leaves the labels out.

    >>> from tutelage.objective import ScoreDifference
    >>> print(beside_labels(0.5, ScoreDifference(weight=0.5)))
    0.5 H(labels, student) + 0.5 D_5(student)
    """
    if hard_weight == 0.0:
        return Objective(terms)
    labels = Match(name="labels", target=Labels(), weight=Constant(hard_weight), distance=functional.cross_entropy)
    return Objective((labels, *terms))
