"""What every method keeps: walks the package, so that a new file there is held to it unasked."""

from __future__ import annotations

import doctest
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.functional.inputs import random_labels, random_logits
from tests.methods import test_golden
from tutelage import config
from tutelage.functional import hash_ints
from tutelage.methods import factories
from tutelage.objective import Match, Objective, ScoreDifference, Signals, Term, number
from tutelage.recipes import recipes

METHODS = factories()
VARIANTS: dict[str, Callable[[], Objective]] = {
    "distillation, no labels": partial(METHODS["distillation"], hard_weight=0.0, temperature=2.5),
    "label_smoothing, others only": partial(METHODS["label_smoothing"], smoothing=0.3, others_only=True),
    "confidence_penalty, hinge": partial(METHODS["confidence_penalty"], penalty_weight=0.7, threshold=1.5),
    "tolerant_student, tolerance": partial(METHODS["tolerant_student"], tolerance=0.25, k=3, temperature=3.0),
    "tf_kd_reg, squared": partial(METHODS["tf_kd_reg"], temperature_power=2.0, correct=0.9),
    "knowledge_adjustment, smooth": partial(METHODS["knowledge_adjustment"], adjustment="smooth", smoothing=0.2),
    "dynamic_temperature, student": partial(METHODS["dynamic_temperature"], weights="cwsm", normalize="mean"),
    "dynamic_temperature, no floor": partial(
        METHODS["dynamic_temperature"], adjustment="smooth", power=0.5, bias=0.3, floor=None
    ),
}
CASES = METHODS | VARIANTS

COSINE_OF_RAW_LOGITS = "the temperature comes from the angle between raw logits, which a constant turns"
NOT_SHIFT_INVARIANT = {
    "dynamic_temperature": COSINE_OF_RAW_LOGITS,
    "dynamic_temperature, no floor": COSINE_OF_RAW_LOGITS,
    "adjusted_dynamic_temperature": COSINE_OF_RAW_LOGITS,
}

every_method = pytest.mark.parametrize("name", METHODS)
every_case = pytest.mark.parametrize("name", CASES)
taught = pytest.mark.parametrize("name", [name for name, make in CASES.items() if make().needs_teacher])
untaught = pytest.mark.parametrize("name", [name for name, make in CASES.items() if not make().needs_teacher])

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def batch(
    seed: int = 0, rows: int = 7, classes: int = 10, dtype: torch.dtype = torch.float64, spread: float = 3.0
) -> Signals:
    return Signals(
        student_logits=random_logits(seed, rows, classes, spread=spread).to(dtype),
        labels=random_labels(seed + 1, rows, classes),
        teacher_logits=random_logits(seed + 2, rows, classes, spread=spread).to(dtype),
        keys=hash_ints(seed, torch.arange(rows)),
    )


def student_gradient(objective: Objective, signals: Signals) -> Tensor:
    logits = signals.student_logits.clone().requires_grad_()
    return torch.autograd.grad(objective(replace(signals, student_logits=logits)).total, logits)[0]


@every_method
def test_every_argument_has_a_default_and_is_named(name: str) -> None:
    parameters = inspect.signature(METHODS[name]).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)
    assert isinstance(METHODS[name](), Objective)


@every_case
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_parts_sum_to_a_finite_total(name: str, rows: int) -> None:
    objective = CASES[name]()
    for seed in range(5):
        loss = objective(batch(seed, rows))
        assert loss.total.shape == ()
        assert loss.total.isfinite()
        assert list(loss.parts) == [term.name for term in objective.terms]
        torch.testing.assert_close(torch.stack(list(loss.parts.values())).sum(), loss.total)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_that_are_far_too_sure_give_finite_losses(name: str, dtype: torch.dtype) -> None:
    signals = batch(dtype=dtype, spread=1e4)
    assert CASES[name]()(signals).total.isfinite()
    assert student_gradient(CASES[name](), signals).isfinite().all()


@every_case
def test_gradient_reaches_the_student_and_nobody_else(name: str) -> None:
    signals = batch()
    assert signals.teacher_logits is not None
    student, teacher = signals.student_logits.requires_grad_(), signals.teacher_logits.requires_grad_()
    CASES[name]()(signals).total.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.any()
    assert teacher.grad is None


@dataclass(frozen=True)
class Frozen:
    """A scalar that keeps the value it had."""

    value: float | Tensor
    needs_teacher = False

    def __call__(self, signals: Signals) -> float | Tensor:
        return self.value

    def formula(self) -> str:
        return "frozen"


def frozen(term: Term, signals: Signals) -> Term:
    if not isinstance(term, Match):
        return term
    with torch.no_grad():
        temperature, weight = Frozen(term.temperature(signals)), Frozen(term.weight(signals))
    return replace(term, temperature=temperature, weight=weight)


@every_case
def test_gradient_is_that_of_the_loss_with_its_scalars_held_fixed(name: str) -> None:
    # Temperatures and weights that depend on the student see no gradient by contract: finite differences of the
    # whole loss would differ from it, those of the loss at fixed scalars must not.
    signals, objective = batch(rows=3), CASES[name]()
    held = Objective(tuple(frozen(term, signals) for term in objective.terms))

    def loss(logits: Tensor) -> Tensor:
        return held(replace(signals, student_logits=logits)).total

    assert torch.autograd.gradcheck(loss, (signals.student_logits.clone().requires_grad_(),))
    assert torch.equal(student_gradient(objective, signals), student_gradient(held, signals))


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    signals = batch(dtype=dtype)
    loss = CASES[name]()(signals)
    assert {loss.total.dtype, *(part.dtype for part in loss.parts.values())} == {dtype}
    assert student_gradient(CASES[name](), signals).dtype == dtype


@every_case
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    signals, order = batch(), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert signals.teacher_logits is not None
    assert signals.keys is not None
    shuffled = Signals(
        student_logits=signals.student_logits[order],
        labels=signals.labels[order],
        teacher_logits=signals.teacher_logits[order],
        keys=signals.keys[order],
    )
    torch.testing.assert_close(CASES[name]()(shuffled).total, CASES[name]()(signals).total)


@every_case
def test_only_the_differences_of_logits_count(name: str) -> None:
    signals = batch()
    moved = replace(signals, student_logits=signals.student_logits + torch.linspace(-5.0, 5.0, 7)[:, None])
    same = torch.isclose(CASES[name]()(moved).total, CASES[name]()(signals).total, rtol=1e-9)
    assert bool(same) is (name not in NOT_SHIFT_INVARIANT)


@every_case
def test_the_number_of_classes(name: str) -> None:
    objective = CASES[name]()
    widths = [term.k for term in objective.terms if isinstance(term, ScoreDifference)]
    assert objective(batch(classes=max(widths, default=2))).total.isfinite()
    if widths:
        with pytest.raises(ValueError, match=f"number of classes, {max(widths) - 1}, got {max(widths)}"):
            objective(batch(classes=max(widths) - 1))


@taught
def test_no_teacher_or_one_of_other_classes_is_an_error(name: str) -> None:
    objective, signals = CASES[name](), batch()
    assert signals.teacher_logits is not None
    with pytest.raises(ValueError, match="learns from a teacher, and there is none"):
        objective(replace(signals, teacher_logits=None))
    for classes in (1, 9):
        narrow = replace(signals, teacher_logits=signals.teacher_logits[:, :classes])
        with pytest.raises(ValueError, match=re.escape(f"teacher logits have shape [7, {classes}]")):
            objective(narrow)
    with pytest.raises(ValueError, match=re.escape("teacher logits have shape [1, 10]")):
        objective(replace(signals, teacher_logits=signals.teacher_logits[:1]))


@taught
def test_what_the_teacher_says_matters(name: str) -> None:
    signals = batch()
    other = replace(signals, teacher_logits=batch(seed=5).teacher_logits)
    assert CASES[name]()(other).total != CASES[name]()(signals).total


@untaught
def test_a_teacher_that_is_not_asked_changes_nothing(name: str) -> None:
    signals = batch()
    assert torch.equal(CASES[name]()(replace(signals, teacher_logits=None)).total, CASES[name]()(signals).total)


@every_case
def test_goes_to_json_and_back(name: str) -> None:
    objective = CASES[name]()
    back = config.from_json(json.loads(json.dumps(config.to_json(objective))))
    assert back == objective
    assert config.digest(back) == config.digest(objective)
    assert torch.equal(back(batch()).total, objective(batch()).total)


def test_different_objectives_have_different_digests() -> None:
    made = [make() for make in CASES.values()]
    distinct = [objective for place, objective in enumerate(made) if objective not in made[:place]]
    assert len({config.digest(objective) for objective in distinct}) == len(distinct)


def numbers(tree: Any) -> Iterator[float]:
    """The numbers that distinguish an objective: all but 0 and 1, and the powers of a temperature that is 1."""
    if isinstance(tree, dict):
        silent = tree.get("temperature") == {"is": "objective:Constant", "value": 1.0}
        for key, item in tree.items():
            if not (silent and key == "temperature_power"):
                yield from numbers(item)
    elif isinstance(tree, list):
        for item in tree:
            yield from numbers(item)
    elif isinstance(tree, int | float) and not isinstance(tree, bool) and tree not in (0, 1):
        yield abs(tree)


@every_case
def test_prints_as_a_formula_with_its_numbers(name: str) -> None:
    text = str(CASES[name]())
    shown = set(re.findall(r"\d+(?:\.\d+)?", text))
    assert text.count("(") == text.count(")") > 0
    assert {number(value) for value in numbers(config.to_json(CASES[name]()))} <= shown


@every_method
def test_the_docstring_has_formula_source_and_an_example(name: str) -> None:
    text = inspect.getdoc(METHODS[name]) or ""
    assert re.match(r"[A-Z].*\.\n\n", text), "begins with one line"
    assert "\nFormula: " in text
    assert "\nSource: " in text
    examples = doctest.DocTestParser().get_examples(text)
    assert any(f"{name}(" in example.source and example.want for example in examples)


def rows() -> dict[str, list[str]]:
    """The table of docs/methods.md: the cells of each row by the name in its first."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def test_the_page_has_one_row_and_one_card_for_each_method() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert rows().keys() == METHODS.keys()
    assert sum(line.startswith("| `") for line in lines) == len(METHODS)
    cards = [name for line in lines if line.startswith("### ") for name in re.findall(r"`(\w+)`", line)]
    assert sorted(cards) == sorted(METHODS)


@every_method
def test_its_row_names_paper_formula_recipe_and_golden_test(name: str) -> None:
    _, paper, formula, used_by, golden = rows()[name]
    assert paper
    assert formula.startswith("`")
    named = re.findall(r"`([a-z_]+)", used_by)
    assert named
    assert set(named) <= recipes().keys()
    (link,) = re.findall(r"\((\S+)\)", golden)
    assert (PAGE.parent / link).resolve() == Path(inspect.getfile(test_golden)).resolve()
    assert test_golden.GOLDEN[name]
