"""Born-Again Neural Networks (arXiv 1805.04770)."""

from __future__ import annotations

from typing import Literal

from tutelage.lineage import Lineage
from tutelage.methods import born_again as ban
from tutelage.methods.hinton import labels_only
from tutelage.recipes.common_options import CommonOptions, choose, later_generations
from tutelage.recipes.mixture import Mixture

Form = Literal["teacher", "labels", "confidence", "permuted"]


def born_again(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    generations: int = 3,
    form: Form = "teacher",
    teacher_weight: float = 0.5,
) -> Lineage:
    """Train a chain of equal networks, each taught by the one before.

    Args:
        generations: The number of generations after the first.
        form: What each student learns from: the teacher alone (teacher: BAN), the labels too (labels: BAN+L), the
            labels weighted by the teacher's confidence (confidence: CWTM), or the teacher with its dark knowledge
            permuted (permuted: DKPP).
        teacher_weight: The weight of the teacher's term in the form labels; 0.5 is D(1.0, 0.5) of arXiv 1805.05551.

    >>> [generation.teachers for generation in born_again(generations=2).generations]
    [(), (0,), (1,)]
    """
    objectives = {
        "teacher": ban.born_again(),
        "labels": ban.born_again_labels(teacher_weight=teacher_weight),
        "confidence": ban.confidence_weighted(),
        "permuted": ban.permuted_dark_knowledge(),
    }
    places = later_generations(generations)
    mixture.check_students(generations)
    objective = mixture.applied(choose("form", form, objectives))
    first = options.generation("first", labels_only())
    students = [options.generation(f"born again {g}", objective, teachers=(g - 1,)) for g in places]
    return options.lineage("born_again", first, *students)
