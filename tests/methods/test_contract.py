"""What holds for every method. The tests walk the package, so a new file there is tested too."""

from __future__ import annotations

import doctest
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from tests.functional.inputs import random_logits
from tests.objective.batches import batch, training_set
from tutelage import serialization
from tutelage.methods import factories
from tutelage.methods.decoupled import Decoupled
from tutelage.methods.multi_level import OverTemperatures
from tutelage.objective import Loss, Match, Objective, ScoreDifference, Signals, Term, number
from tutelage.recipes import Mixture, recipes

METHODS = factories()
VARIANTS: dict[str, Callable[[], Objective]] = {
    "distillation, no labels": partial(METHODS["distillation"], hard_weight=0.0, temperature=2.5),
    "label_smoothing, others only": partial(METHODS["label_smoothing"], smoothing=0.3, others_only=True),
    "confidence_penalty, hinge": partial(METHODS["confidence_penalty"], penalty_weight=0.7, threshold=1.5),
    "tolerant_student, tolerance": partial(METHODS["tolerant_student"], tolerance=0.25, k=3, temperature=3.0),
    "tolerant_patriarch, share": partial(METHODS["tolerant_patriarch"], share=0.001, k=3),
    "tf_kd_reg, squared": partial(METHODS["tf_kd_reg"], temperature_power=2.0, correct=0.9),
    "knowledge_adjustment, smooth": partial(METHODS["knowledge_adjustment"], adjustment="smooth", smoothing=0.2),
    "dynamic_temperature, student": partial(
        METHODS["dynamic_temperature"], temperature_rule="cwsm", normalize="mean"
    ),
    "dynamic_temperature, no floor": partial(
        METHODS["dynamic_temperature"], adjustment="smooth", power=0.5, bias=0.3, floor=None
    ),
    "decoupled, shifted": lambda: Mixture(adjustment="shift").applied(METHODS["decoupled"]()),
    "decoupled, smoothed, by sample": lambda: Mixture(adjustment="smooth", temperature_rule="cwsm").applied(
        METHODS["decoupled"]()
    ),
    "multi_level, by sample": lambda: Mixture(temperature_rule="cwsm").applied(
        METHODS["multi_level"](temperatures=(2.0, 3.0))
    ),
    "distillation, two targets": lambda: Mixture(add=("knowledge_adjustment", "born_again")).applied(
        METHODS["distillation"]()
    ),
}
CASES = METHODS | VARIANTS

COSINE_OF_RAW_LOGITS = "the temperature comes from the angle between raw logits, which a constant turns"
NOT_SHIFT_INVARIANT = {
    "dynamic_temperature": COSINE_OF_RAW_LOGITS,
    "dynamic_temperature, no floor": COSINE_OF_RAW_LOGITS,
    "adjusted_dynamic_temperature": COSINE_OF_RAW_LOGITS,
}

ORDER_MATTERS = {"correlation_congruence_official": "each example is compared with the next"}

every_method = pytest.mark.parametrize("name", METHODS)
every_case = pytest.mark.parametrize("name", CASES)
taught = pytest.mark.parametrize("name", [name for name, make in CASES.items() if make().needs_teacher])
untaught = pytest.mark.parametrize("name", [name for name, make in CASES.items() if not make().needs_teacher])

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def signals_for(objective: Objective, seed: int = 0, rows: int = 7, classes: int = 10, **options: Any) -> Signals:
    """A batch with features of the layers that the objective reads: maps, but vectors of "flatten"."""
    signals = batch(seed, rows, classes, **options)

    def features(first: int, layers: tuple[str, ...]) -> dict[str, Tensor]:
        shapes = [(rows, 5) if layer == "flatten" else (rows, 3, 2, 2) for layer in layers]
        drawn = [random_logits(first + place, *shape) for place, shape in enumerate(shapes)]
        return {layer: values.to(signals.student_logits.dtype) for layer, values in zip(layers, drawn, strict=True)}

    student = features(seed + 3, objective.student_layers)
    for values in student.values():
        values.requires_grad_()
    return replace(signals, student_features=student, teacher_features=features(seed + 50, objective.teacher_layers))


def loss(objective: Objective, signals: Signals) -> Loss:
    """The loss of a batch; whatever the objective learns starts the same each time."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed formats a traceback for each kind of device: 1 ms
    value = objective.bind(signals, training_set(signals))(signals)
    assert isinstance(value, Loss)
    return value


def student_gradient(objective: Objective, signals: Signals) -> list[Tensor]:
    inputs = [signals.student_logits, *signals.student_features.values()]
    return list(torch.autograd.grad(loss(objective, signals).total, inputs))


@every_method
def test_every_argument_has_a_default_and_is_named(name: str) -> None:
    parameters = inspect.signature(METHODS[name]).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)
    assert isinstance(METHODS[name](), Objective)


IN_USE: dict[tuple[str, str], dict[str, Any]] = {  # what else must be set for an argument to have an effect
    ("tolerant_student", "k"): {"tolerance": 0.25},
    ("tolerant_student", "share"): {"tolerance": 0.25},
    ("knowledge_adjustment", "smoothing"): {"adjustment": "smooth"},
    ("dynamic_temperature", "smoothing"): {"adjustment": "smooth"},
}


@every_method
def test_each_argument_changes_the_objective(name: str) -> None:
    hints = get_type_hints(METHODS[name])
    for argument, parameter in inspect.signature(METHODS[name]).parameters.items():
        base = IN_USE.get((name, argument), {})
        match parameter.default:
            case bool() as default:
                others: list[Any] = [not default]
            case int() as default:
                others = [default - 1]
            case float() as default:
                others = [default * 0.8 + 0.01]
            case None:
                others = [0.5]
            case tuple() as default:
                others = [(*default, default[0])]
            case str() as default:
                others = [word for word in get_args(hints[argument]) if word != default]
        assert others
        for other in others:
            assert METHODS[name](**base | {argument: other}) != METHODS[name](**base), argument


@every_case
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_parts_sum_to_a_finite_total(name: str, rows: int) -> None:
    objective = CASES[name]()
    for seed in range(5):
        result = loss(objective, signals_for(objective, seed, rows))
        assert result.total.shape == ()
        assert result.total.isfinite()
        assert list(result.parts) == [term.name for term in objective.terms]
        torch.testing.assert_close(torch.stack(list(result.parts.values())).sum(), result.total)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_that_are_far_too_sure_give_finite_losses(name: str, dtype: torch.dtype) -> None:
    objective = CASES[name]()
    signals = signals_for(objective, dtype=dtype, spread=1e4)
    assert loss(objective, signals).total.isfinite()
    assert all(gradient.isfinite().all() for gradient in student_gradient(objective, signals))


@every_case
def test_gradient_reaches_the_student_and_nobody_else(name: str) -> None:
    objective = CASES[name]()
    signals = signals_for(objective)
    teacher = [signals.from_teacher(), *signals.teacher_features.values()]
    for tensor in teacher:
        tensor.requires_grad_()
    loss(objective, signals).total.backward()
    for tensor in (signals.student_logits, *signals.student_features.values()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()
    assert all(tensor.grad is None for tensor in teacher)


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
    if isinstance(term, OverTemperatures):
        with torch.no_grad():
            temperatures = tuple(Frozen(temperature(signals)) for temperature in term.temperatures)
        return replace(term, temperatures=temperatures)
    if not isinstance(term, Match | Decoupled):
        return term
    with torch.no_grad():
        temperature, weight = Frozen(term.temperature(signals)), Frozen(term.weight(signals))
    return replace(term, temperature=temperature, weight=weight)


@every_case
def test_gradient_is_that_of_the_loss_with_its_scalars_held_fixed(name: str) -> None:
    # Temperatures and weights that depend on the student see no gradient by contract: finite differences of the
    # whole loss would differ from it, those of the loss at fixed scalars must not.
    objective = CASES[name]()
    signals = signals_for(objective, rows=3)
    held = Objective(tuple(frozen(term, signals) for term in objective.terms))

    def total(logits: Tensor, *features: Tensor) -> Tensor:
        named = dict(zip(signals.student_features, features, strict=True))
        return loss(held, replace(signals, student_logits=logits, student_features=named)).total

    assert torch.autograd.gradcheck(total, (signals.student_logits, *signals.student_features.values()))
    pairs = zip(student_gradient(objective, signals), student_gradient(held, signals), strict=True)
    assert all(torch.equal(actual, expected) for actual, expected in pairs)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_logits(name: str, dtype: torch.dtype) -> None:
    objective = CASES[name]()
    result = loss(objective, signals_for(objective, dtype=dtype))
    assert {result.total.dtype, *(part.dtype for part in result.parts.values())} == {dtype}


@every_case
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    objective, order = CASES[name](), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    signals = signals_for(objective)
    assert signals.keys is not None
    shuffled = replace(
        signals,
        student_logits=signals.student_logits[order],
        labels=signals.labels[order],
        teacher_logits=signals.from_teacher()[order],
        keys=signals.keys[order],
        student_features={layer: values[order] for layer, values in signals.student_features.items()},
        teacher_features={layer: values[order] for layer, values in signals.teacher_features.items()},
    )
    same = torch.isclose(loss(objective, shuffled).total, loss(objective, signals).total, rtol=1e-7)
    assert bool(same) is (name not in ORDER_MATTERS)


@every_case
def test_only_the_differences_of_logits_count(name: str) -> None:
    objective = CASES[name]()
    signals = signals_for(objective)
    moved = replace(signals, student_logits=signals.student_logits + torch.linspace(-5.0, 5.0, 7)[:, None])
    same = torch.isclose(loss(objective, moved).total, loss(objective, signals).total, rtol=1e-9)
    assert bool(same) is (name not in NOT_SHIFT_INVARIANT)


@every_case
def test_the_number_of_classes(name: str) -> None:
    objective = CASES[name]()
    widths = [term.k for term in objective.terms if isinstance(term, ScoreDifference)]
    assert loss(objective, signals_for(objective, classes=max(widths, default=2))).total.isfinite()
    if widths:
        with pytest.raises(ValueError, match=f"number of classes, {max(widths) - 1}, got {max(widths)}"):
            loss(objective, signals_for(objective, classes=max(widths) - 1))


@taught
def test_no_teacher_is_an_error(name: str) -> None:
    objective = CASES[name]()
    signals = signals_for(objective)
    bound = objective.bind(signals, training_set(signals))
    with pytest.raises(ValueError, match=r"learns from a teacher, and there is none|no features of the .* layer"):
        bound(replace(signals, teacher_logits=None, teacher_features={}))


@taught
def test_a_teacher_of_other_classes_or_another_batch_is_an_error(name: str) -> None:
    objective = CASES[name]()
    if objective.teacher_layers:
        return  # it compares features, of which each distance says what fits
    signals = signals_for(objective)
    for shape in ((7, 1), (7, 9), (1, 10)):
        other = replace(signals, teacher_logits=signals.from_teacher()[: shape[0], : shape[1]])
        with pytest.raises(ValueError, match=re.escape(f"teacher logits have shape {list(shape)}")):
            loss(objective, other)


@taught
def test_what_the_teacher_says_matters(name: str) -> None:
    objective = CASES[name]()
    signals, others = signals_for(objective), signals_for(objective, seed=500)
    changed = replace(signals, teacher_logits=others.teacher_logits, teacher_features=others.teacher_features)
    assert loss(objective, changed).total != loss(objective, signals).total


@untaught
def test_a_teacher_that_is_not_needed_changes_nothing(name: str) -> None:
    objective = CASES[name]()
    signals = signals_for(objective)
    assert torch.equal(loss(objective, replace(signals, teacher_logits=None)).total, loss(objective, signals).total)


@every_case
def test_goes_to_json_and_back(name: str) -> None:
    objective = CASES[name]()
    back = serialization.from_json(json.loads(json.dumps(serialization.to_json(objective))))
    assert back == objective
    assert serialization.digest(back) == serialization.digest(objective)
    assert torch.equal(loss(back, signals_for(objective)).total, loss(objective, signals_for(objective)).total)


def test_different_objectives_have_different_digests() -> None:
    objectives = [make() for make in CASES.values()]
    distinct = [objective for place, objective in enumerate(objectives) if objective not in objectives[:place]]
    assert len({serialization.digest(objective) for objective in distinct}) == len(distinct)


def numbers(tree: Any, unused: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Where the numbers of an objective stand: all but the powers of a temperature that is 1."""
    if isinstance(tree, dict):
        silent = tree.get("temperature") == {"is": "objective:Constant", "value": 1.0}
        within = "temperature" if "temperatures" in tree else ""  # a sum over temperatures brings its own
        for key, item in tree.items():
            if isinstance(item, int | float) and not isinstance(item, bool):
                if not (silent and key == "temperature_power"):
                    yield tree, key
            elif key != unused:
                yield from numbers(item, within)
    elif isinstance(tree, list):
        for item in tree:
            yield from numbers(item)


@every_case
def test_each_of_its_numbers_matters(name: str) -> None:
    signals, tree = signals_for(CASES[name]()), serialization.to_json(CASES[name]())
    before = loss(CASES[name](), signals).total
    for place, key in numbers(tree):
        before_change = place[key]
        place[key] += 1 if isinstance(before_change, int) else {"floor": 3.0, "share": 0.5}.get(key, 0.005)
        assert loss(serialization.from_json(tree), signals).total != before, key
        place[key] = before_change


@every_case
def test_prints_as_a_formula_with_its_numbers(name: str) -> None:
    text = str(CASES[name]())
    shown = set(re.findall(r"\d+(?:\.\d+)?", text))
    assert text.count("(") == text.count(")") > 0
    absolute = [abs(place[key]) for place, key in numbers(serialization.to_json(CASES[name]()))]
    assert {number(value) for value in absolute if value not in (0, 1)} <= shown


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
    assert set(re.findall(r"`([a-z_]+)", used_by)) <= recipes().keys()
    (link,) = re.findall(r"\((\S+)\)", golden)
    test = (PAGE.parent / link).resolve()
    assert test.parent == Path(__file__).parent
    assert re.search(rf"\b{name}\b", test.read_text(encoding="utf-8"))
