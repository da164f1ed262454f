"""The CIFAR-100 benchmark of the CRD authors (arXiv 1910.10699): every pair with every method that tutelage has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tutelage.experiments.spec import ONE_RUN, Experiment, LeftOut, Link, Remark, among, arm, remarks, slug, study
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
from tutelage.published import Table, tables
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Milestones, Schedule

PAPER = "1910.10699"
NETWORKS = {
    "MobileNetV2": "mobilenet_v2_half",
    "ShuffleNetV1": "shufflenet_v1",
    "ShuffleNetV2": "shufflenet_v2",
    "ResNet50": "resnet50",
}
"""Names that are not those of tutelage but for a hyphen."""

SLOW = ("mobilenet_v2_half", "shufflenet_v1", "shufflenet_v2")
FOUR = ("stage1", "stage2", "stage3", "stage4")
STAGES = {
    "vgg8": FOUR,
    "vgg13": FOUR,
    "resnet50": FOUR,
    "mobilenet_v2_half": ("stage2", "stage3", "stage5", "stage7"),
}
"""The maps that the benchmark's code compares, ``feat[1:-1]``; stages 1 to 3 for all others."""

WIDE = ("stage2.0.norm", "stage3.0.norm", "norm")
BEFORE_RELU = {
    **dict.fromkeys(("wrn_40_2", "wrn_40_1", "wrn_16_2"), WIDE),
    **{
        f"resnet{depth}": tuple(f"stage{s}.{(depth - 2) // 6 - 1}.sum" for s in (1, 2, 3))
        for depth in (20, 32, 56, 110)
    },
    "resnet8x4": ("stage1.0.sum", "stage2.0.sum", "stage3.0.sum"),
    "resnet32x4": ("stage1.4.sum", "stage2.4.sum", "stage3.4.sum"),
    "vgg8": tuple(f"{stage}.0.norm" for stage in FOUR),
    "vgg13": tuple(f"{stage}.1.norm" for stage in FOUR),
    "resnet50": ("stage1.2.sum", "stage2.3.sum", "stage3.5.sum", "stage4.2.sum"),
    "mobilenet_v2_half": STAGES["mobilenet_v2_half"],
    "shufflenet_v1": ("stage1.3.sum", "stage2.7.sum", "stage3.3.sum"),
}
"""The same maps before their last ReLU, in the networks that have such a module."""

TWO_STAGES, STAGE = ("AB", "FSP"), 30

NOT_HERE = {
    "FT": "factor transfer is no method of tutelage",
    "CRD": "contrastive representation distillation is no method of tutelage",
}
BEST = "the last epoch is measured; the benchmark's code keeps the best epoch of a student on the test set"
OWN_TEACHER = "each seed trains a teacher of its own; the printed students share one"
AGAIN = "AB and FSP go on after their first 30 epochs; the benchmark starts its optimizer anew"
NARROW = ("resnet20", "resnet32", "resnet56", "resnet110")
SHORTCUTS = "the ResNets' shortcuts have no parameters; the benchmark's are 1x1 convolutions where the shape changes"
RATE = "the rate at which MobileNetV2 and the ShuffleNets were trained alone; here 0.01, as with a teacher"


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        for column in dict.fromkeys(cell.column for cell in table.cells):
            yield _pair(table, column)


def network(label: str) -> str:
    """The network behind a printed name.

    >>> network("wrn-40-2"), network("MobileNetV2")
    ('wrn_40_2', 'mobilenet_v2_half')
    """
    return NETWORKS.get(label, label.replace("-", "_"))


def schedule(generation: Generation, before: int = 0) -> Schedule:
    """The benchmark's schedule for one network, after so many epochs ``before`` at its highest rate."""
    epochs = 240 + before
    return Schedule(
        epochs=epochs,
        batch_size=64,
        lr=0.01 if generation.model in SLOW else 0.05,
        decay=Milestones(at=tuple((before + step) / epochs for step in (150, 180, 210))),
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
    )


def case(column: str) -> str:
    """The part of an experiment's name that stands for a pair.

    >>> case("vgg13 to MobileNetV2")
    'vgg13_mobilenetv2'
    """
    return slug(column.replace(" to ", "_"))


def alone(teacher: str, student: str) -> Iterator[Lineage]:
    """The two arms of a pair that nobody teaches."""
    for name, chosen in (("student", student), ("teacher", teacher)):
        yield arm(name, baseline(CommonOptions(model=chosen, data="cifar100")), schedule)


def taught(name: str, teacher: str, student: str, objective: Objective) -> Lineage:
    """An arm in which a teacher is trained, then its student; some methods have a stage before the labels."""
    setting = CommonOptions(model=student, data="cifar100")
    before = STAGE if name in TWO_STAGES else 0
    line = setting.taught(name, teacher, objective)
    return arm(name, line, lambda one: schedule(one, before if one.teachers else 0))


def first_alone(objective: Objective) -> Objective:
    """A method's terms alone for the first stage, as the benchmark's code has them without a weight, then the labels.

    >>> print(first_alone(flow(weight=1.0, layers=("stem", "stage1"))))
    (1 to 0 over progress 0.111111 to 0.111111) [flow(stem-stage1)] + \
(0 to 1 over progress 0.111111 to 0.111111) [H(labels, student)]
    """
    own = Objective(tuple(term for term in objective.terms if term.needs_teacher))
    share = STAGE / (240 + STAGE)
    return crossfade(own, labels_only(), start=share, stop=share)


def differs(arms: Sequence[Lineage]) -> tuple[Remark, ...]:
    """Where the networks of some arms are not those of the benchmark."""
    narrow = [one.name for one in arms if any(generation.model in NARROW for generation in one.generations)]
    return among(narrow, (SHORTCUTS, narrow))


def objectives(teacher: str, student: str) -> dict[str, Objective]:
    """The benchmark's methods for a pair of networks, with its weights and layers."""
    ours, theirs = (STAGES.get(name, FOUR[:3]) for name in (student, teacher))
    maps = tuple(zip(ours, theirs, strict=True))
    found = {
        "KD": repdistiller(),
        "FitNet": fitnets(layers=maps[1:2]),
        "AT": attention_transfer(layers=maps),
        "SP": similarity_preserving(layers=maps[-1:]),
        "CC": correlation_congruence_official(),
        "VID": variational(layers=maps),
        "RKD": relational(),
        "PKT": probabilistic_transfer(),
        "FSP": first_alone(flow(weight=1.0, layers=(("stem", "stem"), *maps))),
        "NST": neuron_selectivity(layers=maps),
    }
    if student in BEFORE_RELU:
        pairs = tuple(zip(BEFORE_RELU[student], BEFORE_RELU[teacher], strict=True))
        found["AB"] = first_alone(activation_boundary(weight=1.0, layers=pairs))
    return found


def _pair(table: Table, column: str) -> Experiment:
    printed = {cell.row: cell for cell in table.cells if cell.column == column}
    teacher, student = (network(label) for label in column.split(" to "))
    found = objectives(teacher, student)
    arms = [*alone(teacher, student)]
    arms += [taught(row, teacher, student, found[row]) for row in printed if row in found]
    names = tuple(one.name for one in arms)
    name = f"crd/{slug(table.table)}/{case(column)}"
    no_module = f"{column.split(' to ')[1]} has no module whose output is its last value before the ReLU"
    return Experiment(
        name=name,
        about=f"CIFAR-100, {column}: {', '.join(names[2:])}",
        study=study(name, arms, reference="student"),
        links=tuple(Link(arm=one.name, place=len(one.generations) - 1, cell=printed[one.name]) for one in arms),
        differs=(
            *differs(arms),
            *among(names, (BEST, (names[0], *names[2:])), (OWN_TEACHER, names[2:]), (AGAIN, ("AB", "FSP"))),
        ),
        unknown=(*remarks(ONE_RUN), *among(names, (RATE, ("student",) if student in SLOW else ()))),
        left_out=tuple(LeftOut(name=row, reason=NOT_HERE.get(row, no_module)) for row in printed if row not in names),
    )
