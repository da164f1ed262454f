"""Mixtures of methods: no term is lost, and what adds or changes nothing is refused by name."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from tests.methods.test_contract import loss, signals_for
from tutelage import serialization
from tutelage.methods import factories
from tutelage.methods.attention_transfer import attention_transfer
from tutelage.methods.born_again import Permuted, born_again
from tutelage.methods.decoupled import Decoupled, decoupled
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.preparing_lessons import Shifted
from tutelage.methods.teacher_free import VirtualTeacher
from tutelage.objective import (
    LogitTerm,
    Objective,
    Signals,
    Term,
    crossfade,
    is_labels,
    is_plain_labels,
    same_but_weight,
)
from tutelage.recipes import call
from tutelage.recipes.mixture import Mixture, mixture_notes
from tutelage.recipes.study_spec import study

METHODS = factories()
MIXED = ("distill", "born_again", "tolerant", "reversed", "defective", "tf_kd_self")
SAME_AS_DISTILLATION = {"distillation", "repdistiller", "mdistiller", "torchdistill"}
ON_LABELS = {"labels_only", "label_smoothing", "confidence_weighted"}


def student(recipe: str, **options: Any) -> Objective:
    return call(recipe, **options).generations[-1].objective


def formulas(*terms: Term) -> Counter[str]:
    return Counter(term.formula() for term in terms)


@pytest.mark.parametrize("method", METHODS)
def test_every_pair_of_methods_has_all_terms_or_is_refused_by_name(method: str) -> None:
    base = METHODS[method]()
    has_labels = any(map(is_labels, base.terms))
    for added, make in METHODS.items():
        addition = make()
        expected = [term for term in addition.terms if not (has_labels and is_plain_labels(term))]
        twice = any(same_but_weight(one, other) for one in base.terms for other in expected)
        if twice or not expected or (has_labels and any(map(is_labels, expected))):
            with pytest.raises(ValueError, match=f"^add {added}: "):
                Mixture(add=(added,)).applied(base)
            continue
        mixed = Mixture(add=(added,)).applied(base)
        assert mixed.terms[: len(base.terms)] == base.terms
        assert formulas(*mixed.terms) == formulas(*base.terms, *expected), added
        assert len({term.name for term in mixed.terms}) == len(mixed.terms)


def test_what_distillation_refuses() -> None:
    refused = set()
    for added in METHODS:
        try:
            Mixture(add=(added,)).applied(distillation())
        except ValueError:
            refused.add(added)
    assert refused == SAME_AS_DISTILLATION | ON_LABELS


@pytest.mark.parametrize("added", sorted(METHODS.keys() - SAME_AS_DISTILLATION - ON_LABELS))
def test_the_loss_of_a_mixture_is_the_sum_of_the_losses(added: str) -> None:
    mixed = Mixture(add=(added,)).applied(distillation())
    signals = signals_for(mixed)
    whole = loss(mixed, signals)
    base, addition = loss(distillation(), signals), loss(METHODS[added](), signals)
    beside_labels = addition.total - addition.parts.get("labels", torch.zeros(()))
    torch.testing.assert_close(whole.total, base.total + beside_labels)
    assert list(whole.parts) == [term.name for term in mixed.terms]


def test_three_methods_with_terms_of_one_name() -> None:
    # each of these was dropped without a word: the lineage was that of distillation alone
    mixed = student("distill", add=("knowledge_adjustment", "dynamic_temperature", "tolerant_student"))
    assert [term.name for term in mixed.terms] == ["labels", "teacher", "teacher 2", "teacher 3", "teacher 4"]
    assert [term.formula() for term in mixed.terms[2:]] == [
        "0.9 4^2 KL(shifted(teacher@4) ‖ student@4)",
        "0.9 τ^2 KL(teacher@τ ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), w = (1 - cos)^1)",
        "0.6 KL(teacher ‖ student)",
    ]


def test_one_method_twice_on_other_layers() -> None:
    mixed = student("distill", add=("attention_transfer:layers=stage1", "attention_transfer:layers=stage2"))
    assert [term.name for term in mixed.terms] == ["labels", "teacher", "attention", "attention 2"]


def test_numbered_terms_go_to_json_and_back() -> None:
    for recipe in MIXED:
        added = ("distillation:temperature=2", "attention_transfer", "tf_kd:temperature=3")
        line = call(recipe, add=added, temperature_rule="cwsm")
        assert serialization.from_json(serialization.to_json(line)) == line


@pytest.mark.parametrize(
    ("method", "added", "message"),
    [
        ("distillation", "labels_only", "it has no term but the labels', which count once"),
        (
            "distillation",
            "label_smoothing",
            "would be a second term on the labels, beside 0.1 H(labels, student); distill --method label_smoothing",
        ),
        ("distillation", "confidence_weighted", "distill --method confidence_weighted has it in place of that one"),
        (
            "distillation",
            "distillation:teacher_weight=0.3",
            "0.3 4^2 KL(teacher@4 ‖ student@4) is there already, as 0.9 4^2 KL(teacher@4 ‖ student@4)",
        ),
        ("decoupled", "mdistiller_dkd", "is there already, as"),
        ("born_again", "tolerant_student", "0.6 KL(teacher ‖ student) is there already, as KL(teacher ‖ student)"),
        ("knowledge_adjustment", "knowledge_adjustment", "is there already"),
        (
            "distillation",
            "dist:hard_weight=0.5",
            "hard_weight=0.5 only changes the labels' term, which counts once: 0.1 H(labels, student) stays",
        ),
        (
            "attention_transfer",
            "decoupled:temperature=2,hard_weight=3",
            "hard_weight=3 only changes the labels' term",
        ),
    ],
)
def test_what_adds_nothing_is_refused_by_name(method: str, added: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call("distill", method=method, add=(added,))
    assert str(caught.value).startswith(f"add {added}: ")


@pytest.mark.parametrize("added", ["attention_transfer:weight=1000", "dist:hard_weight=1,temperature=2"])
def test_a_setting_that_is_the_default_is_no_mistake(added: str) -> None:
    assert len(student("distill", add=(added,)).terms) >= 3


def test_the_labels_are_those_of_the_method() -> None:
    smoothed = student("distill", method="label_smoothing", add=("distillation",))
    assert str(smoothed) == "H(labels smoothed by 0.1, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)"
    none = student("distill", method="born_again", add=("attention_transfer", "dist"))
    assert [term.name for term in none.terms] == ["teacher", "labels", "attention", "inter", "intra"]


def test_the_note_on_a_numbered_term_says_what_to_use_instead() -> None:
    def notes(**options: Any) -> tuple[str, ...]:
        return mixture_notes(student("distill", **options))

    (smoothed,) = notes(add=("knowledge_adjustment:adjustment=smooth",))
    assert smoothed == (
        "teacher 2 = 0.9 4^2 KL(smoothed(teacher@4, 0.1) ‖ student@4) stands beside teacher; "
        "--adjustment smooth changes that one"
    )
    (both,) = notes(add=("adjusted_dynamic_temperature",))
    assert both.endswith("; --adjustment shift --temperature-rule flsw changes that one")
    (student_max,) = notes(add=("dynamic_temperature:temperature_rule=cwsm",))
    assert student_max.endswith("; --temperature-rule cwsm changes that one")
    (plain,) = notes(add=("born_again",))
    assert plain == "teacher 2 = KL(teacher ‖ student) stands beside teacher"
    assert notes(add=("attention_transfer",)) == ()
    (alike,) = notes(add=("born_again",), adjustment="shift")
    assert alike == "teacher 2 = KL(shifted(teacher) ‖ student) stands beside teacher"


# adjustments and temperature rules


@pytest.mark.parametrize("adjustment", ["shift", "smooth"])
@pytest.mark.parametrize("method", ["decoupled", "standardized_decoupled", "mdistiller_dkd"])
def test_an_adjustment_reaches_decoupled_distillation(method: str, adjustment: str) -> None:
    word = {"shift": "shifted(teacher@", "smooth": "smoothed(teacher@"}[adjustment]
    assert word in str(student("distill", method=method, adjustment=adjustment))


@pytest.mark.parametrize("rule", ["flsw", "cwsm"])
def test_a_temperature_rule_reaches_every_temperature_of_multi_level_distillation(rule: str) -> None:
    found = student("distill", method="multi_level", temperature_rule=rule, bias=3.0)
    weights = {"flsw": "(1 - cos)^1", "cwsm": "1/max(student)"}[rule]
    mark = f"with τ = max(1, T + 3(mean w - w), w = {weights}), T = 2, 3, 4, 5, 6"
    assert [mark in term.formula() for term in found.terms] == [False, True, True, True]


@pytest.mark.parametrize("recipe", MIXED)
def test_every_recipe_with_a_teacher_takes_a_mixture(recipe: str) -> None:
    plain = student(recipe)
    mixed = student(recipe, add=("attention_transfer", "decoupled"), adjustment="shift", temperature_rule="flsw")
    assert len(mixed.terms) >= len(plain.terms) + 2
    taught = [term.formula() for term in mixed.terms if "teacher" in term.formula()]
    assert len(taught) == 2
    assert all("shifted(teacher@τ)" in formula and "with τ = max(1, " in formula for formula in taught)
    untaught = [one for one in call(recipe, adjustment="shift").generations if not one.teachers]
    assert [one.objective for one in untaught] == [
        one.objective for one in call(recipe).generations if not one.teachers
    ]


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("distill", {"method": "confidence_weighted", "temperature_rule": "flsw"}),
        ("distill", {"method": "confidence_weighted", "adjustment": "shift"}),
        ("born_again", {"form": "confidence", "temperature_rule": "cwsm"}),
        ("born_again", {"form": "confidence", "adjustment": "smooth"}),
        ("distill", {"method": "attention_transfer", "adjustment": "shift"}),
        ("distill", {"method": "fitnets", "temperature_rule": "flsw"}),
        ("distill", {"method": "tf_kd_reg", "add": ("relational",), "adjustment": "shift"}),
        ("distill", {"method": "knowledge_adjustment", "adjustment": "shift"}),
        ("distill", {"method": "knowledge_adjustment", "adjustment": "smooth"}),
        ("distill", {"method": "dynamic_temperature", "temperature_rule": "cwsm"}),
    ],
)
def test_what_has_no_target_or_temperature_to_change_is_refused(recipe: str, options: dict[str, Any]) -> None:
    option = "adjustment" if "adjustment" in options else "temperature_rule"
    with pytest.raises(ValueError, match=rf"^{option} \w+: no term of .* that could be changed; it applies to"):
        call(recipe, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "dynamic_temperature", "add": ("distillation",), "temperature_rule": "flsw"},
        {"method": "knowledge_adjustment", "add": ("distillation:teacher_weight=0.5",), "adjustment": "shift"},
        {"add": ("knowledge_adjustment",), "adjustment": "shift"},
        {"add": ("dynamic_temperature",), "temperature_rule": "flsw"},
    ],
)
def test_one_target_twice_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"would be .* with another weight: leave one of them out"):
        call("distill", **options)


def test_the_labels_cross_entropy_keeps_its_temperature() -> None:
    mixed = student(
        "born_again", form="confidence", add=("distillation",), temperature_rule="flsw", adjustment="shift"
    )
    assert mixed.terms[0].formula() == "B·max(teacher)/Σ max(teacher) H(labels, student)"
    assert "shifted(teacher@τ)" in mixed.terms[1].formula()


@pytest.mark.parametrize("recipe", ["tolerant", "born_again"])
@pytest.mark.parametrize("option", [{"add": ("dist",)}, {"adjustment": "shift"}, {"temperature_rule": "flsw"}])
def test_a_mixture_for_nobody_is_refused(recipe: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="change what students learn, and there are none"):
        call(recipe, generations=0, **option)
    assert len(call(recipe, generations=0).generations) == 1


def test_a_mixture_checks_itself() -> None:
    with pytest.raises(TypeError, match=re.escape("add must be a tuple of methods, ('dist',), not 'dist'")):
        Mixture(add="dist")  # type: ignore[arg-type]  # read letter by letter it would be four methods
    with pytest.raises(ValueError, match="unknown adjustment 'shft': did you mean shift"):
        Mixture(adjustment="shft")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="unknown temperature_rule 'fslw': did you mean flsw"):
        Mixture(temperature_rule="fslw")  # type: ignore[arg-type]  # the mistake under test


def test_the_arms_of_a_study_are_mixtures_too() -> None:
    arms = [
        {"recipe": "tolerant", "generations": 1, "add": ["knowledge_adjustment"]},
        {"recipe": "tf_kd_self", "temperature_rule": "cwsm"},
    ]
    first, second = study(arms).lineages
    assert [term.name for term in first.generations[1].objective.terms] == ["labels", "teacher", "teacher 2"]
    assert "1/max(student)" in str(second.generations[1].objective)
    with pytest.raises(ValueError, match=r"^arms\[0\]: add label_smoothing: H\(labels smoothed by 0.1, student\)"):
        study([{"recipe": "distill", "add": ["label_smoothing"]}])


# terms


@dataclass(frozen=True)
class Unnamed(LogitTerm):
    """A term whose name is not a field."""

    scale: float = 1.0
    name = "mine"
    needs_teacher = False

    def __call__(self, signals: Signals) -> torch.Tensor:
        return self.scale * signals.student_logits.square().sum(1)

    def formula(self) -> str:
        return f"{self.scale:g} |student|^2"


def test_a_term_without_a_field_for_its_name_cannot_be_numbered() -> None:
    with pytest.raises(TypeError, match=r"two terms are named 'mine', and .* has no field for another name"):
        Objective((Unnamed(),)).also(Objective((Unnamed(scale=2.0),)))


def test_wrapped_terms_get_numbers_too() -> None:
    standardized = METHODS["logit_standardization"]()
    mixed = distillation().also(standardized).also(METHODS["logit_standardization"](temperature=3.0))
    assert [term.name for term in mixed.terms] == ["labels", "teacher", "teacher 2", "teacher 3"]
    assert mixed.terms[2].formula() == standardized.terms[1].formula()
    fading = crossfade(distillation(hard_weight=0.0), born_again())
    again = fading.also(crossfade(distillation(hard_weight=0.0, temperature=2.0), attention_transfer()))
    assert [term.name for term in again.terms] == [
        "first/teacher",
        "then/teacher",
        "first/teacher 2",
        "then/labels",
        "then/attention",
    ]


def test_a_number_goes_on_where_there_is_one() -> None:
    inner = distillation().also(born_again())
    assert [term.name for term in distillation(temperature=2.0).also(inner).terms] == [
        "labels",
        "teacher",
        "teacher 2",
        "teacher 3",
    ]


def test_adding_nothing_is_an_error_in_python_too() -> None:
    with pytest.raises(ValueError, match="it has no term but the labels', which count once"):
        distillation().also(labels_only())


def test_decoupled_distillation_needs_a_target_with_logits() -> None:
    with pytest.raises(TypeError, match="target of 'decoupled' must be a LogitTarget"):
        Decoupled(target=VirtualTeacher())  # type: ignore[arg-type]  # the mistake under test
    objective = Objective((replace(decoupled(warm_up=0.0).terms[1], target=Shifted(of=Permuted())),))  # type: ignore[call-arg]  # a Decoupled
    with pytest.raises(TypeError, match=re.escape("the target permuted(teacher) has no logits")):
        loss(objective, signals_for(objective))
