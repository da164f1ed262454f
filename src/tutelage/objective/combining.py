"""Put the terms of two objectives together: which of them are the same, and how equal names are told apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass, replace

from tutelage.objective.protocol import Term, TermWrapper
from tutelage.objective.scalars import Constant
from tutelage.objective.targets import Labels
from tutelage.objective.terms import Match


def is_labels(term: Term) -> bool:
    """Whether a term brings the student close to the labels, smoothed or not."""
    return isinstance(term, Match) and isinstance(term.target, Labels)


def is_plain_labels(term: Term) -> bool:
    """Whether a term is the labels' cross-entropy that nearly every method has, whatever its constant weight.

    >>> [is_plain_labels(Match(name="labels", target=Labels(smoothing=smoothing))) for smoothing in (0.0, 0.1)]
    [True, False]
    """
    return isinstance(term, Match) and term.target == Labels() and isinstance(term.weight, Constant)


def same_but_weight(one: Term, other: Term) -> bool:
    """Whether two terms differ at most in name and weight, so that both together are one with another weight.

    >>> from tutelage.objective.targets import TeacherProbs
    >>> light = Match(name="teacher", target=TeacherProbs(), weight=Constant(0.5))
    >>> same_but_weight(light, replace(light, name="other", weight=Constant(0.9)))
    True
    >>> same_but_weight(light, replace(light, temperature=Constant(4.0)))
    False
    """
    if type(one) is not type(other) or not is_dataclass(one):
        return one == other
    for field in fields(one):
        if field.name in ("name", "weight"):
            continue
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if not (same_but_weight(ours, theirs) if isinstance(ours, Term) else ours == theirs):
            return False
    return True


def rewrapped(wrapper: TermWrapper, inner: Term) -> Term:
    """The same wrapper around another term."""
    assert is_dataclass(wrapper), wrapper
    wrapped: Term = replace(wrapper, of=inner)
    return wrapped


def renamed(term: Term, name: str) -> Term:
    """The term under another name; a wrapper without a name of its own takes that of the term inside.

    Errors: ``TypeError`` for a term that is no dataclass with a field ``name``.
    """
    if is_dataclass(term) and any(field.name == "name" for field in fields(term)):
        other: Term = replace(term, name=name)
        return other
    if isinstance(term, TermWrapper):
        return rewrapped(term, renamed(term.of, name))
    raise TypeError(f"two terms are named {term.name!r}, and {term!r} has no field for another name")


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of ``name 2``, ``name 3``, ... that is not taken.

    >>> free_name("teacher", ["labels"]), free_name("teacher", ["teacher"]), free_name("teacher 2", ["teacher 2"])
    ('teacher', 'teacher 2', 'teacher 3')
    """
    stem, number = re.sub(r" \d+$", "", name), 2
    while name in taken:
        name, number = f"{stem} {number}", number + 1
    return name


def combined(terms: Sequence[Term], others: Sequence[Term]) -> tuple[Term, ...]:
    """The terms with the others behind them: plain labels count once, and an equal name gets a number.

    Errors: ``ValueError`` for another term that is there already, with whatever weight, for a second term on the
    labels that is not the plain one, and where nothing is left to add.
    """
    result = list(terms)
    labels = next((term for term in terms if is_labels(term)), None)
    for other in others:
        if labels is not None and is_labels(other):
            if is_plain_labels(other):
                continue
            raise ValueError(f"{other.formula()} would be a second term on the labels, beside {labels.formula()}")
        twin = next((term for term in terms if same_but_weight(term, other)), None)
        if twin is not None:
            raise ValueError(
                f"{other.formula()} is there already, as {twin.formula()}: set the weight of one of them"
            )
        name = free_name(other.name, [term.name for term in result])
        result.append(other if name == other.name else renamed(other, name))
    if len(result) == len(terms):
        raise ValueError("it has no term but the labels', which count once")
    return tuple(result)
