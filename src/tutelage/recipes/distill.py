"""Distillation by any method or mixture of methods, from any number of teachers."""

from __future__ import annotations

from tutelage.lineage import Generation, Lineage
from tutelage.methods import make
from tutelage.methods.hinton import labels_only
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.mixture import Mixture


def distill(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    teacher: tuple[str, ...] = (),
    teacher_weights: tuple[str, ...] = (),
    teacher_shares: tuple[float, ...] = (),
    assistants: tuple[str, ...] = (),
    method: str = "distillation",
    teacher_weight: float | None = None,
    temperature: float | None = None,
) -> Lineage:
    """Train teachers on the labels, then a student (`model`) on the labels and the teachers' predictions.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise. Several teachers
            form an ensemble that averages their probabilities.
        teacher_weights: Files with the teachers' weights, one for each: safetensors, a state dict, or the folder of
            one of our models. These teachers are not trained.
        teacher_shares: The share of each teacher in the ensemble; equal by default.
        assistants: Networks between teacher and student, each taught by the one before (teacher-assistant chain).
        method: Any method of `tutelage list methods` with its arguments, name:argument=value,argument=value.
        teacher_weight: The weight of the teacher's term, if the method has one; the method's default otherwise.
        temperature: The temperature of that term, if the method has one; the method's default otherwise.

    >>> lineage = distill(mixture=Mixture(temperature_rule="flsw", adjustment="shift"), teacher=("resnet14",))
    >>> [(generation.name, generation.model) for generation in lineage.generations]
    [('teacher', 'resnet14'), ('student', 'resnet8')]
    >>> print(lineage.generations[1].objective)  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...
    """
    if isinstance(teacher, str):
        raise TypeError(f"teacher must be a tuple of networks, ({teacher!r},), not {teacher!r}")
    arguments = {"teacher_weight": teacher_weight, "temperature": temperature}
    objective = make(method, **{name: value for name, value in arguments.items() if value is not None})
    objective = mixture.applied(objective)

    networks = teacher or (options.network(larger=True),)
    if teacher_weights and len(teacher_weights) != len(networks):
        raise ValueError(
            f"{len(networks)} teachers need {len(networks)} files of weights, not {len(teacher_weights)}"
        )
    generations: list[Generation] = []
    for number, network in enumerate(networks):
        name = "teacher" if len(networks) == 1 else f"teacher {number + 1}"
        weights = teacher_weights[number] if teacher_weights else None
        model = options.network(network)
        generations.append(options.generation(name, labels_only(), model=model, weights=weights))
    teachers, shares = tuple(range(len(generations))), teacher_shares
    students = [(f"assistant {number}", network) for number, network in enumerate(assistants, 1)]
    for name, network in [*students, ("student", options.network())]:
        student = options.generation(name, objective, teachers=teachers, teacher_shares=shares, model=network)
        generations.append(student)
        teachers, shares = (len(generations) - 1,), ()
    return options.lineage("distill", *generations)
