"""The bases of terms: what they provide, what wrappers forward, and that both stay frozen values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
import torch

from tests.objective.batches import batch, training_set
from tutelage import serialization
from tutelage.methods.fitnets import fitnets
from tutelage.methods.logit_standardization import Standardized
from tutelage.methods.multi_level import OverTemperatures
from tutelage.objective import (
    ConfidencePenalty,
    Constant,
    Match,
    Ramp,
    Scaled,
    TeacherProbs,
    Term,
    TermWrapper,
    distance_name,
)

HINT = fitnets(layers=(("stage2", "layer2"),)).terms[1]
MATCH = Match(name="teacher", target=TeacherProbs(), weight=Constant(0.5))
WRAPPERS: tuple[TermWrapper, ...] = (
    Standardized(of=HINT),
    Standardized(of=MATCH, unbiased=False),
    Scaled(name="faded", of=HINT, by=Ramp()),
    OverTemperatures(of=MATCH, temperatures=(Constant(2.0), Constant(3.0))),
    Standardized(
        of=Scaled(name="faded", of=OverTemperatures(of=MATCH, temperatures=(Constant(2.0),)), by=Constant(0.5))
    ),
)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: wrapper.formula())
def test_a_wrapper_needs_what_its_term_needs(wrapper: TermWrapper) -> None:
    assert isinstance(wrapper, Term)
    assert wrapper.name == ("faded" if "faded" in repr(wrapper) else wrapper.of.name)
    assert wrapper.needs_teacher is wrapper.of.needs_teacher
    assert wrapper.student_layers == wrapper.of.student_layers
    assert wrapper.teacher_layers == wrapper.of.teacher_layers
    assert (wrapper.teacher_layers == ("layer2",)) is ("hint" in repr(wrapper))


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: wrapper.formula())
def test_a_wrapper_is_a_frozen_value_that_goes_to_json_and_back(wrapper: TermWrapper) -> None:
    back = serialization.from_json(json.loads(json.dumps(serialization.to_json(wrapper))))
    assert back == wrapper
    assert hash(back) == hash(wrapper)
    assert not hasattr(wrapper, "__dict__")
    with pytest.raises(FrozenInstanceError):
        wrapper.of = MATCH


def test_a_scaled_term_has_a_name_of_its_own() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'name'"):
        Scaled(of=MATCH, by=Ramp())  # type: ignore[call-arg]  # the mistake under test


@pytest.mark.parametrize("term", [MATCH, ConfidencePenalty(weight=0.1), WRAPPERS[3]])
def test_a_term_on_logits_reads_no_layers_and_builds_nothing(term: Term) -> None:
    assert term.student_layers == term.teacher_layers == ()
    assert term.build(batch(), training_set(batch())) is None
    assert not hasattr(term, "__dict__")


def test_a_distance_is_printed_by_its_name() -> None:
    assert distance_name(torch.nn.functional.mse_loss) == "mse_loss"
    assert distance_name(HINT.distance) == "connected fitnet_hint"
