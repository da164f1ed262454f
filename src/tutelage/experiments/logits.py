"""Strong methods on logits over the pairs of the CRD benchmark: DKD, DIST, logit standardisation, multi-level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tutelage.experiments.crd import OWN_TEACHER, SLOW, alone, case, differs, network, taught
from tutelage.experiments.spec import (
    LAST_EPOCH,
    ONE_RUN,
    Experiment,
    LeftOut,
    Link,
    Remark,
    among,
    lacking,
    remarks,
    slug,
    study,
)
from tutelage.lineage import Lineage
from tutelage.methods.dist import dist
from tutelage.methods.logit_standardization import logit_standardization, standardized_decoupled
from tutelage.methods.multi_level import multi_level
from tutelage.methods.presets import mdistiller, mdistiller_dkd
from tutelage.objective import Objective
from tutelage.published import Cell, cells
from tutelage.training import Milestones, Schedule

STANDARDIZATION, DECOUPLED, DIST = "2403.01427", "2203.08679", "2205.10536"

LSKD = {
    "vgg13 to vgg8": (3.0, 9.0),
    "resnet110 to resnet20": (4.0, 12.0),
    "resnet32x4 to wrn-16-2": (3.0, 9.0),
    "resnet32x4 to wrn-40-2": (3.0, 9.0),
    "wrn-40-2 to MobileNetV2": (3.0, 9.0),
    "vgg13 to MobileNetV2": (3.0, 9.0),
    "ResNet50 to MobileNetV2": (3.0, 1.0),
}
"""Temperature and weight of KD + LS(td), from the names of its authors' logs; (2, 9) for all other pairs."""

OTHERS = {
    "resnet56 to resnet20": 2.0,
    "resnet110 to resnet32": 2.0,
    "wrn-40-2 to wrn-16-2": 6.0,
    "wrn-40-2 to wrn-40-1": 6.0,
    "vgg13 to vgg8": 6.0,
    "vgg13 to MobileNetV2": 6.0,
    "resnet32x4 to resnet8x4": 8.0,
    "resnet32x4 to ShuffleNetV1": 8.0,
    "resnet32x4 to ShuffleNetV2": 8.0,
    "wrn-40-2 to ShuffleNetV1": 8.0,
    "ResNet50 to MobileNetV2": 8.0,
}
"""The weight of DKD's part among the other classes, from mdistiller's configurations."""

BOTH = {
    "resnet56 to resnet20": (3.0, 18.0, 2.0),
    "vgg13 to vgg8": (2.0, 15.0, 2.0),
    "wrn-40-2 to wrn-40-1": (2.0, 12.0, 2.0),
    "wrn-40-2 to wrn-16-2": (2.0, 12.0, 2.0),
    "resnet110 to resnet32": (2.0, 15.0, 2.0),
    "resnet110 to resnet20": (2.0, 15.0, 2.0),
    "resnet32x4 to resnet8x4": (2.0, 9.0, 8.0),
    "resnet32x4 to ShuffleNetV2": (2.0, 9.0, 8.0),
    "resnet32x4 to wrn-16-2": (2.0, 9.0, 2.0),
    "resnet32x4 to wrn-40-2": (2.0, 9.0, 8.0),
    "wrn-40-2 to resnet8x4": (2.0, 18.0, 2.0),
    "wrn-40-2 to MobileNetV2": (2.0, 15.0, 2.0),
    "vgg13 to MobileNetV2": (3.0, 9.0, 2.0),
    "ResNet50 to MobileNetV2": (2.0, 15.0, 2.0),
}
"""Temperature, weight and the weight among the other classes of DKD + LS(td), from its authors' logs."""

NOT_HERE = {
    "CTKD": "curriculum temperature is no method of tutelage",
    "CTKD + LS(td)": "curriculum temperature is no method of tutelage",
    "MLKD + LS(td)": "standardised multi-level distillation is no method of tutelage",
    "KD + DOT": "tutelage has no optimizer with two momenta",
}
ONE_VIEW = (
    "MLKD has one view of each image and the plain formulas; its code a second, strongly augmented view and masks"
)
LENGTH = (
    "whether 240 epochs or more made MLKD's number; here 480 (960 for ShuffleNets), as in the code that prints it"
)
BORROWED = "DKD's weight among the other classes for this pair; here that of DKD + LS(td)"
SCHEDULE = "the schedule behind DIST's and LS(td)'s numbers; here that of mdistiller, 240 epochs"
STRANGERS = ("KD + LS(td)", "DKD + LS(td)", "DIST")


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of these papers."""
    for table in ("same type", "different type"):
        printed = [cell for paper in (STANDARDIZATION, DECOUPLED, DIST) for cell in cells(paper, table)]
        for column in dict.fromkeys(cell.column for cell in printed):
            name = f"logits/{slug(table)}/{case(column)}"
            yield _pair(name, column, {cell.row: cell for cell in printed if cell.column == column})
    for column in dict.fromkeys(cell.column for cell in cells(DECOUPLED, "ImageNet")):
        yield LeftOut(name=f"logits/imagenet/{case(column)}", reason=lacking(images="ILSVRC2012"))


def objectives(column: str) -> dict[str, Objective]:
    """The methods for a pair, with the values that their authors chose for it."""
    temperature, weight = LSKD.get(column, (2.0, 9.0))
    found = {
        "KD": mdistiller(),
        "KD + LS(td)": logit_standardization(temperature=temperature, teacher_weight=weight),
        "DKD": mdistiller_dkd(other_weight=OTHERS[column] if column in OTHERS else BOTH[column][2]),
        "MLKD": multi_level(),
        "DIST": dist(),
    }
    if column in BOTH:
        temperature, weight, others = BOTH[column]
        found["DKD + LS(td)"] = standardized_decoupled(
            temperature=temperature, teacher_weight=weight, other_weight=others
        )
    return found


def long_schedule(student: str) -> Schedule:
    """The schedule of the MLKD rows: longer, at a lower rate, which falls at the epochs of a short training."""
    epochs = 960 if student.startswith("shufflenet") else 480
    return Schedule(
        epochs=epochs,
        batch_size=64,
        lr=0.01 if student in SLOW else 0.025,
        decay=Milestones(at=(150 / epochs, 180 / epochs, 210 / epochs)),
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
    )


def _pair(name: str, column: str, printed: dict[str, Cell]) -> Experiment:
    teacher, student = (network(label) for label in column.split(" to "))
    arms = [*alone(teacher, student)]
    for row, objective in objectives(column).items():
        if row in printed:
            line = taught(row, teacher, student, objective)
            arms.append(_longer(line, student) if row == "MLKD" else line)
    names = tuple(one.name for one in arms)
    unknown = [(LENGTH, ("MLKD",)), (BORROWED, () if column in OTHERS else ("DKD",)), (SCHEDULE, STRANGERS)]
    return Experiment(
        name=name,
        about=f"CIFAR-100, {column}: {', '.join(names[2:])}",
        study=study(name, arms, reference="student"),
        links=tuple(Link(arm=row, place=1, cell=printed[row]) for row in names if row in printed),
        differs=(*differs(arms), Remark(text=OWN_TEACHER, arms=names[2:]), *among(names, (ONE_VIEW, ("MLKD",)))),
        unknown=(*remarks(ONE_RUN, LAST_EPOCH), *among(names, *unknown)),
        left_out=tuple(LeftOut(name=row, reason=NOT_HERE[row]) for row in printed if row not in names),
    )


def _longer(lineage: Lineage, student: str) -> Lineage:
    teacher, pupil = lineage.generations
    return replace(lineage, generations=(teacher, replace(pupil, schedule=long_schedule(student))))
