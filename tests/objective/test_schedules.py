"""Losses that change over training: ramps, scaled terms, mixtures of methods."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.functional.inputs import gradient, repeatable, seeds
from tests.objective.batches import batch, training_set
from tutelage import functional, serialization
from tutelage.methods.confidence_penalty import confidence_penalty
from tutelage.methods.decoupled import Decoupled
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.logit_standardization import Standardized
from tutelage.methods.preparing_lessons import FocalTemperature
from tutelage.methods.tolerant import ScoreDifferenceByShare
from tutelage.objective import (
    ConfidencePenalty,
    Constant,
    FeatureMatch,
    FlowMatch,
    Labels,
    LogitTerm,
    Match,
    Objective,
    Ramp,
    Scalar,
    Scaled,
    ScoreDifference,
    Signals,
    TeacherProbs,
    Term,
    TrainingSet,
    crossfade,
    expected_primary,
)
from tutelage.training import gradient_shares

TEACHER = Match(name="teacher", target=TeacherProbs(), temperature=Constant(4.0), weight=Constant(0.9))
shares = st.floats(0.0, 1.0)


def at(progress: float | None) -> Signals:
    return replace(batch(), progress=progress)


@pytest.mark.parametrize(
    ("ramp", "values"),
    [
        (Ramp(), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (Ramp(0.25, 0.75), [0.0, 0.0, 0.5, 1.0, 1.0]),
        (Ramp(0.0, 0.5, 4.0, 1.0), [4.0, 2.5, 1.0, 1.0, 1.0]),
        (Ramp(0.5, 0.5, 1.0, 3.0), [1.0, 1.0, 3.0, 3.0, 3.0]),
        (Ramp(0.0, 0.0, 1.0, 3.0), [3.0] * 5),
        (Ramp(1.0, 1.0, 1.0, 3.0), [1.0, 1.0, 1.0, 1.0, 3.0]),
        (Ramp(shape="cosine"), [0.0, 0.14644661, 0.5, 0.85355339, 1.0]),
        (Ramp(0.5, 1.0, 2.0, -2.0, shape="cosine"), [2.0, 2.0, 2.0, 0.0, -2.0]),
    ],
)
def test_a_ramp_at_five_moments(ramp: Ramp, values: list[float]) -> None:
    assert [ramp(at(step / 4)) for step in range(5)] == pytest.approx(values, abs=1e-8)


@repeatable
@given(shares, shares, st.floats(-10, 10), st.floats(-10, 10), shares, shares, st.sampled_from(["linear", "cosine"]))
def test_a_ramp_is_monotonic_between_its_ends_and_exact_there(
    one: float, other: float, low: float, high: float, now: float, later: float, shape: Any
) -> None:
    start, stop, first, second = *sorted((one, other)), *sorted((now, later))
    ramp = Ramp(start, stop, low, high, shape=shape)
    before, after = ramp(at(first)), ramp(at(second))
    slack = 1e-12
    assert min(low, high) - slack <= before <= max(low, high) + slack
    assert (after - before) * (high - low) >= -slack
    assert ramp(at(stop)) == high
    if start < stop:
        assert ramp(at(start)) == low


@pytest.mark.parametrize(
    ("ramp", "formula"),
    [
        (Ramp(0.0, 20 / 240), "(0 to 1 over progress 0 to 0.083333)"),
        (Ramp(0.5, 1.0, 4.0, 1.0, shape="cosine"), "(4 to 1 by cosine over progress 0.5 to 1)"),
    ],
)
def test_a_ramp_reads_as_a_formula(ramp: Ramp, formula: str) -> None:
    assert ramp.formula() == formula
    assert isinstance(ramp, Scalar)
    assert not ramp.needs_teacher


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 0.5, "stop": 0.4}, "0 <= start <= stop <= 1, not 0.5 and 0.4"),
        ({"start": -0.1}, "0 <= start <= stop <= 1, not -0.1 and 1.0"),
        ({"stop": 20}, "0 <= start <= stop <= 1, not 0.0 and 20"),
        ({"start": float("nan")}, "0 <= start <= stop <= 1, not nan and 1.0"),
        ({"to": float("inf")}, "finite numbers, not from 0.0 to inf"),
        ({"from_": float("nan")}, "finite numbers, not from nan to 1.0"),
        ({"shape": "steep"}, "the shape of a ramp is linear or cosine, not 'steep'"),
    ],
)
def test_a_ramp_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Ramp(**arguments)


def test_signals_that_do_not_say_how_far_training_is_are_an_error() -> None:
    # silently taking it for the beginning would leave a warmed-up term out for ever
    for term in (replace(TEACHER, weight=Ramp()), replace(TEACHER, temperature=Ramp(from_=1.0, to=4.0))):
        with pytest.raises(ValueError, match="changes over training: the signals need progress"):
            Objective((term,))(at(None))
    assert Objective((TEACHER,))(at(None)).total.isfinite()


def test_whole_numbers_are_the_same_ramp() -> None:
    assert Ramp(0, 1, 0, 9) == Ramp(0.0, 1.0, 0.0, 9.0)
    assert serialization.digest(Ramp(0, 1, 0, 9)) == serialization.digest(Ramp(0.0, 1.0, 0.0, 9.0))


@repeatable
@given(seeds, shares)
def test_a_match_takes_ramps_for_its_weight_and_temperature(seed: int, progress: float) -> None:
    signals = replace(batch(seed), progress=progress)
    moving = replace(TEACHER, weight=Ramp(0.2, 0.6), temperature=Ramp(0.0, 1.0, 4.0, 1.0))
    weight = min(max((progress - 0.2) / 0.4, 0.0), 1.0)
    fixed = replace(TEACHER, weight=Constant(weight), temperature=Constant(4.0 - 3.0 * progress))
    torch.testing.assert_close(moving(signals), fixed(signals))


def test_ramps_in_a_match_read_as_a_formula() -> None:
    moving = replace(TEACHER, weight=Ramp(0.2, 0.6), temperature=Ramp(0.0, 1.0, 4.0, 1.0))
    assert moving.formula() == (
        "(0 to 1 over progress 0.2 to 0.6) τ^2 KL(teacher@τ ‖ student@τ) with τ = (4 to 1 over progress 0 to 1)"
    )


def mixture() -> Objective:
    """Labels, from a soft teacher at first to none in the end: two matching terms with opposite ramps."""
    labels = Match(name="labels", target=Labels(), weight=Ramp(0.1, 0.9), distance=functional.cross_entropy)
    return Objective((labels, replace(TEACHER, weight=Ramp(0.1, 0.9, 1.0, 0.0))))


@repeatable
@given(seeds, shares)
def test_two_terms_with_opposite_ramps_mix(seed: int, progress: float) -> None:
    signals = replace(batch(seed), progress=progress)
    share = min(max((progress - 0.1) / 0.8, 0.0), 1.0)
    hard, soft = labels_only()(signals).total, distillation(teacher_weight=1.0)(signals).total
    torch.testing.assert_close(mixture()(signals).total, share * hard + (1.0 - share) * soft)


MIXED = [
    (distillation(), labels_only()),
    (distillation(temperature=2.0), distillation(teacher_weight=0.5)),
    (confidence_penalty(), Objective((ScoreDifference(weight=0.5, k=3),))),
]


@pytest.mark.parametrize(("first", "then"), MIXED)
@repeatable
@given(progress=shares)
def test_methods_crossfade(first: Objective, then: Objective, progress: float) -> None:
    signals = at(progress)
    share = min(max((progress - 0.25) / 0.5, 0.0), 1.0)
    mixed = crossfade(first, then, 0.25, 0.75)(signals)
    expected = (1.0 - share) * first(signals).total + share * then(signals).total
    torch.testing.assert_close(mixed.total, expected)
    student = signals.student_logits
    torch.testing.assert_close(gradient(mixed.total, student), gradient(expected, student))
    names = [f"first/{term.name}" for term in first.terms] + [f"then/{term.name}" for term in then.terms]
    assert list(mixed.parts) == names


@pytest.mark.parametrize("objective", [mixture(), *(crossfade(*pair, 0.3) for pair in MIXED)])
def test_goes_to_json_and_back(objective: Objective) -> None:
    back = serialization.from_json(json.loads(json.dumps(serialization.to_json(objective))))
    assert back == objective
    assert serialization.digest(back) == serialization.digest(objective)
    assert torch.equal(back(at(0.4)).total, objective(at(0.4)).total)


def test_what_changes_ends_where_its_last_weights_lead() -> None:
    assert expected_primary(mixture(), 10, teacher_primary=0.6) == 1.0
    assert expected_primary(crossfade(labels_only(), labels_only()), 10) == 1.0
    halfway = Objective((*labels_only().terms, replace(TEACHER, temperature=Constant(1.0), weight=Ramp(to=1.0))))
    assert expected_primary(halfway, 10, teacher_primary=0.6) == pytest.approx(0.8)


def test_a_scaled_term_asks_a_teacher_if_its_term_or_scalar_does() -> None:
    penalty = ConfidencePenalty(weight=0.5)
    assert Scaled(name="m", of=TEACHER, by=Ramp()).needs_teacher
    assert Scaled(name="m", of=penalty, by=FocalTemperature()).needs_teacher
    assert not Scaled(name="m", of=penalty, by=Ramp()).needs_teacher
    assert isinstance(Scaled(name="m", of=penalty, by=Ramp()), Term)


def test_the_scalar_of_a_scaled_term_sees_no_gradient() -> None:
    signals, by = batch(), FocalTemperature()
    actual = Scaled(name="m", of=TEACHER, by=by)(signals)
    expected = by(signals).detach() * TEACHER(signals)
    torch.testing.assert_close(actual, expected)
    student = signals.student_logits
    torch.testing.assert_close(gradient(actual, student), gradient(expected, student))


@pytest.mark.parametrize(("field", "value", "kind"), [("of", "teacher", "Term"), ("by", 0.5, "Scalar")])
def test_a_scaled_term_names_the_part_that_does_not_fit(field: str, value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{field} of 'm' must be a {kind}, not {value!r}")):
        replace(Scaled(name="m", of=TEACHER, by=Ramp()), **{field: value})


@dataclass(frozen=True)
class Fixed:
    """A scalar that is whatever a user's code makes of it."""

    value: Tensor
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        return self.value

    def formula(self) -> str:
        return "fixed"


def test_the_scalar_of_a_scaled_term_is_one_number_or_one_a_sample() -> None:
    signals = batch()
    single = replace(
        signals, student_logits=signals.student_logits.float(), teacher_logits=signals.from_teacher().float()
    )
    for value in (torch.tensor(2.0, dtype=torch.float64), torch.full((5,), 2.0, dtype=torch.float64)):
        actual = Scaled(name="m", of=TEACHER, by=Fixed(value))(single)
        torch.testing.assert_close(actual, 2.0 * TEACHER(single))
    for shape in ((5, 1), (1,), (6,)):
        with pytest.raises(ValueError, match=re.escape(f"got {list(shape)}")):
            Scaled(name="m", of=TEACHER, by=Fixed(torch.ones(shape)))(signals)


class Head(nn.Module):
    """What a term learns: one factor."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, signals: Signals) -> Tensor:
        return self.factor * signals.student_logits.square().mean(1)


@dataclass(frozen=True)
class Learned:
    """A term with weights of its own, on layers of both networks."""

    name: str = "learned"
    needs_teacher = True
    student_layers = ("stage1", "stage2")
    teacher_layers = ("layer1",)

    def is_off(self, progress: float | None) -> bool:
        return False

    def build(self, example: Signals, data: TrainingSet) -> nn.Module:
        return Head()

    def __call__(self, signals: Signals) -> Tensor:
        raise ValueError("call Objective.bind first")

    def formula(self) -> str:
        return "learned"


def test_what_a_scaled_term_learns_is_trained_too() -> None:
    objective = Objective((Scaled(name="hint", of=Learned(), by=Ramp()), Scaled(name="t", of=TEACHER, by=Ramp())))
    assert objective.student_layers == ("stage1", "stage2")
    assert objective.teacher_layers == ("layer1",)
    bound = objective.bind(at(0.0), training_set(at(0.0)))
    (factor,) = bound.parameters()
    signals = at(0.25)
    bound(signals).total.backward()
    square = signals.student_logits.detach().square().mean()
    torch.testing.assert_close(bound(signals).parts["hint"], 0.25 * 2.0 * square)
    torch.testing.assert_close(factor.grad, 0.25 * square)


@dataclass(frozen=True)
class Refusing(LogitTerm):
    """A term that must not be evaluated while it is off."""

    name: str = "refusing"
    needs_teacher = False

    def __call__(self, signals: Signals) -> Tensor:
        raise AssertionError

    def formula(self) -> str:
        return "refusing"


OFF = Scaled(name="off", of=Refusing(), by=Ramp(0.5, 1.0))


@pytest.mark.parametrize(
    "term",
    [
        OFF,
        Scaled(name="off", of=Refusing(), by=Constant(0.0)),
        Scaled(name="off", of=Scaled(name="inner", of=Refusing(), by=Constant(-0.0)), by=Constant(1.0)),
        Standardized(of=OFF),
        replace(TEACHER, weight=Ramp(0.3, 1.0)),
        Decoupled(weight=Ramp(0.3, 1.0)),
        FeatureMatch(name="off", layers=(("a", "b"),), distance=functional.attention_transfer, weight=Constant(0.0)),
        FlowMatch(name="off", layers=((("a", "b"), ("c", "d")),), weight=Constant(0.0)),
        ScoreDifference(weight=0.0),
        ScoreDifferenceByShare(weight=0.0, share=0.5),
        ConfidencePenalty(weight=0.0),
    ],
)
def test_a_term_of_weight_zero_is_skipped(term: Term) -> None:
    """Its value is never computed (most of these would fail), and it has no gradient, not even one of zeros."""
    assert term.is_off(0.25)
    labels = labels_only()
    signals = replace(at(0.25), student_features={}, teacher_features={})
    loss = Objective((*labels.terms, term))(signals)
    assert torch.equal(loss.total, labels(signals).total)
    assert list(loss.parts) == ["labels", term.name]
    assert loss.parts[term.name].item() == 0.0
    assert not loss.parts[term.name].requires_grad
    shares = gradient_shares(loss, [signals.student_logits])
    assert shares.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("term", [OFF, replace(TEACHER, weight=Ramp(0.3, 1.0)), Decoupled(weight=Ramp(0.3, 1.0))])
def test_a_term_that_a_ramp_moves_is_off_only_while_its_number_is_zero(term: Term) -> None:
    assert [term.is_off(progress) for progress in (0.0, 0.25, 0.75, 1.0)] == [True, True, False, False]
    assert not term.is_off(None)  # the moment is unknown, so the term asks for it


def test_what_only_a_batch_tells_is_never_off() -> None:
    for scalar in (Fixed(torch.tensor(0.0)), FocalTemperature(), Constant(1e-300), Ramp(to=0.5, from_=0.5)):
        assert not Scaled(name="m", of=TEACHER, by=scalar).is_off(0.0)
    assert not Refusing().is_off(0.0)


def test_where_all_terms_are_off_all_are_evaluated() -> None:
    """A loss needs a graph: the first step of a warm-up may have no other term."""
    loss = Objective((Scaled(name="m", of=TEACHER, by=Ramp()),))(at(0.0))
    assert loss.total.item() == 0.0
    assert loss.total.requires_grad
