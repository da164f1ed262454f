"""Revisit Knowledge Distillation: a Teacher-free Framework (arXiv 1909.11723)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tutelage.lineage import Lineage
from tutelage.methods import teacher_free as free
from tutelage.methods.hinton import labels_only
from tutelage.recipes.common_options import CommonOptions, chosen
from tutelage.training import Milestones

Form = Literal["paper", "official"]


def reversed(
    setting: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    teacher_weight: float = 0.6,
    temperature: float = 20.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Reversed distillation (Re-KD): a weak network teaches a strong one (`model`).

    Args:
        teacher: The weaker network; by default resnet8 for the digits and resnet20 otherwise. `model` is by default
            resnet20 for the digits and resnet56 otherwise.
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: What both networks' logits are divided by in the teacher's term.
        temperature_power: Multiplies that term by this power of the temperature; 0 is the paper, 2 usual practice.

    >>> [(generation.name, generation.model) for generation in reversed().generations]
    [('weak teacher', 'resnet8'), ('strong student', 'resnet20')]
    """
    objective = free.tf_kd(
        teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power
    )
    weak = replace(setting, model=None).network(teacher)
    return setting.lineage(
        "reversed",
        setting.generation("weak teacher", labels_only(), model=weak),
        setting.generation(
            "strong student", objective, teachers=(0,), model=setting.network(setting.model, larger=True)
        ),
    )


def defective(
    setting: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    teacher_epochs: int = 1,
    teacher_weight: float = 0.95,
    temperature: float = 20.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Defective distillation (De-KD): a teacher whose training was cut off early.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        teacher_epochs: How many epochs, at a constant rate, the teacher is trained.
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: What both networks' logits are divided by in the teacher's term.
        temperature_power: Multiplies that term by this power of the temperature; 0 is the paper, 2 usual practice.

    >>> [generation.schedule.epochs for generation in defective().generations]
    [1, 200]
    """
    cut_off = replace(setting.schedule(), epochs=teacher_epochs, decay=Milestones(at=()))
    objective = free.tf_kd(
        teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power
    )
    network = setting.network(teacher, larger=True)
    return setting.lineage(
        "defective",
        setting.generation("poor teacher", labels_only(), model=network, schedule=cut_off),
        setting.generation("student", objective, teachers=(0,)),
    )


def tf_kd_self(
    setting: CommonOptions = CommonOptions(),
    *,
    form: Form = "paper",
    teacher_weight: float = 0.95,
    temperature: float = 20.0,
    multiplier: float = 1.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Teacher-free by self-training: a network, then its fresh twin taught by it.

    Args:
        form: Eq. 7 as printed, or what the authors' code computes.
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: What both networks' logits are divided by in the teacher's term.
        multiplier: A factor on the teacher's term that the authors' code has (1, 50 or 100); official form only.
        temperature_power: Multiplies that term by this power of the temperature; paper form only, 0 is the paper.

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
    objective = chosen("form", form, forms)
    return setting.lineage(
        "tf_kd_self",
        setting.generation("first", labels_only()),
        setting.generation("self-taught", objective, teachers=(0,)),
    )


def tf_kd_reg(
    setting: CommonOptions = CommonOptions(),
    *,
    form: Form = "paper",
    teacher_weight: float = 0.1,
    temperature: float = 20.0,
    correct: float = 0.99,
    multiplier: float = 100.0,
    temperature_power: float = 0.0,
) -> Lineage:
    """Teacher-free by regularisation: a hand-made virtual teacher that is always right.

    Args:
        form: Eq. 9 as printed, or what the authors' code computes.
        teacher_weight: The weight of the virtual teacher's term; the labels get the rest.
        temperature: How much the virtual teacher is softened (in the paper's form the student too).
        correct: The virtual teacher's score on the label before softening.
        multiplier: A factor on its term that the authors' code has (1, 50 or 100); official form only.
        temperature_power: Multiplies that term by this power of the temperature; paper form only, 0 is the paper.

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
    objective = chosen("form", form, forms)
    return setting.lineage("tf_kd_reg", setting.generation("regularised", objective))
