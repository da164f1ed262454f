"""Generations and lineages as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.data import DataConfig, Views
from tutelage.objective import Objective
from tutelage.objective import expected_scores as objective_scores
from tutelage.training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One model's training: its network, what it minimises, for how long, and who teaches it.

    ``teachers`` are places in the lineage; several of them teach as an ensemble, the mean of their probabilities
    weighted by ``teacher_shares`` (equal by default). With ``weights``, a file or a model folder, the network is used
    as it is and not trained.
    """

    name: str
    model: str
    objective: Objective
    schedule: Schedule
    teachers: tuple[int, ...] = ()
    teacher_shares: tuple[float, ...] = ()
    weights: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"a generation's name is one line of text, not {self.name!r}")
        object.__setattr__(self, "teachers", tuple(self.teachers))
        object.__setattr__(self, "teacher_shares", tuple(self.teacher_shares))
        if self.teacher_shares and len(self.teacher_shares) != len(self.teachers):
            raise ValueError(
                f"generation {self.name!r} has {len(self.teachers)} teachers and {len(self.teacher_shares)} shares"
            )
        if not all(share > 0 for share in self.teacher_shares):
            raise ValueError(f"a teacher's share must be above 0, not {list(self.teacher_shares)}")
        if self.objective.needs_teacher and not self.teachers:
            raise ValueError(f"generation {self.name!r} learns by {self.objective}, but it has no teacher")
        if self.teachers and not self.objective.needs_teacher:
            raise ValueError(f"generation {self.name!r} has a teacher, but {self.objective} does not use one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Generations in the order they are trained; a teacher always comes before its student.

    Errors: ``ValueError`` for an empty lineage, two generations of one name, or a teacher at or after its student.
    """

    name: str
    data: DataConfig
    views: Views
    generations: tuple[Generation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "generations", tuple(self.generations))
        names = [generation.name for generation in self.generations]
        if not names:
            raise ValueError("a lineage needs at least one generation")
        if len(set(names)) != len(names):
            raise ValueError(f"the generations of a lineage need different names, not {', '.join(names)}")
        for place, generation in enumerate(self.generations):
            for teacher in generation.teachers:
                if not 0 <= teacher < place:
                    raise ValueError(
                        f"generation {generation.name!r} at place {place} has its teacher at place {teacher}: "
                        "a teacher comes before its student"
                    )
            if len(generation.teachers) > 1 and generation.objective.teacher_layers:
                raise ValueError(
                    f"generation {generation.name!r} reads features of its teacher "
                    f"({', '.join(generation.objective.teacher_layers)}), and an ensemble of teachers has none"
                )


def expected_scores(lineage: Lineage, num_classes: int) -> tuple[float | None, ...]:
    """The expected score of the labelled class for each generation, None where no closed form is known.

    Several teachers teach the mean of their expected scores.

    >>> from tutelage.recipes.tolerant import tolerant
    >>> [round(score, 6) for score in expected_scores(tolerant(generations=2, tolerance=0.2), num_classes=10)]
    [0.6, 0.693586, 0.758987]

    Source: :func:`tutelage.objective.expected_scores`, applied along the lineage.
    """
    scores: list[Tensor | None] = []
    for generation in lineage.generations:
        teachers = [scores[teacher] for teacher in generation.teachers]
        known = [each for each in teachers if each is not None]
        teacher = None
        if known and len(known) == len(teachers):
            shares = torch.tensor(generation.teacher_shares or [1.0] * len(known), dtype=torch.float64)
            teacher = (shares / shares.sum()) @ torch.stack(known)
        scores.append(objective_scores(generation.objective, num_classes, teacher))
    return tuple(None if each is None else float(each[0]) for each in scores)
