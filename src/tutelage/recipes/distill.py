"""Distillation by any method or mixture of methods, from any number of teachers."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal

from tutelage.lineage import Generation, Lineage
from tutelage.methods import make
from tutelage.methods.hinton import labels_only
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed, StudentMaxTemperature
from tutelage.objective import Constant, Objective, Target, Term
from tutelage.recipes.common_options import CommonOptions, chosen

Adjustment = Literal["none", "shift", "smooth"]
TemperatureRule = Literal["none", "flsw", "cwsm"]


def distill(
    setting: CommonOptions = CommonOptions(),
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
    """Train teachers, then a student (`model`) on the labels and what they predict.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise. Several teach as
            one, the mean of their probabilities.
        teacher_weights: Files with the teachers' weights, one for each: safetensors, a state dict, or the folder of
            one of our models. Those teachers are then not trained.
        teacher_shares: How much each of several teachers counts; equally by default.
        assistants: Networks between teacher and student, each taught by the one before (teacher-assistant chain).
        method: Any method of `tutelage list methods` with its arguments, name:argument=value,argument=value.
        add: Methods whose terms are added to the student's objective, for example attention_transfer:weight=1000.
        adjustment: What happens to a teacher's target whose best class is not the label: its two scores are swapped
            (shift), or the smoothed label replaces it (smooth).
        temperature_rule: Replaces the terms' temperature by one for each sample (flsw or cwsm).
        teacher_weight: The weight of the teacher's term, where the method has one; its own default otherwise.
        temperature: The temperature of that term, where the method has one; its own default otherwise.
        bias: How far a sample's temperature moves with its weight under a temperature rule.
        smoothing: How much a replacing label is smoothed.

    >>> line = distill(teacher=("resnet14",), temperature_rule="flsw", adjustment="shift")
    >>> [(generation.name, generation.model) for generation in line.generations]
    [('teacher', 'resnet14'), ('student', 'resnet8')]
    >>> print(line.generations[1].objective)  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...
    """
    if isinstance(teacher, str):
        raise TypeError(f"teacher is a tuple of networks: ({teacher!r},), not {teacher!r}")
    told = {"teacher_weight": teacher_weight, "temperature": temperature}
    objective = make(method, **{name: value for name, value in told.items() if value is not None})
    for request in add:
        objective = objective.also(make(request))
    wraps: dict[str, Any] = {"none": None, "shift": Shifted, "smooth": _smoothing(smoothing)}
    wrap = chosen("adjustment", adjustment, wraps)
    if wrap is not None:
        objective = _rewritten(objective, "target", lambda target: wrap(of=target))
    rules: dict[str, Any] = {"none": None, "flsw": FocalTemperature, "cwsm": StudentMaxTemperature}
    rule = chosen("temperature_rule", temperature_rule, rules)
    if rule is not None:
        objective = _rewritten(objective, "temperature", lambda base: rule(base=base.value, bias=bias))

    networks = teacher or (setting.network(larger=True),)
    if teacher_weights and len(teacher_weights) != len(networks):
        raise ValueError(
            f"{len(networks)} teachers need {len(networks)} files of weights, not {len(teacher_weights)}"
        )
    line: list[Generation] = []
    for number, network in enumerate(networks):
        name = "teacher" if len(networks) == 1 else f"teacher {number + 1}"
        given = teacher_weights[number] if teacher_weights else None
        line.append(setting.generation(name, labels_only(), model=setting.network(network), weights=given))
    teachers, shares = tuple(range(len(line))), teacher_shares
    pupils = [(f"assistant {number}", network) for number, network in enumerate(assistants, 1)]
    for name, network in [*pupils, ("student", setting.network())]:
        pupil = setting.generation(name, objective, teachers=teachers, teacher_shares=shares, model=network)
        line.append(pupil)
        teachers, shares = (len(line) - 1,), ()
    return setting.lineage("distill", *line)


def _smoothing(smoothing: float) -> Any:
    def wrap(of: Target) -> Smoothed:
        return Smoothed(of=of, smoothing=smoothing)

    return wrap


def _rewritten(objective: Objective, part: str, change: Any) -> Objective:
    """Change one part of every term that has it and learns from a teacher; at least one must."""
    changed = 0

    def visit(term: Term) -> Term:
        nonlocal changed
        if not is_dataclass(term) or not term.needs_teacher:
            return term
        names = {field.name for field in fields(term)}
        if "of" in names:
            return replace(term, of=visit(term.of))
        value = getattr(term, part, None) if part in names else None
        if value is None or (part == "temperature" and not isinstance(value, Constant)):
            return term
        changed += 1
        return replace(term, **{part: change(value)})

    found = Objective(tuple(visit(term) for term in objective.terms))
    if not changed:
        raise ValueError(f"no term of {objective} has a {part} of the teacher's that could be changed")
    return found
