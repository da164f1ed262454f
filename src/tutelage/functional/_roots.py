"""Optima over ordered scores, as roots in one dimension. Plain numbers: classes that are alike count as one group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Group(NamedTuple):
    """``number`` classes alike: their target and cost, and the largest multiple of the highest score allowed."""

    target: float
    cost: float
    cap: float
    number: int


def ordered_optimum(groups: list[Group]) -> list[float]:
    """The scores, one for each group, that minimise ``Σ -q ln f + cost f`` where ``f <= cap f_1`` and ``Σ f = 1``.

    The first group is the class with the highest score, alone. The stationary scores are ``f = q / (μ + cost)``;
    those above their cap are pooled with the first one, ``f_1 = Σ q / Σ cap (μ + cost)`` over the pool, the one that
    exceeds its cap most first, until none does. The sum of all scores falls with μ, so that μ is a root in one
    dimension; ``μ + Σ cost f = Σ q`` bounds it from above.

    >>> ordered_optimum([Group(0.5, 0.5, 1.0, 1), Group(0.0, -0.5, 1.0, 1)])  # labels, and D_2 of the same weight
    [0.5, 0.5]
    """

    low, high = -groups[0].cost, sum(group.number * group.target for group in groups)
    above = [math.inf] * len(groups)
    below, total, slope = _scores(groups, high)
    level, halve = high, False
    while low < (middle := (low + high) / 2) < high:
        # The sum is convex where no class jumps, so that Newton's method comes from below; halves do the rest.
        newton = level - (total - 1.0) / slope
        if abs(newton - level) <= 2e-16 * abs(level):
            scores, total, _ = _scores(groups, level)
            return [score / total for score in scores]
        width, level = high - low, middle if halve or not low < newton < high else newton
        scores, total, slope = _scores(groups, level)
        if total > 1.0:
            low, above = level, scores
        else:
            high, below = level, scores
        halve = high - low > width / 2
    least, most = _sum(groups, below), _sum(groups, above)
    if not least < most < math.inf:
        return [score / least for score in below]
    # Where classes without a target jump from nothing to their cap, any part of the jump costs the same: all take the
    # same part of it, the one with which the scores sum to 1.
    part = (1.0 - least) / (most - least)
    return [one + part * (other - one) for one, other in zip(below, above, strict=True)]


def _sum(groups: list[Group], scores: list[float]) -> float:
    return sum(group.number * score for group, score in zip(groups, scores, strict=True))


def _scores(groups: list[Group], level: float) -> tuple[list[float], float, float]:
    """The scores at a level, their sum, and its slope; a sum without end where a pool gains more than it costs."""
    endless = [math.inf] * len(groups), math.inf, -math.inf
    room = [level + group.cost for group in groups]
    if room[0] <= 0.0:
        return endless
    wanted = [
        math.inf if width <= 0.0 else group.target / (group.cap * width)
        for group, width in zip(groups, room, strict=True)
    ]
    target, width, caps = groups[0].target, room[0], 1.0
    scores = [target / width, *(group.cap * each for group, each in zip(groups[1:], wanted[1:], strict=True))]
    total, slope = 0.0, 0.0
    for place in sorted(range(1, len(groups)), key=lambda place: -wanted[place]):
        group = groups[place]
        if wanted[place] > target / width:
            target += group.number * group.target
            width += group.number * group.cap * room[place]
            caps += group.number * group.cap
            scores[place] = math.inf
            if width <= 0.0:
                return endless
        else:
            total += group.number * scores[place]
            slope -= group.number * scores[place] / room[place]
    highest = target / width
    scores = [
        group.cap * highest if score == math.inf else score for group, score in zip(groups, scores, strict=True)
    ]
    scores[0] = highest
    return scores, total + caps * highest, slope - caps**2 * highest / width


def descents(groups: list[Group], tempered: list[tuple[float, float]]) -> Iterator[list[float]]:
    """The scores where a descent by tangents ends, for two starts.

    ``tempered`` are weight w and temperature τ of the terms ``w ln Σ f^(1/τ)``, which are added to the loss of
    :func:`ordered_optimum`. The starts are the optimum without them, and the targets. A tangent at a score of 0 is
    vertical, so that such a score stays 0: of the classes without a target, the first start has those that the costs
    favour, the second none.
    """
    first = ordered_optimum(groups)
    if not tempered:
        yield first
        return
    total = sum(group.number * group.target for group in groups)
    for scores in (first, [group.target / total for group in groups]):
        change = math.inf
        for _ in range(5000):
            if change < 1e-13:
                break
            sums = [(w / t, 1.0 / t - 1.0, power_sum(groups, scores, t)) for w, t in tempered]
            tangent = [
                group._replace(
                    cost=group.cost + sum(pull * score**power / powers for pull, power, powers in sums)
                    if score > 0.0
                    else math.inf
                )
                for group, score in zip(groups, scores, strict=True)
            ]
            lower = ordered_optimum(tangent)
            change = max(abs(one - other) for one, other in zip(lower, scores, strict=True))
            scores = lower
        yield scores


def power_sum(groups: list[Group], scores: list[float], temperature: float) -> float:
    """The sum of all scores to the power ``1 / τ``."""
    return _sum(groups, [math.pow(score, 1.0 / temperature) for score in scores])


def bisection(too_low: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Neighbouring numbers between which a condition ends to hold; it holds below and not above.

    >>> bisection(lambda x: x * x < 2.0, 0.0, 2.0)[0]
    1.414213562373095
    """
    while low < (middle := (low + high) / 2) < high:
        if too_low(middle):
            low = middle
        else:
            high = middle
    return low, high


def penalized_scores(targets: list[tuple[float, int]], penalty: float) -> list[float]:
    """The scores, one for each ``(target, count)``, that minimise ``Σ -q ln f + β f ln f`` where ``Σ f = 1``.

    Stationary scores satisfy ``ln f - q / (β f) + ν = 0``: ``u + ln u = ln(q / β) + ν`` for ``u = q / (β f)``. Their
    sum falls with ν, and ``ν = Σ q / β + H(f)`` lies between ``Σ q / β`` and ``Σ q / β + ln K``.

    >>> [round(score, 6) for score in penalized_scores([(1.0, 1), (0.0, 99)], 0.333294)]
    [0.6, 0.00404]
    """

    def score(target: float, level: float) -> float:
        if target == 0.0:
            return math.exp(-level)
        ratio = target / penalty
        wanted = math.log(ratio) + level
        # Newton's method. The left side is concave, so that it comes from below, where it starts.
        u, step = (wanted - math.log(wanted) if wanted > 1.0 else math.exp(wanted - math.exp(wanted))), math.inf
        while step > 4e-16 * u:
            step = u * (wanted - u - math.log(u)) / (1.0 + u)
            u += step
        return ratio / u

    def total(level: float) -> float:
        return sum(count * score(target, level) for target, count in targets)

    least = sum(count * target for target, count in targets) / penalty
    classes = sum(count for _, count in targets)
    _, level = bisection(lambda level: total(level) > 1.0, least - 1.0, least + math.log(classes) + 1.0)
    return [score(target, level) / total(level) for target, _ in targets]
