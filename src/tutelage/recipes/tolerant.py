"""Knowledge Distillation in Generations: More Tolerant Teachers Educate Better Students (arXiv 1805.05551)."""

from __future__ import annotations

from typing import TypeVar

from tutelage.lineage import Lineage
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.recipes.common_options import CommonOptions, later_generations
from tutelage.recipes.mixture import Mixture

Number = TypeVar("Number", int, float)


def tolerant(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    generations: int = 5,
    primary: float = 0.6,
    teacher_weight: float | tuple[float, ...] = 0.6,
    k: int | tuple[int, ...] = 5,
    temperature: float = 1.0,
    tolerance: float | tuple[float, ...] = 0.0,
    share: float | None = None,
) -> Lineage:
    """Train a tolerant patriarch (the first generation), then generations that each learn from the one before.

    Args:
        generations: The number of generations after the patriarch.
        primary: The expected score of the primary class, the one with the patriarch's highest score, in [1/k, 1].
            The lower it is, the more tolerant the patriarch.
        teacher_weight: The weight of the teacher's term: one for all generations after the patriarch, or one for
            each.
        k: The number of highest scores that the score difference compares: one for all generations, or one for each,
            the patriarch first.
        temperature: The temperature of the teacher's term; 1 is the paper.
        tolerance: The weight of the score difference in the students' objectives: one for all, or one for each; 0 is
            the paper.
        share: Compare, for each image, only classes whose score is above this share of the highest, at most `k`;
            `primary` is then in [1/2, 1]. By default the `k` highest, as in the paper.

    >>> print(tolerant(generations=1).generations[0].objective)
    0.428571 H(labels, student) + 0.571429 D_5(student)
    >>> print(tolerant(generations=2, teacher_weight=(0.7, 0.6)).generations[2].objective)
    0.4 H(labels, student) + 0.6 KL(teacher ‖ student)
    """
    places = later_generations(generations)
    mixture.check_students(generations)
    teacher_weights = _one_for_each("teacher_weight", teacher_weight, generations)
    tolerances = _one_for_each("tolerance", tolerance, generations)
    ks = _one_for_each("k", k, generations + 1)
    patriarch = options.generation("patriarch", tolerant_patriarch(primary=primary, k=ks[0], share=share))
    students = [
        options.generation(
            f"generation {g}",
            mixture.applied(
                tolerant_student(
                    teacher_weight=teacher_weights[g - 1],
                    temperature=temperature,
                    tolerance=tolerances[g - 1],
                    k=ks[g],
                    share=share,
                )
            ),
            teachers=(g - 1,),
        )
        for g in places
    ]
    return options.lineage("tolerant", patriarch, *students)


def _one_for_each(name: str, value: Number | tuple[Number, ...], count: int) -> tuple[Number, ...]:
    """A value for each of ``count`` generations, from one for all or from one for each."""
    values = value if isinstance(value, tuple | list) else (value,)
    if len(values) == 1:
        return tuple(values) * count
    if len(values) != count:
        raise ValueError(f"{name} takes one number, or one for each of {count} generations, not {len(values)}")
    return tuple(values)
