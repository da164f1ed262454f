"""Objectives and their terms: what they refuse, how they add up and how they compose."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.inputs import gradient, repeatable, seeds, temperatures
from tests.objective.batches import batch
from tutelage import functional
from tutelage.methods.born_again import Permuted, TeacherConfidence
from tutelage.methods.hinton import distillation
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, StudentMaxTemperature
from tutelage.methods.teacher_free import VirtualTeacher
from tutelage.objective import (
    ConfidencePenalty,
    Constant,
    Labels,
    LogitTerm,
    Match,
    Objective,
    Scalar,
    ScoreDifference,
    Signals,
    TeacherProbs,
    Term,
    beside_labels,
)

LABELS = Match(name="labels", target=Labels(), distance=functional.cross_entropy)
TEACHER = Match(name="teacher", target=TeacherProbs(), temperature=Constant(4.0), weight=Constant(0.9))
TERMS: tuple[Term, ...] = (LABELS, TEACHER, ScoreDifference(weight=0.5, k=3), ConfidencePenalty(weight=0.1))


def having(match: Match, part: str, scalar: Scalar) -> Match:
    return replace(match, temperature=scalar) if part == "temperature" else replace(match, weight=scalar)


def row(signals: Signals, place: int) -> Signals:
    assert signals.keys is not None
    here = slice(place, place + 1)
    return Signals(
        student_logits=signals.student_logits[here],
        labels=signals.labels[here],
        teacher_logits=signals.from_teacher()[here],
        keys=signals.keys[here],
    )


@dataclass(frozen=True)
class Fixed:
    """A scalar that is whatever a user's code makes of it."""

    value: Tensor
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        return self.value

    def formula(self) -> str:
        return "fixed"


@dataclass(frozen=True)
class Self:
    """A target, temperature and weight that all depend on the student, for want of a stop of their own."""

    needs_teacher = False

    def __call__(self, signals: Signals, temperature: float | Tensor | None = None) -> Tensor:
        if temperature is None:
            return 1 + signals.student_logits.square().sum(1)
        return functional.soften(signals.student_logits.roll(1, 1), temperature)

    def formula(self, temperature: str = "") -> str:
        return "self"


def test_an_objective_needs_terms_of_different_names() -> None:
    with pytest.raises(ValueError, match="at least one term"):
        Objective(())
    with pytest.raises(ValueError, match="different names, not labels, teacher, labels"):
        Objective((LABELS, TEACHER, replace(LABELS, weight=Constant(2.0))))


def test_terms_become_a_tuple_in_their_order() -> None:
    objective = Objective([TEACHER, LABELS])  # type: ignore[arg-type]  # a list works too
    assert objective.terms == (TEACHER, LABELS)
    assert objective == Objective((TEACHER, LABELS))
    assert list(objective(batch()).parts) == ["teacher", "labels"]


def test_the_mean_is_taken_once_over_the_batch() -> None:
    signals = batch()
    loss = Objective(TERMS)(signals)
    for term in TERMS:
        values = term(signals)
        assert values.shape == (5,)
        assert torch.equal(loss.parts[term.name], values.mean())
    torch.testing.assert_close(loss.total, torch.stack([term(signals) for term in TERMS]).sum(0).mean())


@repeatable
@given(seeds, st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4))
def test_losses_are_linear_in_the_weights(seed: int, weights: list[float]) -> None:
    signals = batch(seed)
    label, teacher, tolerance, penalty = weights
    total = Objective(
        (
            replace(LABELS, weight=Constant(label)),
            replace(TEACHER, weight=Constant(teacher)),
            ScoreDifference(weight=tolerance, k=3),
            ConfidencePenalty(weight=penalty),
        )
    )(signals).total
    units = (
        LABELS,
        replace(TEACHER, weight=Constant(1.0)),
        ScoreDifference(weight=1, k=3),
        ConfidencePenalty(weight=1),
    )
    alone = [Objective((term,))(signals).total for term in units]
    torch.testing.assert_close(total, torch.stack([w * a for w, a in zip(weights, alone, strict=True)]).sum())


@repeatable
@given(seeds, st.lists(st.floats(0.5, 20.0), min_size=5, max_size=5))
def test_each_sample_may_have_a_temperature_and_a_weight_of_its_own(seed: int, values: list[float]) -> None:
    signals = batch(seed)
    scalars = torch.tensor(values, dtype=torch.float64)
    for target in (TeacherProbs(), Labels(smoothing=0.1), VirtualTeacher(), Shifted(of=Permuted())):
        match = Match(name="m", target=target, temperature=Fixed(scalars), weight=Fixed(scalars.flip(0)))
        alone = [
            replace(match, temperature=Constant(values[i]), weight=Constant(values[4 - i]))(row(signals, i))
            for i in range(5)
        ]
        torch.testing.assert_close(match(signals), torch.cat(alone))


@repeatable
@given(seeds, temperatures, st.sampled_from([0.0, 1.0, 2.0]))
def test_the_power_of_the_temperature_is_the_callers(seed: int, temperature: float, power: float) -> None:
    signals = batch(seed)
    match = Match(
        name="m",
        target=TeacherProbs(),
        temperature=Constant(temperature),
        weight=Constant(3),
        temperature_power=power,
    )
    target = functional.soften(signals.from_teacher(), temperature)
    expected = 3 * temperature**power * functional.kl_divergence(target, signals.student_logits, temperature)
    torch.testing.assert_close(match(signals), expected)


@pytest.mark.parametrize("shape", [(5, 1), (1,), (1, 5), (6,), (5, 5)])
@pytest.mark.parametrize("part", ["temperature", "weight"])
def test_a_scalar_is_one_number_or_one_a_sample(part: str, shape: tuple[int, ...]) -> None:
    match = having(TEACHER, part, Fixed(torch.ones(shape, dtype=torch.float64)))
    with pytest.raises(ValueError, match=re.escape(str(list(shape)))):
        Objective((match,))(batch())


@pytest.mark.parametrize("part", ["temperature", "weight"])
def test_one_number_may_be_a_tensor(part: str) -> None:
    match = having(TEACHER, part, Fixed(torch.tensor(2.0)))
    plain = having(TEACHER, part, Constant(2.0))
    torch.testing.assert_close(match(batch()), plain(batch()))


@pytest.mark.parametrize("part", ["temperature", "weight"])
def test_scalars_do_not_change_the_dtype(part: str) -> None:
    signals = batch()
    single = replace(
        signals, student_logits=signals.student_logits.float(), teacher_logits=signals.from_teacher().float()
    )
    match = having(TEACHER, part, Fixed(torch.full((5,), 2.0, dtype=torch.float64)))
    assert Objective((match,))(single).total.dtype == torch.float32


@dataclass(frozen=True)
class Column(LogitTerm):
    """A term that forgot to squeeze."""

    name: str = "column"
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        return signals.student_logits[:, :1]

    def formula(self) -> str:
        return "column"


@dataclass(frozen=True)
class Incomplete:
    """A term that says nothing of layers, nor of what it learns."""

    name: str = "incomplete"
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        return signals.student_logits.sum(1)

    def formula(self) -> str:
        return "incomplete"


@pytest.mark.parametrize("wrong", [Incomplete(), "labels", None])
def test_an_objective_names_what_is_no_complete_term(wrong: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{wrong!r} is not a complete one: see tutelage.objective.Term")):
        Objective((LABELS, wrong))


def test_a_term_gives_one_value_per_example() -> None:
    with pytest.raises(ValueError, match=re.escape("'column' gives [5, 1]")):
        Objective((Column(),))(batch())


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("target", "teacher", "Target"),
        ("temperature", 4.0, "Scalar"),
        ("weight", 0.9, "Scalar"),
        ("weight", None, "Scalar"),
    ],
)
def test_a_match_names_the_part_that_does_not_fit(field: str, value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{field} of 'teacher' must be a {kind}, not {value!r}")):
        replace(TEACHER, **{field: value})


def test_a_constant_is_a_number() -> None:
    assert Constant(4) == Constant(4.0)
    with pytest.raises(TypeError, match="a constant is a number, not '4'"):
        Constant("4")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("k", [1, 0, -3])
def test_a_score_difference_compares_at_least_two_classes(k: int) -> None:
    with pytest.raises(ValueError, match=f"not k = {k}"):
        ScoreDifference(weight=0.5, k=k)


def test_only_the_distance_sees_gradients() -> None:
    signals = batch()
    own = Self()
    match = Match(name="m", target=own, temperature=own, weight=own, temperature_power=1.0)
    frozen = own(signals).detach()
    target = own(signals, frozen).detach()
    expected = frozen * frozen * functional.kl_divergence(target, signals.student_logits, frozen)
    actual = match(signals)
    torch.testing.assert_close(actual, expected)
    student = signals.student_logits
    torch.testing.assert_close(gradient(actual, student), gradient(expected, student))


def test_signals_say_which_shapes_do_not_fit() -> None:
    signals = batch()
    assert signals.num_classes == 6
    with pytest.raises(ValueError, match="learns from a teacher, and there is none"):
        replace(signals, teacher_logits=None).from_teacher()
    for shape in ((5, 1), (1, 6), (6,), (5, 6, 1)):
        with pytest.raises(ValueError, match=re.escape(f"{list(shape)}, student logits [5, 6]")):
            replace(signals, teacher_logits=torch.zeros(shape)).from_teacher()


@pytest.mark.parametrize(
    ("scalar", "needs_teacher"),
    [
        (Constant(1.0), False),
        (FocalTemperature(), True),
        (StudentMaxTemperature(), False),
        (TeacherConfidence(), True),
    ],
)
@pytest.mark.parametrize("part", ["temperature", "weight"])
def test_whoever_needs_a_teacher_says_so(part: str, scalar: Scalar, needs_teacher: bool) -> None:
    term = having(LABELS, part, scalar)
    assert isinstance(scalar, Scalar)
    assert isinstance(term, Term)
    assert term.needs_teacher is needs_teacher
    assert Objective((ScoreDifference(weight=1.0), term)).needs_teacher is needs_teacher


def test_beside_labels_leaves_out_labels_of_weight_0() -> None:
    assert beside_labels(0.0, TEACHER).terms == (TEACHER,)
    assert [term.name for term in beside_labels(0.1, TEACHER).terms] == ["labels", "teacher"]
    assert beside_labels(0.1, TEACHER) == distillation(hard_weight=0.1)
    with pytest.raises(ValueError, match="at least one term"):
        beside_labels(0.0)
