"""Tf-KD (arXiv 1909.11723): reversed, defective, self- and virtual teachers, as the authors' code runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tutelage.experiments.hyperparameters.teacher_free import HYPERPARAMETERS, NETWORKS, NETWORKS_BY_MODEL
from tutelage.experiments.spec import (
    DATASET_TITLES,
    NUMBER_OF_RUNS,
    Experiment,
    Link,
    Remark,
    Unavailable,
    experiment_study,
    missing_requirement,
    remarks,
    remarks_about,
    scheduled_arm,
    slug,
)
from tutelage.lineage import Generation, Lineage
from tutelage.methods.label_smoothing import label_smoothing
from tutelage.methods.teacher_free import tf_kd_official, tf_kd_reg_official
from tutelage.objective import Objective
from tutelage.published import PublishedTable, cell, tables
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Milestones, Schedule, WarmUp

PAPER = "1909.11723"

IMAGES = {"tiny-imagenet": "Tiny-ImageNet", "imagenet": "ILSVRC2012"}
BEST_EPOCH = "the last epoch is measured; the official code keeps the best epoch on the test set"
FORM = "whether the numbers are from the paper's equations or its code; here the code's loss and hyper-parameters"
POOR_TEACHER = "the hyper-parameters with a poor teacher; here those of normal distillation"
CIFAR10 = "the hyper-parameters for CIFAR-10; here those for CIFAR-100"
GOOGLENET = "the temperature and weight of GoogLeNet; here those of ResNet18"
DISTILLED = ("Tf-KD_self", "Tf-KD_reg", "normal KD")


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        if table.metric != "top-1 accuracy %" or table.table == "figure 2":
            continue
        for row in dict.fromkeys(one.row for one in table.cells):
            name = f"tf-kd/table-{slug(table.table)}/{slug(row.replace(', ', '_'))}"
            reason = missing_requirement(images=IMAGES.get(table.data, table.data))
            if not reason and "plain CNN" in row:
                reason = "it needs the optimizer Adam, which trains the plain CNN; tutelage has only SGD"
            yield Unavailable(name=name, reason=reason) if reason else _experiment(name, table, row)


def schedule(generation: Generation, batch_size: int | None = None) -> Schedule:
    """The paper's schedule for one network on CIFAR; the learning rate is proportional to the batch size.

    ``batch_size`` is by default the one that the official code takes for the network.
    """
    network = NETWORKS_BY_MODEL[generation.model]
    if batch_size is None:
        batch_size = network.batch_size_with_teacher if generation.teachers else network.batch_size
    step_schedule = HYPERPARAMETERS.schedule
    lr = step_schedule.lr * batch_size / step_schedule.batch_size
    return replace(step_schedule.schedule(lr=lr), batch_size=batch_size)


def _experiment(name: str, table: PublishedTable, row: str) -> Experiment:
    if table.table in ("1", "2"):
        return _both_directions(name, table, *row.split(", "))
    if table.table == "4":
        return _poor_teacher(name, table, *row.split(", "))
    return _self_taught(name, table, row) if table.table == "5" else _virtually_taught(name, table, row)


def _options(label: str, images: str) -> CommonOptions:
    return CommonOptions(model=NETWORKS[label].model, data=images, rotation=HYPERPARAMETERS.rotation)


def _student_alone(name: str, label: str, images: str, objective: Objective | None = None) -> Lineage:
    """An arm of one network that no teacher teaches, on the labels by default."""
    options = _options(label, images)
    if objective is None:
        return scheduled_arm(name, baseline(options), schedule)
    return scheduled_arm(name, options.lineage(name, options.generation(name, objective)), schedule)


def _student_with_teacher(name: str, teacher: str, student: str, images: str) -> Lineage:
    """An arm of normal distillation."""
    values = NETWORKS[student].normal
    objective = tf_kd_official(teacher_weight=values.teacher_weight, temperature=values.temperature, multiplier=1.0)
    lineage = _options(student, images).teacher_student(name, NETWORKS[teacher].model, objective)
    return scheduled_arm(name, lineage, schedule)


def _both_directions(name: str, table: PublishedTable, teacher: str, student: str) -> Experiment:
    """Tables 1 and 2: the teacher teaches the student, and the student teaches the teacher."""
    arms = [
        _student_alone("student", student, table.data),
        _student_alone("teacher", teacher, table.data),
        _student_with_teacher("normal KD", teacher, student, table.data),
        _student_with_teacher("Re-KD", student, teacher, table.data),
    ]
    columns = {"student": "student baseline", "teacher": "teacher baseline"}
    on_cifar10 = table.data == "cifar10"
    return Experiment(
        name=name,
        description=f"{DATASET_TITLES[table.data]}: {teacher} teaches {student}, and the other way round",
        study=experiment_study(name, arms, seeds=(0,) if on_cifar10 else (0, 1, 2)),
        links=_links(arms, table, f"{teacher}, {student}", columns),
        differences=remarks(BEST_EPOCH),
        unknowns=remarks(
            Remark(text=FORM, arms=("normal KD", "Re-KD")), *((CIFAR10, NUMBER_OF_RUNS) if on_cifar10 else ())
        ),
    )


def _poor_teacher(name: str, table: PublishedTable, teacher: str, student: str) -> Experiment:
    """Table 4: a teacher whose training was cut off."""
    epochs = NETWORKS[teacher].poor_teacher_epochs
    assert epochs is not None, teacher
    arm = _student_with_teacher("De-KD", teacher, student, table.data)
    whole, taught = arm.generations
    # Until the first milestone the learning rate is constant: cut off there, it is a short run of its own.
    cut_off = replace(whole.schedule, epochs=epochs, decay=WarmUp(then=Milestones(at=()), over=1 / epochs))
    poor = replace(whole, name="poor teacher", schedule=cut_off)
    arms = [_student_alone("student", student, table.data), replace(arm, generations=(poor, taught))]
    row = f"{teacher}, {student}"
    plural = "s" if epochs > 1 else ""
    return Experiment(
        name=name,
        description=f"{DATASET_TITLES[table.data]}: {student} taught by {teacher} after {epochs} epoch{plural}",
        study=experiment_study(name, arms),
        links=(
            Link(arm="student", place=0, cell=cell(PAPER, "1", _row_with_baseline(student), "student baseline")),
            Link(arm="De-KD", place=0, cell=cell(PAPER, "4", row, "poor teacher")),
            Link(arm="De-KD", place=1, cell=cell(PAPER, "4", row, "De-KD")),
        ),
        differences=remarks(BEST_EPOCH),
        unknowns=remarks(*(Remark(text=text, arms=("De-KD",)) for text in (FORM, POOR_TEACHER)), NUMBER_OF_RUNS),
    )


def _row_with_baseline(student: str) -> str:
    """A row of Table 1 that prints a student's baseline."""
    return "ResNeXt29, ResNet18" if student == "ResNet18" else f"ResNet18, {student}"


def _self_taught(name: str, table: PublishedTable, label: str) -> Experiment:
    """Table 5: a network that is taught by its equal."""
    values = NETWORKS[label].self_taught
    assert values is not None, label
    objective = tf_kd_official(
        teacher_weight=values.teacher_weight, temperature=values.temperature, multiplier=values.multiplier
    )
    lineage = _options(label, table.data).teacher_student("self", NETWORKS[label].model, objective)
    arms = [
        _student_alone("baseline", label, table.data),
        scheduled_arm("Tf-KD_self", lineage, lambda one: schedule(one, values.batch_size if one.teachers else None)),
    ]
    return _without_teacher(name, table, label, arms, f"{DATASET_TITLES[table.data]}: {label} taught by itself")


def _virtually_taught(name: str, table: PublishedTable, label: str) -> Experiment:
    """Table 9: a virtual teacher, beside a real one and label smoothing."""
    values = NETWORKS[label].virtually_taught
    assert values is not None, label
    virtual = tf_kd_reg_official(
        teacher_weight=values.teacher_weight,
        temperature=values.temperature,
        correct=HYPERPARAMETERS.correct,
        multiplier=values.multiplier,
    )
    smoothed = label_smoothing(smoothing=HYPERPARAMETERS.smoothing, others_only=True)
    arms = [
        _student_alone("baseline", label, table.data),
        _student_alone("Tf-KD_reg", label, table.data, virtual),
        _student_with_teacher("normal KD", values.real_teacher, label, table.data),
        _student_alone("+ LSR", label, table.data, smoothed),
    ]
    description = (
        f"{DATASET_TITLES[table.data]}: {label} with a virtual teacher, beside a real one and label smoothing"
    )
    return _without_teacher(name, table, label, arms, description)


def _without_teacher(
    name: str, table: PublishedTable, label: str, arms: Sequence[Lineage], description: str
) -> Experiment:
    names = [arm.name for arm in arms]
    googlenet = ("normal KD",) if label == "GoogLeNet" else ()
    return Experiment(
        name=name,
        description=description,
        study=experiment_study(name, arms),
        links=_links(arms, table, label, {}),
        differences=remarks(BEST_EPOCH),
        unknowns=remarks(
            *remarks_about(names, (FORM, DISTILLED)),
            NUMBER_OF_RUNS,
            *remarks_about(names, (GOOGLENET, googlenet)),
        ),
    )


def _links(arms: Sequence[Lineage], table: PublishedTable, row: str, columns: Mapping[str, str]) -> tuple[Link, ...]:
    """The last generation of each arm beside a cell of the row, in the column of the arm's name or of ``columns``."""
    printed = {one.column: one for one in table.cells if one.row == row}
    return tuple(
        Link(arm=arm.name, place=len(arm.generations) - 1, cell=printed[columns.get(arm.name, arm.name)])
        for arm in arms
    )
