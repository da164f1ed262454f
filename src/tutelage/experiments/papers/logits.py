"""Strong methods on logits over the pairs of the CRD benchmark: DKD, DIST, logit standardization, multi-level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tutelage.experiments.hyperparameters.crd import SCHEDULE as BENCHMARK_SCHEDULE
from tutelage.experiments.hyperparameters.logits import PAIRS, Pair
from tutelage.experiments.papers import crd
from tutelage.experiments.spec import (
    LAST_EPOCH,
    NUMBER_OF_RUNS,
    Experiment,
    Link,
    Remark,
    Unavailable,
    experiment_study,
    missing_requirement,
    remarks,
    remarks_about,
    slug,
)
from tutelage.lineage import Lineage
from tutelage.methods.dist import dist
from tutelage.methods.logit_standardization import logit_standardization, standardized_decoupled
from tutelage.methods.multi_level import multi_level
from tutelage.methods.presets import mdistiller, mdistiller_dkd
from tutelage.objective import Objective
from tutelage.published import PublishedCell, cells

STANDARDIZATION, DECOUPLED, DIST = "2403.01427", "2203.08679", "2205.10536"

NO_METHOD = {
    "CTKD": "tutelage has no curriculum temperature",
    "CTKD + LS(td)": "tutelage has no curriculum temperature",
    "MLKD + LS(td)": "tutelage has no standardized multi-level distillation",
    "KD + DOT": "tutelage has no optimizer with two momenta",
}
ONE_VIEW = (
    "MLKD uses one view of each image and the plain formulas; its code adds a strongly augmented view and masks"
)
LENGTH = (
    "whether MLKD's number is from 240 epochs or more; here 480 (960 for ShuffleNets), as in the code that prints it"
)
BORROWED_WEIGHT = "DKD's weight among the other classes for this pair; here that of DKD + LS(td)"
SCHEDULE = "the schedule behind DIST's and LS(td)'s numbers; here that of mdistiller, 240 epochs"
WITH_UNKNOWN_SCHEDULE = ("KD + LS(td)", "DKD + LS(td)", "DIST")


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of these papers."""
    for table in ("same type", "different type"):
        printed = [cell for paper in (STANDARDIZATION, DECOUPLED, DIST) for cell in cells(paper, table)]
        for column in dict.fromkeys(cell.column for cell in printed):
            name = f"logits/{slug(table)}/{crd.case_name(column)}"
            yield _pair(name, column, {cell.row: cell for cell in printed if cell.column == column})
    for column in dict.fromkeys(cell.column for cell in cells(DECOUPLED, "ImageNet")):
        name = f"logits/imagenet/{crd.case_name(column)}"
        yield Unavailable(name=name, reason=missing_requirement(images="ILSVRC2012"))


def objectives(pair: Pair) -> dict[str, Objective]:
    """The methods for a pair, with the values that their authors chose for it."""
    by_method = {"KD": mdistiller()}
    if values := pair.standardized:
        by_method["KD + LS(td)"] = logit_standardization(
            temperature=values.temperature, teacher_weight=values.teacher_weight
        )
    if weights := pair.decoupled or pair.standardized_decoupled:
        by_method["DKD"] = mdistiller_dkd(other_weight=weights.other_weight)
    by_method |= {"MLKD": multi_level(), "DIST": dist()}
    if both := pair.standardized_decoupled:
        by_method["DKD + LS(td)"] = standardized_decoupled(
            temperature=both.temperature, teacher_weight=both.teacher_weight, other_weight=both.other_weight
        )
    return by_method


def _pair(name: str, column: str, printed: dict[str, PublishedCell]) -> Experiment:
    teacher, student = crd.models(column)
    pair = PAIRS[column]
    arms = [crd.student_alone(student), crd.teacher_alone(teacher)]
    for method, objective in objectives(pair).items():
        if method in printed:
            arm = crd.student_with_teacher(method, teacher, student, objective)
            arms.append(_with_long_schedule(arm, pair) if method == "MLKD" else arm)
    names = tuple(arm.name for arm in arms)
    taught = names[2:]
    return Experiment(
        name=name,
        description=f"CIFAR-100, {column}: {', '.join(taught)}",
        study=experiment_study(name, arms, reference="student"),
        links=tuple(Link(arm=row, place=1, cell=printed[row]) for row in names if row in printed),
        differences=(
            *crd.network_differences(arms),
            Remark(text=crd.OWN_TEACHER, arms=taught),
            *remarks_about(names, (ONE_VIEW, ("MLKD",))),
        ),
        unknowns=(
            *remarks(NUMBER_OF_RUNS, LAST_EPOCH),
            *remarks_about(
                names,
                (LENGTH, ("MLKD",)),
                (BORROWED_WEIGHT, () if pair.decoupled else ("DKD",)),
                (SCHEDULE, WITH_UNKNOWN_SCHEDULE),
            ),
        ),
        unavailable_arms=tuple(Unavailable(name=row, reason=NO_METHOD[row]) for row in printed if row not in names),
    )


def _with_long_schedule(arm: Lineage, pair: Pair) -> Lineage:
    """The arm of MLKD, whose student trains longer, at a learning rate that falls at the epochs of the benchmark."""
    assert pair.multi_level is not None, f"logits.toml has no schedule of MLKD for {arm.name}"
    teacher, student = arm.generations
    schedule = BENCHMARK_SCHEDULE.schedule(epochs=pair.multi_level.epochs, lr=pair.multi_level.lr)
    return replace(arm, generations=(teacher, replace(student, schedule=schedule)))
