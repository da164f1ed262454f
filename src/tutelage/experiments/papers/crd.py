"""The CIFAR-100 benchmark of the CRD authors (arXiv 1910.10699): every pair with every method that tutelage has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tutelage.experiments.hyperparameters.crd import FIRST_STAGE, NETWORKS, SCHEDULE
from tutelage.experiments.spec import (
    NUMBER_OF_RUNS,
    Experiment,
    Link,
    Remark,
    Unavailable,
    experiment_study,
    remarks,
    remarks_about,
    scheduled_arm,
    slug,
)
from tutelage.lineage import Generation, Lineage
from tutelage.methods.activation_boundary import activation_boundary
from tutelage.methods.attention_transfer import attention_transfer
from tutelage.methods.correlation_congruence import correlation_congruence_official
from tutelage.methods.fitnets import fitnets
from tutelage.methods.flow import flow
from tutelage.methods.hinton import labels_only
from tutelage.methods.neuron_selectivity import neuron_selectivity
from tutelage.methods.presets import repdistiller
from tutelage.methods.probabilistic_transfer import probabilistic_transfer
from tutelage.methods.relational import relational
from tutelage.methods.similarity_preserving import similarity_preserving
from tutelage.methods.variational import variational
from tutelage.objective import Objective, crossfade
from tutelage.published import PublishedTable, tables
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Schedule

PAPER = "1910.10699"

NO_METHOD = {
    "FT": "tutelage has no factor transfer",
    "CRD": "tutelage has no contrastive representation distillation",
}
OWN_TEACHER = "each seed trains its own teacher; the printed students share one"
ONE_OPTIMIZER = "the optimizer of AB and FSP continues after their first 30 epochs; the benchmark starts a new one"
NARROW_RESNETS = ("resnet20", "resnet32", "resnet56", "resnet110")
SHORTCUTS = "the ResNets' shortcuts have no parameters; the benchmark's are 1x1 convolutions where the shape changes"


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        for column in dict.fromkeys(cell.column for cell in table.cells):
            yield _pair(table, column)


def models(column: str) -> tuple[str, str]:
    """The models of the teacher and the student of a column of the paper's tables.

    >>> models("wrn-40-2 to ShuffleNetV1")
    ('wrn_40_2', 'shufflenet_v1')
    """
    models_by_name = {network.printed: network.model for network in NETWORKS.values()}
    teacher, student = column.split(" to ")
    return models_by_name[teacher], models_by_name[student]


def schedule(generation: Generation, first_stage: int = 0) -> Schedule:
    """The benchmark's schedule for one network, after ``first_stage`` epochs at its highest learning rate."""
    network = NETWORKS.get(generation.model)
    return SCHEDULE.schedule(lr=network.lr if network else None, delay=first_stage)


def case_name(column: str) -> str:
    """The last part of the name of a pair's experiment.

    >>> case_name("vgg13 to MobileNetV2")
    'vgg13_mobilenetv2'
    """
    return slug(column.replace(" to ", "_"))


def student_alone(student: str) -> Lineage:
    """The arm in which the student is trained on the labels alone."""
    return scheduled_arm("student", baseline(CommonOptions(model=student, data="cifar100")), schedule)


def teacher_alone(teacher: str) -> Lineage:
    """The arm in which the teacher is trained on the labels alone."""
    return scheduled_arm("teacher", baseline(CommonOptions(model=teacher, data="cifar100")), schedule)


def student_with_teacher(name: str, teacher: str, student: str, objective: Objective) -> Lineage:
    """An arm in which a teacher is trained, then its student; some methods have a stage before the labels."""
    options = CommonOptions(model=student, data="cifar100")
    first_stage = FIRST_STAGE.epochs if name in FIRST_STAGE.methods else 0
    lineage = options.teacher_student(name, teacher, objective)
    return scheduled_arm(name, lineage, lambda one: schedule(one, first_stage if one.teachers else 0))


def labels_after_first_stage(objective: Objective) -> Objective:
    """The objective's terms that need a teacher for the first stage, then the labels alone.

    The benchmark's code has no weight on the first stage.

    >>> print(labels_after_first_stage(flow(weight=1.0, layers=("stem", "stage1"))))
    (1 to 0 over progress 0.111111 to 0.111111) [flow(stem-stage1)] + \
(0 to 1 over progress 0.111111 to 0.111111) [H(labels, student)]
    """
    from_teacher = Objective(tuple(term for term in objective.terms if term.needs_teacher))
    share = FIRST_STAGE.epochs / (SCHEDULE.epochs + FIRST_STAGE.epochs)
    return crossfade(from_teacher, labels_only(), start=share, stop=share)


def network_differences(arms: Sequence[Lineage]) -> tuple[Remark, ...]:
    """Where the networks of some arms are not those of the benchmark."""
    narrow = [arm.name for arm in arms if any(generation.model in NARROW_RESNETS for generation in arm.generations)]
    return remarks_about(narrow, (SHORTCUTS, narrow))


def objectives(teacher: str, student: str) -> dict[str, Objective]:
    """The benchmark's methods for a pair of networks, with its weights and layers."""
    ours, theirs = NETWORKS[student], NETWORKS[teacher]
    maps = tuple(zip(ours.feature_maps, theirs.feature_maps, strict=True))
    by_method = {
        "KD": repdistiller(),
        "FitNet": fitnets(layers=maps[1:2]),
        "AT": attention_transfer(layers=maps),
        "SP": similarity_preserving(layers=maps[-1:]),
        "CC": correlation_congruence_official(),
        "VID": variational(layers=maps),
        "RKD": relational(),
        "PKT": probabilistic_transfer(),
        "FSP": labels_after_first_stage(flow(weight=1.0, layers=(("stem", "stem"), *maps))),
        "NST": neuron_selectivity(layers=maps),
    }
    if ours.pre_activations:
        pairs = tuple(zip(ours.pre_activations, theirs.pre_activations, strict=True))
        by_method["AB"] = labels_after_first_stage(activation_boundary(weight=1.0, layers=pairs))
    return by_method


def _pair(table: PublishedTable, column: str) -> Experiment:
    printed = {cell.row: cell for cell in table.cells if cell.column == column}
    teacher, student = models(column)
    by_method = objectives(teacher, student)
    arms = [student_alone(student), teacher_alone(teacher)]
    arms += [student_with_teacher(row, teacher, student, by_method[row]) for row in printed if row in by_method]
    names = tuple(arm.name for arm in arms)
    taught = names[2:]
    name = f"crd/{slug(table.table)}/{case_name(column)}"
    no_module = f"{column.split(' to ')[1]} has no module whose output is its last value before the ReLU"
    missing = [row for row in printed if row not in names]
    return Experiment(
        name=name,
        description=f"CIFAR-100, {column}: {', '.join(taught)}",
        study=experiment_study(name, arms, reference="student"),
        links=tuple(Link(arm=arm.name, place=len(arm.generations) - 1, cell=printed[arm.name]) for arm in arms),
        differences=(
            *network_differences(arms),
            *remarks_about(
                names,
                (OWN_TEACHER, taught),
                (ONE_OPTIMIZER, FIRST_STAGE.methods),
            ),
        ),
        unknowns=remarks(NUMBER_OF_RUNS),
        unavailable_arms=tuple(Unavailable(name=row, reason=NO_METHOD.get(row, no_module)) for row in missing),
    )
