"""Revisit Knowledge Distillation: a Teacher-free Framework (arXiv 1909.11723)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tutelage.lineage import Lineage
from tutelage.methods import teacher_free as free
from tutelage.methods.hinton import labels_only
from tutelage.recipes.common_options import CommonOptions, choose
from tutelage.recipes.mixture import Mixture
from tutelage.training import Milestones

Form = Literal["paper", "official"]


def reversed(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    teacher: str | None = None,
    teacher_weight: float = 0.6,
    temperature: float = 20.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Train a weak network, then a strong one (`model`) taught by it: reversed distillation (Re-KD).

    Args:
        teacher: The weaker network; by default resnet8 for the digits and resnet20 otherwise. `model` is by default
            resnet20 for the digits and resnet56 otherwise.
        teacher_weight: The weight of the teacher's term; the labels have the rest.
        temperature: The temperature of the teacher's term.
        temperature_power: Multiply that term by this power of the temperature; 0 is the paper, 2 is usual practice.

    >>> [(generation.name, generation.model) for generation in reversed().generations]
    [('weak teacher', 'resnet8'), ('strong student', 'resnet20')]
    """
    objective = free.tf_kd(
        teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power
    )
    weak = replace(options, model=None).network(teacher)
    return options.lineage(
        "reversed",
        options.generation("weak teacher", labels_only(), model=weak),
        options.generation(
            "strong student",
            mixture.applied(objective),
            teachers=(0,),
            model=options.network(options.model, larger=True),
        ),
    )


def defective(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    teacher: str | None = None,
    teacher_epochs: int = 1,
    teacher_weight: float = 0.95,
    temperature: float = 20.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Train a student with a teacher whose training was cut off early: defective distillation (De-KD).

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        teacher_epochs: The number of epochs that the teacher is trained, at a constant learning rate.
        teacher_weight: The weight of the teacher's term; the labels have the rest.
        temperature: The temperature of the teacher's term.
        temperature_power: Multiply that term by this power of the temperature; 0 is the paper, 2 is usual practice.

    >>> [generation.schedule.epochs for generation in defective().generations]
    [1, 200]
    """
    cut_off = replace(options.schedule(), epochs=teacher_epochs, decay=Milestones(at=()))
    objective = free.tf_kd(
        teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power
    )
    network = options.network(teacher, larger=True)
    return options.lineage(
        "defective",
        options.generation("poor teacher", labels_only(), model=network, schedule=cut_off),
        options.generation("student", mixture.applied(objective), teachers=(0,)),
    )


def tf_kd_self(
    options: CommonOptions = CommonOptions(),
    mixture: Mixture = Mixture(),
    *,
    form: Form = "paper",
    teacher_weight: float = 0.95,
    temperature: float = 20.0,
    multiplier: float = 1.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Train a network, then an equal one taught by it: teacher-free distillation by self-training.

    Args:
        form: Eq. 7 as printed (paper), or what the authors' code computes (official).
        teacher_weight: The weight of the teacher's term; the labels have the rest.
        temperature: The temperature of the teacher's term.
        multiplier: The factor of the authors' code on the teacher's term (1, 50 or 100), in the form official.
        temperature_power: Multiply that term by this power of the temperature, in the form paper; 0 is the paper.

    >>> print(tf_kd_self().generations[1].objective)
    0.05 H(labels, student) + 0.95 KL(teacher@20 ‖ student@20)
    """
    forms = {
        "paper": free.tf_kd(
            teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power
        ),
        "official": free.tf_kd_official(
            teacher_weight=teacher_weight, temperature=temperature, multiplier=multiplier
        ),
    }
    objective = mixture.applied(choose("form", form, forms))
    return options.lineage(
        "tf_kd_self",
        options.generation("first", labels_only()),
        options.generation("self-taught", objective, teachers=(0,)),
    )


def tf_kd_reg(
    options: CommonOptions = CommonOptions(),
    *,
    form: Form = "paper",
    teacher_weight: float = 0.1,
    temperature: float = 20.0,
    correct: float = 0.99,
    multiplier: float = 100.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Train one network with a virtual teacher that is always right: teacher-free distillation by regularization.

    Args:
        form: Eq. 9 as printed (paper), or what the authors' code computes (official).
        teacher_weight: The weight of the virtual teacher's term; the labels have the rest.
        temperature: The temperature of the virtual teacher, and in the form paper of the student too.
        correct: The virtual teacher's probability of the label, before its temperature is applied.
        multiplier: The factor of the authors' code on that term (1, 50 or 100), in the form official.
        temperature_power: Multiply that term by this power of the temperature, in the form paper; 0 is the paper.

    >>> print(tf_kd_reg().generations[0].objective)
    0.9 H(labels, student) + 0.1 KL(virtual(0.99)@20 ‖ student@20)
    """
    forms = {
        "paper": free.tf_kd_reg(
            teacher_weight=teacher_weight,
            temperature=temperature,
            correct=correct,
            temperature_power=temperature_power,
        ),
        "official": free.tf_kd_reg_official(
            teacher_weight=teacher_weight, temperature=temperature, correct=correct, multiplier=multiplier
        ),
    }
    objective = choose("form", form, forms)
    return options.lineage("tf_kd_reg", options.generation("regularised", objective))
