"""Preparing Lessons (arXiv 1911.07471): a protocol without numbers, since the text could not be read."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.experiments.crd import schedule
from tutelage.experiments.spec import Experiment, LeftOut, arm, lacking, remarks, study
from tutelage.lineage import Lineage
from tutelage.methods.hinton import distillation
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.preparing_lessons import dynamic_temperature, knowledge_adjustment


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of this paper."""
    name = "preparing-lessons/cifar-100/resnet50_resnet18"
    yield Experiment(
        name=name,
        about="CIFAR-100: ResNet50 teaches ResNet18 adjusted knowledge at dynamic temperatures; no printed numbers",
        study=study(name, _arms(), reference="KD"),
        unknown=remarks(
            "the student and the schedule; here ResNet18, and that of the CRD benchmark (the teacher is Figure 2's)",
            "weights, temperatures and biases; here tutelage's defaults, 0.9 for the teacher at a temperature of 4",
        ),
    )
    for images in ("CINIC-10", "Tiny-ImageNet"):
        yield LeftOut(name=f"preparing-lessons/{images.lower()}", reason=lacking(images=images))


def _arms() -> Iterator[Lineage]:
    setting, teacher = CommonOptions(model="resnet18", data="cifar100"), "resnet50"
    lineages = {
        "student": baseline(setting),
        "teacher": baseline(CommonOptions(model=teacher, data="cifar100")),
        "KD": setting.taught("KD", teacher, distillation()),
        "KA by shift": knowledge_adjustment(setting, teacher=teacher, adjustment="shift"),
        "KA by smoothing": knowledge_adjustment(setting, teacher=teacher, adjustment="smooth"),
        "DTD by FLSW": dynamic_temperature(setting, teacher=teacher, weights="flsw"),
        "DTD by CWSM": dynamic_temperature(setting, teacher=teacher, weights="cwsm"),
        "KA and DTD": dynamic_temperature(setting, teacher=teacher, weights="flsw", adjustment="shift"),
    }
    for name, lineage in lineages.items():
        yield arm(name, lineage, schedule)
