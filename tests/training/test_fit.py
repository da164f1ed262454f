"""The loop: it learns, repeats and continues bit for bit, and stops at numbers that are not finite."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tutelage.data import Batch, BatchLoader, CropFlip, Normalization, Splits
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.preparing_lessons import adjusted_dynamic_temperature
from tutelage.models.build import build
from tutelage.objective import Loss, Objective, Prediction
from tutelage.teachers import NetworkTeacher
from tutelage.training import NotFinite, OneCycle, Record, Schedule, State, fit, gradient_shares

SCHEDULE = Schedule(epochs=3, batch_size=8, lr=0.05, decay=OneCycle())


def engine(precision: str = "fp32") -> Engine:
    return Engine.choose("cpu", precision, 1)


class WithDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        self.head = nn.Linear(144, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def dropout_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WithDropout()


def loop(
    network: nn.Module,
    splits: Splits,
    objective: Objective | None = None,
    schedule: Schedule = SCHEDULE,
    precision: str = "fp32",
    **options: object,
) -> Iterator[Record]:
    return fit(
        network,
        BatchLoader(splits.train, CropFlip(padding=1), schedule.batch_size, torch.device("cpu")),
        objective or labels_only(),
        schedule,
        normalization=Normalization.of(splits.train.images),
        seed=11,
        engine=engine(precision),
        **options,
    )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(splits: Splits) -> None:
    records = list(loop(build("resnet8", 4, 1, seed=0), splits, schedule=Schedule(epochs=25, batch_size=8)))
    accuracies = [r.metrics["accuracy"] for r in records if r.metrics]
    assert accuracies[-1] > 0.9 > accuracies[0]
    assert records[-1].images == 25 * len(splits.train)
    assert records[-1].step == records[-1].steps == 25 * 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_continuing_from_any_step_ends_in_the_same_bits(splits: Splits, precision: str) -> None:
    def whole() -> tuple[list[State], list[dict[str, float]]]:
        records = list(loop(dropout_network(), splits, precision=precision, pulse=0.0))
        return [], [r.metrics for r in records if r.metrics]

    states: list[State] = []
    lines: list[dict[str, float]] = []
    for record in loop(dropout_network(), splits, precision=precision, pulse=0.0):
        states.append(record.state())
        if record.metrics:
            lines.append(record.metrics)
    assert [state.step for state in states] == list(range(1, 13))  # pulse 0: a record after every step
    assert whole()[1] == lines

    for state in states[:-1]:
        torch.manual_seed(999)  # must not matter: a new process may have drawn anything
        rest = list(loop(dropout_network(), splits, precision=precision, state=state))
        assert same(rest[-1].state().tensors, states[-1].tensors), f"continuing from step {state.step}"
        metrics = [r.metrics for r in rest if r.metrics]
        assert metrics == lines[len(lines) - len(metrics) :]


def test_another_seed_is_another_model(splits: Splits) -> None:
    def end(seed: int) -> dict[str, Tensor]:
        network = build("resnet8", 4, 1, seed=seed)
        return list(loop(network, splits))[-1].state().tensors

    assert same(end(0), end(0))
    assert not same(end(0), end(1))


def test_the_parts_and_the_rate_are_recorded(splits: Splits) -> None:
    teacher = NetworkTeacher(build("resnet8", 4, 1, seed=1), Normalization.of(splits.train.images), engine())
    records = list(loop(build("resnet8", 4, 1, seed=0), splits, distillation(), teacher=teacher))
    lines = [record.metrics for record in records if record.metrics]
    assert len(lines) == SCHEDULE.epochs
    for metrics in lines:
        assert set(metrics) == {"epoch", "lr", "accuracy", "loss", "loss/labels", "loss/teacher"}
        assert metrics["loss"] == pytest.approx(metrics["loss/labels"] + metrics["loss/teacher"], abs=1e-6)
        assert 0 <= metrics["accuracy"] <= 1


@pytest.mark.fault(34)
def test_the_teacher_comes_out_as_it_went_in(splits: Splits) -> None:
    network = build("resnet8", 4, 1, seed=1)
    teacher = NetworkTeacher(network, Normalization.of(splits.train.images), engine())
    network.train()  # as a careless caller would
    before = {name: value.clone() for name, value in network.state_dict().items()}
    list(loop(build("resnet8", 4, 1, seed=0), splits, adjusted_dynamic_temperature(), teacher=teacher))
    assert same(before, network.state_dict())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_teacher_and_student_see_the_same_pixels(splits: Splits) -> None:
    student_inputs: list[Tensor] = []
    network = build("resnet8", 4, 1, seed=0)
    network.register_forward_pre_hook(lambda _, inputs: student_inputs.append(inputs[0].clone()))
    teacher_inputs: list[Tensor] = []

    def teacher(batch: Batch) -> Prediction:
        teacher_inputs.append(batch.normalized(Normalization.of(splits.train.images)).clone())
        return Prediction(torch.zeros(len(batch.labels), 4), {})

    list(loop(network, splits, distillation(), teacher=teacher))
    assert len(student_inputs) == len(teacher_inputs) == 12
    assert all(torch.equal(one, other) for one, other in zip(student_inputs, teacher_inputs, strict=True))


def test_no_teacher_where_one_is_needed(splits: Splits) -> None:
    with pytest.raises(ValueError, match="learns from a teacher, and there is none"):
        next(loop(build("resnet8", 4, 1, seed=0), splits, distillation()))


@pytest.mark.fault(32)
def test_a_teacher_of_one_class_is_refused(splits: Splits) -> None:
    def one_class(_: Batch) -> Prediction:
        return Prediction(torch.zeros(8, 1), {})

    with pytest.raises(ValueError, match=r"teacher logits have shape \[8, 1\], student logits \[8, 4\]"):
        next(loop(build("resnet8", 4, 1, seed=0), splits, distillation(), teacher=one_class))


@pytest.mark.fault(21)
def test_an_exploding_run_stops_before_the_step(splits: Splits) -> None:
    network = build("resnet8", 4, 1, seed=0)
    with pytest.raises(NotFinite, match=r"at step \d+ of 12 .*samples .*student's logits are not finite"):
        list(loop(network, splits, schedule=dataclasses.replace(SCHEDULE, lr=1e20)))


@pytest.mark.fault(21)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_teacher_that_is_not_finite_is_named(splits: Splits, poison: float) -> None:
    def poisoned(batch: Batch) -> Prediction:
        return Prediction(torch.full((len(batch.labels), 4), poison), {})

    network = build("resnet8", 4, 1, seed=0)
    before = {name: value.clone() for name, value in network.named_parameters()}
    with pytest.raises(NotFinite, match=r"step 1 of 12 .*teacher's logits are not finite"):
        list(loop(network, splits, distillation(), teacher=poisoned))
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


@pytest.mark.fault(21)
def test_a_state_with_a_bad_weight_is_never_handed_out(splits: Splits) -> None:
    network = build("resnet8", 4, 1, seed=0)
    record = next(loop(network, splits))
    with torch.no_grad():
        next(network.parameters())[0] = float("nan")
    with pytest.raises(NotFinite, match="nothing was saved"):
        record.state()


def test_the_meter_changes_nothing_but_the_metrics(splits: Splits) -> None:
    def end(meter: bool) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        teacher = NetworkTeacher(build("resnet8", 4, 1, seed=1), Normalization.of(splits.train.images), engine())
        network = build("resnet8", 4, 1, seed=0)
        records = list(loop(network, splits, distillation(), teacher=teacher, meter=meter))
        return network.state_dict(), [record.metrics for record in records if record.metrics]

    plain, metered = end(False), end(True)
    assert same(plain[0], metered[0])
    for without, line in zip(plain[1], metered[1], strict=True):
        shares = {name: value for name, value in line.items() if name.startswith("share/")}
        assert without == {name: value for name, value in line.items() if name not in shares}
        assert set(shares) == {"share/labels", "share/teacher"}
        assert sum(shares.values()) == pytest.approx(1.0)


def test_gradient_shares_by_hand() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    parts = {"a": 3 * x[0], "b": x[1] ** 2, "c": (x * 0).sum()}
    shares = gradient_shares(Loss(sum(parts.values()), parts), [x])
    assert shares.tolist() == pytest.approx([3 / 7, 4 / 7, 0.0])
