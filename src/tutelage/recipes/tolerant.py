"""Knowledge Distillation in Generations: More Tolerant Teachers Educate Better Students (arXiv 1805.05551)."""

from __future__ import annotations

from typing import TypeVar

from tutelage.lineage import Lineage
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.recipes.common_options import CommonOptions, later

Number = TypeVar("Number", int, float)


def tolerant(
    setting: CommonOptions = CommonOptions(),
    *,
    generations: int = 5,
    primary: float = 0.6,
    teacher_weight: float | tuple[float, ...] = 0.6,
    k: int | tuple[int, ...] = 5,
    temperature: float = 1.0,
    tolerance: float | tuple[float, ...] = 0.0,
    share: float | None = None,
) -> Lineage:
    """Train a tolerant patriarch, then generations that each learn from the one before.

    Args:
        generations: How many follow the patriarch.
        primary: The wanted expected score of the patriarch's best class, in [1/k, 1].
        teacher_weight: The weight of the teacher's term; one for all generations after the patriarch, or one for
            each.
        k: How many of the best classes the score difference compares; one for all, or one for each generation,
            the patriarch first.
        temperature: What logits are divided by in the teacher's term; 1 is the paper.
        tolerance: The share of a score difference kept in the students' objectives; one for all, or one for each.
            0 is the paper.
        share: Compare, for each image, only classes whose score is above this share of the best one's, at most `k`;
            `primary` is then in [1/2, 1]. By default the `k` best, which is the paper.

    >>> print(tolerant(generations=1).generations[0].objective)
    0.428571 H(labels, student) + 0.571429 D_5(student)
    >>> print(tolerant(generations=2, teacher_weight=(0.7, 0.6)).generations[2].objective)
    0.4 H(labels, student) + 0.6 KL(teacher ‖ student)
    """
    places = later(generations)
    weights = _for_each("teacher_weight", teacher_weight, generations)
    kept = _for_each("tolerance", tolerance, generations)
    widths = _for_each("k", k, generations + 1)
    patriarch = setting.generation("patriarch", tolerant_patriarch(primary=primary, k=widths[0], share=share))
    pupils = [
        setting.generation(
            f"generation {g}",
            tolerant_student(
                teacher_weight=weights[g - 1],
                temperature=temperature,
                tolerance=kept[g - 1],
                k=widths[g],
                share=share,
            ),
            teachers=(g - 1,),
        )
        for g in places
    ]
    return setting.lineage("tolerant", patriarch, *pupils)


def _for_each(name: str, given: Number | tuple[Number, ...], count: int) -> tuple[Number, ...]:
    values = given if isinstance(given, tuple | list) else (given,)
    if len(values) == 1:
        return tuple(values) * count
    if len(values) != count:
        raise ValueError(f"{name} takes one number, or one for each of {count} generations, not {len(values)}")
    return tuple(values)
