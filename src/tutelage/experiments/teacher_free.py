"""Tf-KD (arXiv 1909.11723): reversed, defective, self- and virtual teachers, as the authors' code runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tutelage.experiments.spec import (
    ONE_RUN,
    SETS,
    Experiment,
    LeftOut,
    Link,
    Remark,
    among,
    arm,
    lacking,
    remarks,
    slug,
    study,
)
from tutelage.lineage import Generation, Lineage
from tutelage.methods.label_smoothing import label_smoothing
from tutelage.methods.teacher_free import tf_kd_official, tf_kd_reg_official
from tutelage.objective import Objective
from tutelage.published import Table, cell, tables
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Milestones, Schedule, WarmUp

PAPER = "1909.11723"
NETWORKS = {
    "MobileNetV2": "mobilenet_v2",
    "ShuffleNetV2": "shufflenet_v2_tfkd",
    "ResNet18": "resnet18",
    "ResNet50": "resnet50",
    "GoogLeNet": "googlenet",
    "DenseNet121": "densenet121",
    "ResNeXt29": "resnext29_8x64d",
    "ResNeXt101": "resnext101_32x8d",
    "plain CNN": "plain_cnn",
}
ALONE = {"resnet50": 64, "googlenet": 64, "resnext29_8x64d": 64}
TAUGHT = {"googlenet": 64, "resnext29_8x64d": 64}
"""Images a step of a network without and with a teacher, by the official code; 128 for all others."""

# (temperature, weight of the teacher's term), then the code's multiplier, then images a step
NORMAL = {
    "MobileNetV2": (20.0, 0.95),
    "ShuffleNetV2": (20.0, 0.95),
    "ResNet18": (20.0, 0.6),
    "ResNet50": (20.0, 0.6),
    "GoogLeNet": (20.0, 0.6),
    "DenseNet121": (20.0, 0.6),
    "ResNeXt29": (20.0, 0.6),
}
SELF = {
    "MobileNetV2": (20.0, 0.95, 1.0, 128),
    "ShuffleNetV2": (20.0, 0.95, 1.0, 128),
    "ResNet18": (6.0, 0.95, 50.0, 128),
    "GoogLeNet": (20.0, 0.4, 50.0, 64),
    "DenseNet121": (20.0, 0.9, 50.0, 100),
    "ResNeXt29": (20.0, 0.9, 100.0, 64),
}
REG = {
    "MobileNetV2": (40.0, 0.95, 1.0),
    "ShuffleNetV2": (10.0, 0.95, 1.0),
    "ResNet18": (20.0, 0.1, 100.0),
    "GoogLeNet": (40.0, 0.1, 50.0),
}
TAUGHT_BY = {"MobileNetV2": "ResNet18", "ShuffleNetV2": "ResNet18", "ResNet18": "ResNet50", "GoogLeNet": "ResNeXt29"}
POOR_EPOCHS = {"ResNet18": 1, "ResNet50": 50, "ResNeXt29": 50}
IMAGES = {"tiny-imagenet": "Tiny-ImageNet", "imagenet": "ILSVRC2012"}

TURNED = 15.0
"""Degrees either way, by which the official code turns training images of CIFAR."""

DIFFERS = "the last epoch is measured; the official code keeps the best epoch on the test set"
FORM = (
    "whether the printed equations or the official code made the numbers; here the code's loss and hyper-parameters"
)
POOR = "the hyper-parameters with a poor teacher; here those of normal distillation"
TEACHES = ("Tf-KD_self", "Tf-KD_reg", "normal KD")
GOOGLENET = "the temperature and weight of GoogLeNet; here those of ResNet18"


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        if table.metric != "top-1 accuracy %" or table.table == "figure 2":
            continue
        for row in dict.fromkeys(one.row for one in table.cells):
            name = f"tf-kd/table-{slug(table.table)}/{slug(row.replace(', ', '_'))}"
            reason = lacking(images=IMAGES.get(table.data, table.data))
            if not reason and "plain CNN" in row:
                reason = "it needs the optimizer Adam, with which the plain CNN is trained; tutelage has SGD alone"
            yield LeftOut(name=name, reason=reason) if reason else _experiment(name, table, row)


def schedule(generation: Generation, batch: int | None = None) -> Schedule:
    """The paper's schedule for one network on CIFAR; ``batch`` replaces the official code's choice."""
    batch = batch or (TAUGHT if generation.teachers else ALONE).get(generation.model, 128)
    steps = Milestones(at=(60 / 200, 120 / 200, 160 / 200), factor=0.2)
    return Schedule(
        epochs=200,
        batch_size=batch,
        lr=0.1 * batch / 128,
        decay=WarmUp(then=steps, over=1 / 200),
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
    )


def _experiment(name: str, table: Table, row: str) -> Experiment:
    if table.table in ("1", "2"):
        return _two_ways(name, table, *row.split(", "))
    if table.table == "4":
        return _defective(name, table, *row.split(", "))
    return _alone(name, table, row)


def _plain(name: str, label: str, images: str) -> Lineage:
    return arm(name, baseline(CommonOptions(model=NETWORKS[label], data=images, rotation=TURNED)), schedule)


def _taught(name: str, teacher: str, student: str, images: str) -> Lineage:
    temperature, weight = NORMAL[student]
    objective = tf_kd_official(teacher_weight=weight, temperature=temperature, multiplier=1.0)
    setting = CommonOptions(model=NETWORKS[student], data=images, rotation=TURNED)
    return arm(name, setting.taught(name, NETWORKS[teacher], objective), schedule)


def _two_ways(name: str, table: Table, teacher: str, student: str) -> Experiment:
    """Tables 1 and 2: the teacher teaches, and is taught."""
    arms = [
        _plain("student", student, table.data),
        _plain("teacher", teacher, table.data),
        _taught("normal KD", teacher, student, table.data),
        _taught("Re-KD", student, teacher, table.data),
    ]
    columns = {"student": "student baseline", "teacher": "teacher baseline"}
    on_cifar10 = table.data == "cifar10"
    open_ = ("the hyper-parameters for CIFAR-10; here those for CIFAR-100", ONE_RUN) if on_cifar10 else ()
    return Experiment(
        name=name,
        about=f"{SETS[table.data]}: {teacher} teaches {student}, and the other way round",
        study=study(name, arms, seeds=(0,) if on_cifar10 else (0, 1, 2)),
        links=_links(arms, table, f"{teacher}, {student}", columns),
        differs=remarks(DIFFERS),
        unknown=remarks(Remark(text=FORM, arms=("normal KD", "Re-KD")), *open_),
    )


def _defective(name: str, table: Table, teacher: str, student: str) -> Experiment:
    """Table 4: a teacher whose training was cut off."""
    epochs = POOR_EPOCHS[teacher]
    line = _taught("De-KD", teacher, student, table.data)
    full = line.generations[0].schedule
    # Until the first milestone the rate is constant: what is cut off there is a short training of its own.
    cut = replace(full, epochs=epochs, decay=WarmUp(then=Milestones(at=()), over=1 / epochs))
    poor = replace(line.generations[0], name="poor teacher", schedule=cut)
    arms = [
        _plain("student", student, table.data),
        replace(line, generations=(poor, line.generations[1])),
    ]
    printed = f"{teacher}, {student}"
    return Experiment(
        name=name,
        about=f"{SETS[table.data]}: {student} taught by {teacher} after {epochs} epoch{'s' if epochs > 1 else ''}",
        study=study(name, arms),
        links=(
            Link(arm="student", place=0, cell=cell(PAPER, "1", _row_of(student), "student baseline")),
            Link(arm="De-KD", place=0, cell=cell(PAPER, "4", printed, "poor teacher")),
            Link(arm="De-KD", place=1, cell=cell(PAPER, "4", printed, "De-KD")),
        ),
        differs=remarks(DIFFERS),
        unknown=remarks(*(Remark(text=text, arms=("De-KD",)) for text in (FORM, POOR)), ONE_RUN),
    )


def _row_of(student: str) -> str:
    """A row of Table 1 that prints a student's baseline."""
    return "ResNeXt29, ResNet18" if student == "ResNet18" else f"ResNet18, {student}"


def _alone(name: str, table: Table, label: str) -> Experiment:
    """Tables 5 and 9: no teacher but oneself, or a virtual one."""
    arms = [_plain("baseline", label, table.data)]
    open_: list[str | Remark] = [ONE_RUN]
    if table.table == "5":
        temperature, weight, multiplier, batch = SELF[label]
        taught = tf_kd_official(teacher_weight=weight, temperature=temperature, multiplier=multiplier)
        setting = CommonOptions(model=NETWORKS[label], data=table.data, rotation=TURNED)
        line = setting.taught("self", NETWORKS[label], taught)
        arms.append(arm("Tf-KD_self", line, lambda one: schedule(one, batch if one.teachers else None)))
        about = f"{SETS[table.data]}: {label} taught by itself"
    else:
        temperature, weight, multiplier = REG[label]
        virtual = tf_kd_reg_official(
            teacher_weight=weight, temperature=temperature, correct=0.99, multiplier=multiplier
        )
        arms.append(_single("Tf-KD_reg", label, virtual, table.data))
        arms.append(_taught("normal KD", TAUGHT_BY[label], label, table.data))
        arms.append(_single("+ LSR", label, label_smoothing(smoothing=0.1, others_only=True), table.data))
        about = f"{SETS[table.data]}: {label} with a virtual teacher, beside a real one and label smoothing"
        if label == "GoogLeNet":
            open_.append(Remark(text=GOOGLENET, arms=("normal KD",)))
    return Experiment(
        name=name,
        about=about,
        study=study(name, arms),
        links=_links(arms, table, label, {}),
        differs=remarks(DIFFERS),
        unknown=remarks(*among([one.name for one in arms], (FORM, TEACHES)), *open_),
    )


def _single(name: str, label: str, objective: Objective, images: str) -> Lineage:
    setting = CommonOptions(model=NETWORKS[label], data=images, rotation=TURNED)
    return arm(name, setting.lineage(name, setting.generation(name, objective)), schedule)


def _links(arms: Sequence[Lineage], table: Table, row: str, columns: dict[str, str]) -> tuple[Link, ...]:
    """The last generation of each arm beside the column of its name."""
    printed = {one.column: one for one in table.cells if one.row == row}
    return tuple(
        Link(arm=one.name, place=len(one.generations) - 1, cell=printed[columns.get(one.name, one.name)])
        for one in arms
    )
