"""Presets against the projects' formulas, written with torch's own losses in the projects' own reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from tests.functional.inputs import LABELS, STUDENT, TEACHER, near
from tests.objective.batches import batch
from tutelage.methods import factories
from tutelage.methods.decoupled import decoupled
from tutelage.methods.presets import mdistiller, mdistiller_dkd, repdistiller, torchdistill
from tutelage.objective import Objective, Signals

SIGNALS = Signals(student_logits=STUDENT, labels=LABELS, teacher_logits=TEACHER, progress=1.0)
Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


def soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student, teacher = log_softmax(student / temperature, 1), softmax(teacher / temperature, 1)
    return kl_div(student, teacher, reduction="batchmean")


def decoupled_in_probabilities(student: Tensor, teacher: Tensor, labels: Tensor, other_weight: float) -> Tensor:
    """DKD from probabilities, a class at a time, at temperature 4."""
    total = torch.zeros((), dtype=student.dtype)
    for row, label in enumerate(labels.tolist()):
        own, taught = softmax(student[row] / 4, 0), softmax(teacher[row] / 4, 0)
        others = [k for k in range(len(own)) if k != label]
        b_own = torch.stack([own[label], own[others].sum()])
        b_taught = torch.stack([taught[label], taught[others].sum()])
        h_own = own[others] / own[others].sum()
        h_taught = taught[others] / taught[others].sum()
        total = total + (b_taught * (b_taught / b_own).log()).sum()
        total = total + other_weight * (h_taught * (h_taught / h_own).log()).sum()
    return 16 * total / len(labels)


PRESETS: dict[str, tuple[Objective, Formula]] = {
    "repdistiller": (repdistiller(), lambda s, t, y: 0.1 * cross_entropy(s, y) + 0.9 * 16 * soft(s, t, 4.0)),
    "mdistiller": (mdistiller(), lambda s, t, y: 0.1 * cross_entropy(s, y) + 0.9 * 16 * soft(s, t, 4.0)),
    "mdistiller, imagenet": (
        mdistiller(benchmark="imagenet"),
        lambda s, t, y: 0.5 * cross_entropy(s, y) + 0.5 * soft(s, t, 1.0),
    ),
    "mdistiller_dkd": (
        mdistiller_dkd(),
        lambda s, t, y: cross_entropy(s, y) + decoupled_in_probabilities(s, t, y, 8.0),
    ),
    "mdistiller_dkd, resnet56": (
        mdistiller_dkd(other_weight=2.0),
        lambda s, t, y: cross_entropy(s, y) + decoupled_in_probabilities(s, t, y, 2.0),
    ),
    "torchdistill": (torchdistill(), lambda s, t, y: 0.9 * cross_entropy(s, y) + 0.1 * 16 * soft(s, t, 4.0)),
    "torchdistill, no labels": (torchdistill(hard_weight=0.0), lambda s, t, y: soft(s, t, 4.0)),
}

GOLDEN: dict[str, list[tuple[dict[str, Any], float]]] = {
    "repdistiller": [({}, 0.418777)],
    "mdistiller": [({}, 0.418777), ({"benchmark": "imagenet"}, 0.598951)],
    "mdistiller_dkd": [({}, 2.904519), ({"other_weight": 2.0}, 1.501199)],
    "torchdistill": [({}, 0.777435), ({"hard_weight": 0.0}, 0.023372)],
}


@pytest.mark.parametrize(
    ("preset", "arguments", "value"),
    [pytest.param(name, *case, id=f"{name}-{case[1]}") for name, cases in GOLDEN.items() for case in cases],
)
def test_total(preset: str, arguments: dict[str, Any], value: float) -> None:
    near(factories()[preset](**arguments)(SIGNALS).total, value)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_projects_formula(name: str, seed: int) -> None:
    objective, formula = PRESETS[name]
    drawn = batch(seed, rows=16, classes=10)
    signals = Signals(
        student_logits=drawn.student_logits, labels=drawn.labels, teacher_logits=drawn.teacher_logits, progress=0.5
    )
    actual = objective(signals).total
    expected = formula(signals.student_logits, signals.from_teacher(), signals.labels)
    torch.testing.assert_close(actual, expected)
    slopes = [torch.autograd.grad(loss, signals.student_logits)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*slopes)


def test_one_alpha_two_meanings() -> None:
    # 0.9 weighs the teacher in one project and the labels in the other
    assert str(repdistiller()) == "0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)"
    assert str(torchdistill()) == "0.9 H(labels, student) + 0.1 4^2 KL(teacher@4 ‖ student@4)"


def test_equal_losses_are_equal_objectives() -> None:
    assert repdistiller() == mdistiller()
    assert mdistiller_dkd() == decoupled()


def test_an_unknown_benchmark_is_an_error() -> None:
    with pytest.raises(ValueError, match="benchmark is one of cifar100, imagenet, not 'cifar10'"):
        mdistiller(benchmark="cifar10")  # type: ignore[arg-type]  # the mistake under test
