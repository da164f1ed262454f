"""What the recipes with a teacher have in common: terms of other methods, adjusted targets, temperature rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from tutelage.errors import unknown
from tutelage.methods import make
from tutelage.methods.decoupled import Decoupled
from tutelage.methods.multi_level import OverTemperatures, TemperatureRule
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed, StudentMaxTemperature
from tutelage.objective import (
    Constant,
    Match,
    Objective,
    Target,
    Term,
    TermWrapper,
    is_labels,
    is_plain_labels,
    rewrapped,
    same_but_weight,
)

Adjustment = Literal["none", "shift", "smooth"]
Rule = Literal["none", "flsw", "cwsm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What is mixed into the objective of every student: the same options for each recipe that has a teacher.

    Args:
        add: Methods whose terms are added to the student's objective, for example attention_transfer:weight=1000. The
            labels count once, with the weight they have without these; terms of one name are numbered. To change the
            targets or temperatures of the terms that are there, use `--adjustment` and `--temperature-rule`.
        adjustment: What to do with a teacher's target whose highest score is not the label's: swap these two scores
            (shift), or replace it by the smoothed label (smooth).
        temperature_rule: Replace the temperature of the teacher's terms by one for each sample (flsw or cwsm).
        bias: How strongly a sample's temperature depends on its weight under a temperature rule.
        smoothing: The smoothing of a label that replaces a target.

    Errors: ``ValueError`` for a word that is not one of these, ``TypeError`` for methods that are not a tuple.

    >>> from tutelage.methods.hinton import distillation
    >>> print(Mixture(add=("confidence_penalty",), adjustment="shift").applied(distillation()))
    0.1 H(labels, student) + 0.9 4^2 KL(shifted(teacher@4) ‖ student@4) - 0.1 H(student)
    """

    add: tuple[str, ...] = ()
    adjustment: Adjustment = "none"
    temperature_rule: Rule = "none"
    bias: float = 2.0
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.add, str):
            raise TypeError(f"add must be a tuple of methods, ({self.add!r},), not {self.add!r}")
        object.__setattr__(self, "add", tuple(self.add))
        for option, value, words in (
            ("adjustment", self.adjustment, ("none", "shift", "smooth")),
            ("temperature_rule", self.temperature_rule, ("none", "flsw", "cwsm")),
        ):
            if value not in words:
                raise unknown(option, value, words)

    @property
    def is_used(self) -> bool:
        """Whether it changes any objective."""
        return bool(self.add) or self.adjustment != "none" or self.temperature_rule != "none"

    def check_students(self, count: int) -> None:
        """Refuse a mixture that no student would learn by.

        Errors: ``ValueError`` if there is no student, and the mixture is used.
        """
        if self.is_used and count == 0:
            raise ValueError("add, adjustment and temperature_rule change what students learn, and there are none")

    def applied(self, objective: Objective) -> Objective:
        """An objective with the added terms, then with the adjustment and the rule in all its terms.

        Errors: ``ValueError`` that names the part of the request which adds or changes nothing, or makes two terms
        the same.
        """
        if not self.is_used:
            return objective
        for request in self.add:
            objective = _with_method(objective, request)
        if self.adjustment != "none":
            objective = self._with_adjustment(objective)
        if self.temperature_rule != "none":
            objective = self._with_rule(objective)
        for one, other in combinations(objective.terms, 2):
            if same_but_weight(one, other):
                raise ValueError(
                    f"{other.formula()} would be {one.formula()} with another weight: leave one of them out"
                )
        return objective

    def _with_adjustment(self, objective: Objective) -> Objective:
        def adjusted(target: Target) -> Shifted | Smoothed:
            if self.adjustment == "shift":
                return Shifted(of=target)
            return Smoothed(of=target, smoothing=self.smoothing)

        terms = tuple(_adjusted(term, adjusted) for term in objective.terms)
        return _changed(objective, terms, f"adjustment {self.adjustment}", "target of the teacher's")

    def _with_rule(self, objective: Objective) -> Objective:
        def rule(base: float) -> TemperatureRule:
            kinds: dict[str, Callable[..., TemperatureRule]] = {
                "flsw": FocalTemperature,
                "cwsm": StudentMaxTemperature,
            }
            return kinds[self.temperature_rule](base=base, bias=self.bias)

        terms = tuple(_with_temperature(term, rule) for term in objective.terms)
        return _changed(objective, terms, f"temperature_rule {self.temperature_rule}", "temperature of the teacher's")


def mixture_notes(objective: Objective) -> tuple[str, ...]:
    """A sentence on each numbered term: what it stands beside, and the option that would change that one instead.

    >>> from tutelage.methods.hinton import distillation
    >>> for note in mixture_notes(Mixture(add=("knowledge_adjustment",)).applied(distillation())):
    ...     print(note)
    teacher 2 = 0.9 4^2 KL(shifted(teacher@4) ‖ student@4) stands beside teacher; --adjustment shift changes that one
    """
    by_name = {term.name: term for term in objective.terms}
    notes = []
    for name, term in by_name.items():
        stem = re.fullmatch(r"(.+) \d+", name)
        if stem is None or stem[1] not in by_name:
            continue
        options = _options(term) - _options(by_name[stem[1]])
        advice = f"; {' '.join(sorted(options))} changes that one" if options else ""
        notes.append(f"{name} = {term.formula()} stands beside {stem[1]}{advice}")
    return tuple(notes)


def _options(term: Term) -> frozenset[str]:
    """The options with which a plain term would have this term's target and temperature."""
    inner = term
    while isinstance(inner, TermWrapper):
        inner = inner.of
    if not isinstance(inner, Match | Decoupled):
        return frozenset()
    kinds: dict[type, str] = {
        Shifted: "--adjustment shift",
        Smoothed: "--adjustment smooth",
        FocalTemperature: "--temperature-rule flsw",
        StudentMaxTemperature: "--temperature-rule cwsm",
    }
    return frozenset(kinds[type(part)] for part in (inner.target, inner.temperature) if type(part) in kinds)


def _with_method(objective: Objective, request: str) -> Objective:
    """The objective with the terms of a method, as it is written on the command line."""
    addition = make(request)
    name = request.partition(":")[0].strip()
    try:
        combined = objective.also(addition)
    except ValueError as error:
        on_labels = any(is_labels(term) and not is_plain_labels(term) for term in addition.terms)
        advice = f"; distill --method {name} has it in place of that one" if on_labels else ""
        raise ValueError(f"add {request}: {error}{advice}") from None
    labels = next((term for term in objective.terms if is_labels(term)), None)
    if labels is not None:
        for setting in _only_for_labels(request, addition):
            raise ValueError(
                f"add {request}: {setting} only changes the labels' term, which counts once: {labels.formula()} stays"
            )
    return combined


def _only_for_labels(request: str, addition: Objective) -> list[str]:
    """The settings of an added method that change nothing but its plain labels' term."""
    name, _, text = request.partition(":")
    settings = text.split(",") if text else []
    useless = []
    for place, setting in enumerate(settings):
        rest = ",".join(settings[:place] + settings[place + 1 :])
        without = make(f"{name}:{rest}")
        if addition != without and _beside_labels(addition) == _beside_labels(without):
            useless.append(setting.strip())
    return useless


def _beside_labels(objective: Objective) -> tuple[Term, ...]:
    return tuple(term for term in objective.terms if not is_plain_labels(term))


def _adjusted(term: Term, adjusted: Callable[[Target], Shifted | Smoothed]) -> Term:
    """The term with its teacher's target adjusted; the same object if it has none, or an adjusted one."""
    match term:
        case Match() | Decoupled():
            if not term.target.needs_teacher or isinstance(term.target, Shifted | Smoothed):
                return term
            return replace(term, target=adjusted(term.target))
        case TermWrapper():
            inner = _adjusted(term.of, adjusted)
            return term if inner is term.of else rewrapped(term, inner)
    return term


def _with_temperature(term: Term, rule: Callable[[float], TemperatureRule]) -> Term:
    """The term at a temperature for each sample; the same object if it has no constant one for a teacher's target."""
    match term:
        case Match() | Decoupled():
            if not term.target.needs_teacher or not isinstance(term.temperature, Constant):
                return term
            return replace(term, temperature=rule(term.temperature.value))
        case OverTemperatures():
            constant = any(isinstance(temperature, Constant) for temperature in term.temperatures)
            if not term.of.target.needs_teacher or not constant:
                return term
            ruled = (rule(each.value) if isinstance(each, Constant) else each for each in term.temperatures)
            return replace(term, temperatures=tuple(ruled))
        case TermWrapper():
            inner = _with_temperature(term.of, rule)
            return term if inner is term.of else rewrapped(term, inner)
    return term


def _changed(objective: Objective, terms: tuple[Term, ...], request: str, part: str) -> Objective:
    if all(after is before for after, before in zip(terms, objective.terms, strict=True)):
        raise ValueError(
            f"{request}: no term of {objective} has a {part} that could be changed; it applies to terms on the "
            "teacher's logits, such as those of distillation, decoupled and multi_level"
        )
    return Objective(terms)
