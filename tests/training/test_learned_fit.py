"""Feature methods on networks: what they learn is trained, continues bit for bit, and is not exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.objective.batches import training_set
from torch import Tensor

from tutelage import storage
from tutelage.data import BatchLoader, CropFlip, DataConfig, Normalization, Splits
from tutelage.engine import Engine
from tutelage.lineage import Generation, Lineage, models_of, train
from tutelage.methods import factories
from tutelage.methods.activation_boundary import activation_boundary, pre_activations
from tutelage.methods.correlation_congruence import correlation_congruence_official
from tutelage.methods.fitnets import fitnets
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.variational import variational
from tutelage.models.build import build
from tutelage.models.feature_hooks import FeatureHooks
from tutelage.objective import Objective, Signals, crossfade
from tutelage.teachers import NetworkTeacher
from tutelage.training import OneCycle, Record, Schedule, State, fit

SCHEDULE = Schedule(epochs=3, batch_size=8, lr=0.05, decay=OneCycle())
STEPS = 12
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "fitnets": fitnets,
    "variational": variational,
    "boundary": lambda: activation_boundary(layers=pre_activations(8, 8)),
    "correlation": correlation_congruence_official,
}
LEARNED = {"fitnets": "hint", "variational": "information", "boundary": "boundary", "correlation": "correlation"}


def loop(
    splits: Splits, objective: Objective, precision: str = "fp32", seed: int = 11, **options: object
) -> Iterator[Record]:
    """A resnet8 that learns from one four times as wide."""
    engine = Engine.choose("cpu", precision, 1)
    normalization = Normalization.of(splits.train.images)
    teacher = NetworkTeacher(build("resnet8x4", 4, 1, seed=1), normalization, engine, objective.teacher_layers)
    return fit(
        build("resnet8", 4, 1, seed=0),
        BatchLoader(splits.train, CropFlip(padding=1), SCHEDULE.batch_size, torch.device("cpu")),
        objective,
        SCHEDULE,
        normalization=normalization,
        seed=seed,
        engine=engine,
        teacher=teacher,
        **options,
    )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def learned(state: State) -> dict[str, Tensor]:
    return {name: value for name, value in state.tensors.items() if name.startswith("learned/")}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["fitnets", "variational"])
def test_continuing_ends_in_the_same_bits(splits: Splits, name: str, precision: str) -> None:
    states: list[State] = []
    lines: list[dict[str, float]] = []
    for record in loop(splits, OBJECTIVES[name](), precision, pulse=0.0):
        states.append(record.state())
        if record.metrics:
            lines.append(record.metrics)
    assert [state.step for state in states] == list(range(1, STEPS + 1))
    for step in (1, 5, 8, STEPS - 1):  # within epochs and between them
        torch.manual_seed(999)  # must not matter: a new process may have drawn anything
        rest = list(loop(splits, OBJECTIVES[name](), precision, state=states[step - 1]))
        assert same(rest[-1].state().tensors, states[-1].tensors), f"continuing from step {step}"
        metrics = [record.metrics for record in rest if record.metrics]
        assert metrics == lines[len(lines) - len(metrics) :]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_it_learns_is_trained_and_kept(splits: Splits, name: str) -> None:
    first, *_, last = [record.state() for record in loop(splits, OBJECTIVES[name](), pulse=0.0)]
    weights = {each: value for each, value in learned(first).items() if value.is_floating_point()}
    assert weights
    assert all(each.startswith(f"learned/learned.{LEARNED[name]}.") for each in weights)
    for each, value in weights.items():
        # the bias before a batch normalisation is moved by weight decay alone
        assert each.endswith("connector.0.bias") or not torch.equal(value, last.tensors[each]), each
    momenta = {each for each in last.tensors if each.startswith("momentum/learned/")}
    assert {each.removeprefix("momentum/") for each in momenta} <= set(weights)
    assert momenta


@pytest.mark.parametrize("name", OBJECTIVES)
def test_its_first_weights_are_a_function_of_the_seed(splits: Splits, name: str) -> None:
    def start(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed + 5)  # must not matter
        return learned(next(iter(loop(splits, OBJECTIVES[name](), seed=seed, pulse=0.0))).state())

    assert same(start(11), start(11))
    assert not same(start(11), start(12))


def test_a_stage_leaves_what_only_the_other_stage_trains(splits: Splits) -> None:
    """The classifier in a first stage on features, the connectors in a second one on labels: not even decayed."""
    boundary = Objective(tuple(term for term in OBJECTIVES["boundary"]().terms if term.needs_teacher))
    objective = crossfade(boundary, labels_only(), start=1 / 3, stop=1 / 3)
    ends = [(record.metrics, record.state().tensors) for record in loop(splits, objective) if record.metrics]
    first, last = ends[0][1], ends[-1][1]
    start = build("resnet8", 4, 1, seed=0).state_dict()
    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(first[f"network/{name}"], start[name])
        assert not torch.equal(last[f"network/{name}"], start[name])
    assert not torch.equal(first["network/stem.conv.weight"], start["stem.conv.weight"])
    connectors = [name for name in first if name.startswith("learned/")]
    assert connectors
    assert all(torch.equal(first[name], last[name]) for name in connectors)
    losses = [(metrics["loss/first/boundary"] > 0, metrics["loss/then/labels"] > 0) for metrics, _ in ends]
    assert losses == [(True, False), (False, True), (False, True)]


def test_the_student_alone_is_the_network(splits: Splits) -> None:
    state = list(loop(splits, fitnets().also(variational())))[-1].state()
    network = {n.removeprefix("network/"): v for n, v in state.tensors.items() if n.startswith("network/")}
    student = build("resnet8", 4, 1, seed=0)
    assert network.keys() == student.state_dict().keys()
    student.load_state_dict(network)
    groups = {name.split("/")[0] for name in state.tensors}
    assert groups == {"network", "learned", "momentum", "sums"}


def test_the_student_learns_through_the_regressor(splits: Splits) -> None:
    hints = [record.metrics["loss/hint"] for record in loop(splits, fitnets()) if record.metrics]
    assert hints[-1] < hints[0]
    plain = list(loop(splits, labels_only()))[-1].state().tensors
    hinted = list(loop(splits, fitnets()))[-1].state().tensors
    # the regressor's gradient ends at the layer it reads: what is behind it differs through the layers before
    assert not torch.equal(
        plain["network/stage1.0.sum.body.conv1.weight"], hinted["network/stage1.0.sum.body.conv1.weight"]
    )


def test_a_lineage_exports_the_student_without_what_was_learned_beside_it(splits: Splits, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, batch_size=8)
    objective = fitnets().also(distillation(hard_weight=0.0))
    line = Lineage(
        name="hinted",
        data=DataConfig(name="made"),
        views=CropFlip(padding=1),
        generations=(
            Generation(name="teacher", model="resnet8x4", objective=labels_only(), schedule=schedule),
            Generation(name="student", model="resnet8", objective=objective, schedule=schedule, teachers=(0,)),
        ),
    )
    for _ in train(line, 0, splits, runs=tmp_path, engine=Engine.choose("cpu", "fp32", 1)):
        pass
    _, student = models_of(line, 0, splits.fingerprint, "fp32", tmp_path)
    weights = storage.read_tensors(student.folder / "weights.safetensors")
    assert weights.keys() == build("resnet8", 4, 1, seed=0).state_dict().keys()
    assert {"loss/labels", "loss/hint", "loss/teacher"} <= student.metrics()[-1].keys()


FEATURE_METHODS = [name for name, make in factories().items() if make().teacher_layers]


@pytest.mark.parametrize("name", FEATURE_METHODS)
@pytest.mark.parametrize("teacher", ["resnet56", "resnet32x4"])
def test_its_default_layers_are_those_of_the_cifar_networks(name: str, teacher: str) -> None:
    objective = factories()[name]()
    if name == "activation_boundary":
        objective = activation_boundary(layers=pre_activations(20, 56 if teacher == "resnet56" else 32))
        assert teacher == "resnet32x4" or objective == activation_boundary()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    student, frozen = build("resnet20", 4, 1, seed=0), build(teacher, 4, 1, seed=1).eval().requires_grad_(False)
    with (
        FeatureHooks(student, objective.student_layers) as own,
        FeatureHooks(frozen, objective.teacher_layers) as others,
    ):
        logits, teacher_logits = student(images), frozen(images)
        signals = Signals(
            student_logits=logits,
            labels=torch.tensor([0, 1, 2]),
            teacher_logits=teacher_logits,
            student_features=own.features,
            teacher_features=others.features,
        )
    if name == "flow" and teacher == "resnet32x4":
        with pytest.raises(ValueError, match="the flow of stem has 16 channels in the student and 32 in the teacher"):
            objective(signals)
        return
    parts = objective.bind(signals, training_set(signals))(signals).parts
    learning = sum(part for part_name, part in parts.items() if part_name != "labels")
    (gradient,) = torch.autograd.grad(learning, [next(student.parameters())])
    assert gradient.isfinite().all()
    assert gradient.any()
