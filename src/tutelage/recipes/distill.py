"""Distillation by any method or mixture of methods, from any number of teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal

from tutelage.lineage import Generation, Lineage
from tutelage.methods import make
from tutelage.methods.hinton import labels_only
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed, StudentMaxTemperature
from tutelage.objective import Constant, Objective, Scalar, Target, Term
from tutelage.recipes.common_options import CommonOptions, choose

Adjustment = Literal["none", "shift", "smooth"]
TemperatureRule = Literal["none", "flsw", "cwsm"]


def distill(
    options: CommonOptions = CommonOptions(),
    *,
    teacher: tuple[str, ...] = (),
    teacher_weights: tuple[str, ...] = (),
    teacher_shares: tuple[float, ...] = (),
    assistants: tuple[str, ...] = (),
    method: str = "distillation",
    add: tuple[str, ...] = (),
    adjustment: Adjustment = "none",
    temperature_rule: TemperatureRule = "none",
    teacher_weight: float | None = None,
    temperature: float | None = None,
    bias: float = 2.0,
    smoothing: float = 0.1,
) -> Lineage:
    """Train teachers on the labels, then a student (`model`) on the labels and the teachers' predictions.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise. Several teachers
            form an ensemble that averages their probabilities.
        teacher_weights: Files with the teachers' weights, one for each: safetensors, a state dict, or the folder of
            one of our models. These teachers are not trained.
        teacher_shares: The share of each teacher in the ensemble; equal by default.
        assistants: Networks between teacher and student, each taught by the one before (teacher-assistant chain).
        method: Any method of `tutelage list methods` with its arguments, name:argument=value,argument=value.
        add: Methods whose terms are added to the student's objective, for example attention_transfer:weight=1000.
        adjustment: What to do with a teacher's target whose highest score is not the label's: swap these two scores
            (shift), or replace it by the smoothed label (smooth).
        temperature_rule: Replace the terms' temperature by one for each sample (flsw or cwsm).
        teacher_weight: The weight of the teacher's term, if the method has one; the method's default otherwise.
        temperature: The temperature of that term, if the method has one; the method's default otherwise.
        bias: How strongly a sample's temperature depends on its weight under a temperature rule.
        smoothing: The smoothing of a label that replaces a target.

    >>> lineage = distill(teacher=("resnet14",), temperature_rule="flsw", adjustment="shift")
    >>> [(generation.name, generation.model) for generation in lineage.generations]
    [('teacher', 'resnet14'), ('student', 'resnet8')]
    >>> print(lineage.generations[1].objective)  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...
    """
    if isinstance(teacher, str):
        raise TypeError(f"teacher must be a tuple of networks, ({teacher!r},), not {teacher!r}")
    objective = _base_objective(method, add, teacher_weight, temperature)
    objective = _adjusted(objective, adjustment, smoothing)
    objective = _with_temperature_rule(objective, temperature_rule, bias)

    networks = teacher or (options.network(larger=True),)
    if teacher_weights and len(teacher_weights) != len(networks):
        raise ValueError(
            f"{len(networks)} teachers need {len(networks)} files of weights, not {len(teacher_weights)}"
        )
    generations: list[Generation] = []
    for number, network in enumerate(networks):
        name = "teacher" if len(networks) == 1 else f"teacher {number + 1}"
        weights = teacher_weights[number] if teacher_weights else None
        model = options.network(network)
        generations.append(options.generation(name, labels_only(), model=model, weights=weights))
    teachers, shares = tuple(range(len(generations))), teacher_shares
    students = [(f"assistant {number}", network) for number, network in enumerate(assistants, 1)]
    for name, network in [*students, ("student", options.network())]:
        student = options.generation(name, objective, teachers=teachers, teacher_shares=shares, model=network)
        generations.append(student)
        teachers, shares = (len(generations) - 1,), ()
    return options.lineage("distill", *generations)


def _base_objective(
    method: str, add: tuple[str, ...], teacher_weight: float | None, temperature: float | None
) -> Objective:
    """The method's objective with the terms of the added methods."""
    arguments = {"teacher_weight": teacher_weight, "temperature": temperature}
    objective = make(method, **{name: value for name, value in arguments.items() if value is not None})
    for request in add:
        objective = objective.also(make(request))
    return objective


def _adjusted(objective: Objective, adjustment: Adjustment, smoothing: float) -> Objective:
    def shift(target: Target) -> Target:
        return Shifted(of=target)

    def smooth(target: Target) -> Target:
        return Smoothed(of=target, smoothing=smoothing)

    change = choose("adjustment", adjustment, {"none": None, "shift": shift, "smooth": smooth})
    return objective if change is None else _replaced(objective, "target", change)


def _with_temperature_rule(objective: Objective, rule: TemperatureRule, bias: float) -> Objective:
    def flsw(temperature: Constant) -> Scalar:
        return FocalTemperature(base=temperature.value, bias=bias)

    def cwsm(temperature: Constant) -> Scalar:
        return StudentMaxTemperature(base=temperature.value, bias=bias)

    change = choose("temperature_rule", rule, {"none": None, "flsw": flsw, "cwsm": cwsm})
    return objective if change is None else _replaced(objective, "temperature", change)


def _replaced(objective: Objective, part: str, change: Callable[[Any], Any]) -> Objective:
    """The objective with one part of the teacher's terms changed.

    Errors: ``ValueError`` if no term that needs a teacher has this part.
    """
    terms = tuple(_replaced_in_term(term, part, change) for term in objective.terms)
    if all(after is before for after, before in zip(terms, objective.terms, strict=True)):
        raise ValueError(f"no term of {objective} has a {part} of the teacher's that could be changed")
    return Objective(terms)


def _replaced_in_term(term: Term, part: str, change: Callable[[Any], Any]) -> Term:
    """The term with the part changed, in the term that it wraps too; the same object if it has no such part."""
    if not is_dataclass(term) or not term.needs_teacher:
        return term
    names = {field.name for field in fields(term)}
    if "of" in names:
        inner = _replaced_in_term(term.of, part, change)
        return term if inner is term.of else replace(term, of=inner)
    if part not in names:
        return term
    value = getattr(term, part)
    # A temperature that is not constant already follows a rule of its own.
    if value is None or (part == "temperature" and not isinstance(value, Constant)):
        return term
    return replace(term, **{part: change(value)})
