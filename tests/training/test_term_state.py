"""Terms with state through the whole loop: wrappers keep what their term learns, banks are part of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from tests.training.test_fit import same
from torch import Tensor, nn

from tutelage import functional
from tutelage.data import BatchLoader, CropFlip, Normalization, Splits
from tutelage.engine import Engine
from tutelage.methods.fitnets import fitnets
from tutelage.methods.hinton import labels_only
from tutelage.methods.logit_standardization import Standardized
from tutelage.models.build import build
from tutelage.objective import Objective, Ramp, Scaled, Signals, Term, TrainingSet
from tutelage.teachers import NetworkTeacher
from tutelage.training import OneCycle, Record, Schedule, fit

SCHEDULE = Schedule(epochs=3, batch_size=8, lr=0.05, decay=OneCycle())
STEPS = 12
CPU = Engine.choose("cpu", "fp32", 1)


def loop(splits: Splits, objective: Objective, **options: object) -> Iterator[Record]:
    """A resnet8 beside a teacher twice as wide, with a record after every step."""
    normalization = Normalization.of(splits.train.images)
    teacher = NetworkTeacher(build("resnet8x4", 4, 1, seed=1), normalization, CPU, objective.teacher_layers)
    return fit(
        build("resnet8", 4, 1, seed=0),
        BatchLoader(splits.train, CropFlip(padding=1), SCHEDULE.batch_size, torch.device("cpu")),
        objective,
        SCHEDULE,
        normalization=normalization,
        seed=11,
        engine=CPU,
        teacher=teacher,
        pulse=0.0,
        **options,
    )


HINT = fitnets().terms[1]
WRAPPED: dict[str, Term] = {
    "standardized": Standardized(of=HINT),
    "scaled": Scaled(name="hint", of=HINT, by=Ramp(0.0, 0.5)),
    "both": Standardized(of=Scaled(name="hint", of=Standardized(of=HINT), by=Ramp())),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_feature_term_trains(splits: Splits, name: str) -> None:
    objective = Objective((*labels_only().terms, WRAPPED[name]))
    assert (objective.student_layers, objective.teacher_layers) == (("stage2",), ("stage2",))
    moments = [(record.state().tensors, record.metrics) for record in loop(splits, objective)]
    (first, _), (last, metrics) = moments[0], moments[-1]
    (kernel,) = [each for each in first if each.startswith("learned/learned.hint.") and each.endswith("0.weight")]
    assert not torch.equal(first[kernel], last[kernel])
    assert f"momentum/{kernel}" in last
    assert metrics is not None
    assert metrics["loss/hint"] > 0.0


def test_a_standardized_feature_term_learns_what_it_learns_alone(splits: Splits) -> None:
    def metrics(term: Term) -> list[dict[str, float]]:
        objective = Objective((*labels_only().terms, term))
        return [record.metrics for record in loop(splits, objective) if record.metrics]

    assert metrics(HINT) == metrics(Standardized(of=HINT))  # it reads no logits, so standardizing changes nothing


@dataclass(frozen=True)
class Bank:
    """Keep each sample near the logits it had in the epoch before, and away from those of one other sample."""

    name: str = "bank"
    needs_teacher = False
    student_layers = ()
    teacher_layers = ()

    def is_off(self, progress: float | None) -> bool:
        return False

    def build(self, example: Signals, data: TrainingSet) -> nn.Module:
        return BankModule(data)

    def __call__(self, signals: Signals) -> Tensor:
        raise ValueError("call Objective.bind first")

    def formula(self) -> str:
        return "bank"


class BankModule(nn.Module):
    def __init__(self, data: TrainingSet) -> None:
        super().__init__()
        ids = torch.arange(len(data.labels))[:, None]
        first = functional.uniform(data.seed, ids, torch.arange(data.num_classes))
        self.register_buffer("bank", first.float())
        self.register_buffer("class_counts", torch.bincount(data.labels, minlength=data.num_classes))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.bank: Tensor

    def forward(self, signals: Signals) -> Tensor:
        assert signals.rows is not None
        assert signals.keys is not None
        other = (functional.uniform(signals.keys) * len(self.bank)).long()
        own, negative = self.bank[signals.rows], self.bank[other]
        if self.training:
            self.bank[signals.rows] = signals.student_logits.detach()
            self.updates += 1
        logits = signals.student_logits
        return (logits - own).square().mean(1) - 0.1 * (logits - negative).square().mean(1)


def test_a_memory_bank_continues_bit_for_bit(splits: Splits) -> None:
    objective = Objective((*labels_only().terms, Bank()))
    states = [record.state() for record in loop(splits, objective)]
    assert [int(state.tensors["learned/learned.bank.updates"]) for state in states] == list(range(1, STEPS + 1))
    banks = [state.tensors["learned/learned.bank.bank"] for state in states]
    assert all(not torch.equal(one, other) for one, other in pairwise(banks))
    assert banks[0].shape == (len(splits.train), 4)
    assert (banks[0] != banks[1]).any(1).sum() == SCHEDULE.batch_size  # the rows of one batch, and no other
    for step in (1, 5, 8, STEPS - 1):
        torch.manual_seed(999)  # must not matter
        *_, last = loop(splits, objective, state=states[step - 1])
        assert same(last.state().tensors, states[-1].tensors), f"continuing from step {step}"


def test_what_a_term_knows_of_the_data(splits: Splits) -> None:
    state = next(loop(splits, Objective((*labels_only().terms, Bank())))).state()
    counts = torch.bincount(splits.train.labels, minlength=4)
    assert torch.equal(state.tensors["learned/learned.bank.class_counts"], counts)


def test_a_wrapped_bank_is_updated_in_training_only() -> None:
    signals = Signals(
        student_logits=torch.ones(2, 4),
        labels=torch.tensor([0, 1]),
        rows=torch.tensor([2, 0]),
        keys=torch.arange(2),
        progress=0.5,
    )
    data = TrainingSet(labels=torch.tensor([0, 1, 2]), num_classes=4, seed=3)
    bound = Objective((Scaled(name="faded", of=Bank(), by=Ramp()),)).bind(signals, data)
    plain = Objective((Bank(),)).bind(signals, data)
    before = {name: value.clone() for name, value in bound.state_dict().items()}
    torch.testing.assert_close(bound.eval()(signals).total, 0.5 * plain.eval()(signals).total)
    assert same(before, bound.state_dict())
    bound.train()(replace(signals, rows=torch.tensor([1, 1])))
    assert not same(before, bound.state_dict())
