"""Preparing Lessons (arXiv 1911.07471): a protocol without numbers, since the paper's text could not be read."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.experiments.papers.crd import schedule
from tutelage.experiments.spec import (
    Experiment,
    Unavailable,
    experiment_study,
    missing_requirement,
    remarks,
    scheduled_arm,
)
from tutelage.lineage import Lineage
from tutelage.methods.hinton import distillation
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.preparing_lessons import dynamic_temperature, knowledge_adjustment


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of this paper."""
    name = "preparing-lessons/cifar-100/resnet50_resnet18"
    yield Experiment(
        name=name,
        description=(
            "CIFAR-100: ResNet50 teaches ResNet18 adjusted knowledge at dynamic temperatures; no printed numbers"
        ),
        study=experiment_study(name, _arms(), reference="KD"),
        unknowns=remarks(
            "the student and the schedule; here ResNet18, and that of the CRD benchmark (the teacher is Figure 2's)",
            "weights, temperatures and biases; here tutelage's defaults, 0.9 for the teacher at a temperature of 4",
        ),
    )
    for images in ("CINIC-10", "Tiny-ImageNet"):
        yield Unavailable(name=f"preparing-lessons/{images.lower()}", reason=missing_requirement(images=images))


def _arms() -> Iterator[Lineage]:
    options, teacher = CommonOptions(model="resnet18", data="cifar100"), "resnet50"
    lineages = {
        "student": baseline(options),
        "teacher": baseline(CommonOptions(model=teacher, data="cifar100")),
        "KD": options.teacher_student("KD", teacher, distillation()),
        "KA by shift": knowledge_adjustment(options, teacher=teacher, adjustment="shift"),
        "KA by smoothing": knowledge_adjustment(options, teacher=teacher, adjustment="smooth"),
        "DTD by FLSW": dynamic_temperature(options, teacher=teacher, temperature_rule="flsw"),
        "DTD by CWSM": dynamic_temperature(options, teacher=teacher, temperature_rule="cwsm"),
        "KA and DTD": dynamic_temperature(options, teacher=teacher, temperature_rule="flsw", adjustment="shift"),
    }
    for name, lineage in lineages.items():
        yield scheduled_arm(name, lineage, schedule)
