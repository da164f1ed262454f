"""Statistics over seeds: spread, intervals, paired differences, corrections; plain numbers in, plain numbers out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

PairedTest = Literal["t", "wilcoxon", "permutation"]

_MOST_FLIPPED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The mean of ``n`` values; spread and interval are None where there is none to know."""

    n: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The mean difference of ``n`` pairs, its interval, and the p-value of "no difference"; None where n is 1."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """How often two models were right on the same images, and the exact p-value of "equally often"."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (divisor n - 1); None for the deviation of a single value.

    >>> spread([1.0, 2.0, 3.0]), spread([2.0])
    ((2.0, 1.0), (2.0, None))
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def summary(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean, standard deviation and t interval of the mean; no interval where all values are equal.

    Formula: ``m ± t_{(1+c)/2, n-1} s / sqrt(n)``, ``s`` with divisor n - 1.

    Errors: ``ValueError`` for no value, or a confidence outside (0, 1).

    >>> found = summary([1.0, 2.0, 3.0])
    >>> found.mean, found.deviation, round(found.high, 6)
    (2.0, 1.0, 4.484138)
    >>> summary([2.0]).low is None
    True

    Source: Student (1908); as in any textbook.
    """
    _check(values, confidence)
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Summary(n=1, mean=mean, deviation=None, low=None, high=None)
    deviation = statistics.stdev(values)
    if deviation <= _rounding(values):
        return Summary(n=len(values), mean=mean, deviation=deviation, low=None, high=None)
    half = _half_width(deviation, len(values), confidence)
    return Summary(n=len(values), mean=mean, deviation=deviation, low=mean - half, high=mean + half)


def paired(
    values: Sequence[float], reference: Sequence[float], confidence: float = 0.95, test: PairedTest = "t"
) -> Paired:
    """Compare two arms on the same seeds: ``values[i]`` and ``reference[i]`` belong to one seed.

    The interval is the t interval of the differences. The p-value is two-sided: of the paired t test, of Wilcoxon's
    signed ranks, or of all 2^n flips of the differences' signs, which assumes least and cannot fall below 2^(1-n).
    Where all differences are equal a t test knows no spread: there is then no interval, and p is that of the flips.

    Errors: ``ValueError`` for arms of different length or none, an unknown test, or flips of more than 20 pairs.

    >>> found = paired([3.0, 4.0, 8.0], [2.0, 2.0, 3.0])
    >>> round(found.mean, 6), round(found.p, 6)
    (2.666667, 0.156726)
    >>> paired([3.0, 4.0, 8.0], [2.0, 2.0, 3.0], test="permutation").p
    0.25

    Source: Student (1908); Wilcoxon (1945); Fisher (1935), §21.
    """
    if len(values) != len(reference):
        raise ValueError(f"paired values must be as many on both sides, not {len(values)} and {len(reference)}")
    if test not in ("t", "wilcoxon", "permutation"):
        raise ValueError(f"the test is t, wilcoxon or permutation, not {test!r}")
    _check(values, confidence)
    differences = [ours - theirs for ours, theirs in zip(values, reference, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if n == 1:
        return Paired(n=1, mean=mean, low=None, high=None, p=None)
    deviation = statistics.stdev(differences)
    rounding = _rounding([*values, *reference])
    if max(abs(difference) for difference in differences) <= rounding:
        return Paired(n=n, mean=mean, low=None, high=None, p=1.0)
    if deviation <= rounding:
        return Paired(n=n, mean=mean, low=None, high=None, p=2.0 ** (1 - n))
    half = _half_width(deviation, n, confidence)
    p = {"t": _t_test, "wilcoxon": _signed_ranks, "permutation": _flips}[test](differences)
    return Paired(n=n, mean=mean, low=mean - half, high=mean + half, p=p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that the chance of any false finding stays below the level.

    Formula: with the values sorted, ``p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))``.

    >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    Source: Holm (1979).
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compare two single models image by image: ``first[i]`` says whether the first was right on image i.

    It speaks of these two models, not of the methods that made them: other seeds would give others.

    Formula: with ``b`` and ``c`` images that only one was right on, ``p = min(1, 2 P(X <= min(b, c)))``,
    ``X ~ Binomial(b + c, 1/2)``.

    Errors: ``ValueError`` for different numbers of images.

    >>> mcnemar([True] * 6 + [False], [False] * 6 + [True]).p
    0.125

    Source: McNemar (1947), the exact form.
    """
    from scipy.stats import binom

    if len(first) != len(second):
        raise ValueError(f"both models must be judged on the same images, not {len(first)} and {len(second)}")
    ours, theirs = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    one, other = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return McNemar(
        both=int((ours & theirs).sum()),
        only_first=one,
        only_second=other,
        neither=int((~ours & ~theirs).sum()),
        p=min(1.0, 2.0 * float(binom.cdf(min(one, other), one + other, 0.5))),
    )


def _check(values: Sequence[float], confidence: float) -> None:
    if not values:
        raise ValueError("there is no value to summarise")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is in (0, 1), not {confidence}")


def _rounding(values: Sequence[float]) -> float:
    """What equal numbers may differ by after a subtraction or two."""
    return 1e-12 * max(abs(value) for value in values)


def _half_width(deviation: float, n: int, confidence: float) -> float:
    from scipy.stats import t

    quantile = float(t.ppf((1.0 + confidence) / 2.0, n - 1))
    return quantile * deviation / math.sqrt(n)


def _t_test(differences: list[float]) -> float:
    from scipy.stats import t

    n = len(differences)
    statistic = statistics.fmean(differences) / (statistics.stdev(differences) / n**0.5)
    return float(2.0 * t.sf(abs(statistic), n - 1))


def _signed_ranks(differences: list[float]) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)


def _flips(differences: list[float]) -> float:
    if len(differences) > _MOST_FLIPPED:
        raise ValueError(
            f"the permutation test is for {_MOST_FLIPPED} seeds at the most, not {len(differences)}: use t"
        )
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(sum(differences))
    return float(np.mean(np.abs(sums) >= observed - 1e-9 * max(map(abs, differences))))
