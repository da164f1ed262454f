"""The statistics against scipy and hand-computed values, and properties that hold for all values."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tutelage.analysis.statistics import holm, mcnemar, paired, summary

ARM = [97.22, 96.94, 98.06, 97.5, 96.67]
REFERENCE = [96.39, 96.94, 97.22, 96.67, 96.94]

shares = st.floats(0.0, 1.0).map(lambda share: round(share, 4))
pairs = st.lists(st.tuples(shares, shares), min_size=2, max_size=9)


def split(value_pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in value_pairs], [b for _, b in value_pairs]


def test_a_summary_by_hand() -> None:
    result = summary([2.0, 4.0, 9.0])
    assert (result.n, result.mean) == (3, 5.0)
    assert result.deviation == pytest.approx(math.sqrt(13.0))
    half = 4.302652729911275 * math.sqrt(13.0 / 3.0)  # t at 0.975 with 2 degrees of freedom
    assert (result.low, result.high) == (pytest.approx(5.0 - half), pytest.approx(5.0 + half))


def test_a_summary_against_scipy() -> None:
    low, high = stats.t.interval(0.9, len(ARM) - 1, loc=sum(ARM) / len(ARM), scale=stats.sem(ARM))
    result = summary(ARM, confidence=0.9)
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))


def test_a_paired_t_test_against_scipy() -> None:
    expected = stats.ttest_rel(ARM, REFERENCE)
    interval = expected.confidence_interval(0.95)
    result = paired(ARM, REFERENCE)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert result.mean == pytest.approx(0.446)


def test_the_other_tests_against_scipy() -> None:
    values, reference = [0.3, 0.5, 0.9, 0.4, 0.8, 0.1], [0.1, 0.55, 0.5, 0.1, 0.2, 0.0]
    assert paired(values, reference, test="wilcoxon").p == pytest.approx(0.0625)
    flipped = stats.permutation_test(
        ([a - b for a, b in zip(values, reference, strict=True)],), sum, permutation_type="samples"
    )
    assert paired(values, reference, test="permutation").p == pytest.approx(flipped.pvalue)


def test_flips_by_hand() -> None:
    # The 8 choices of signs for (1, 2, -1) give the sums ±2, ±4, 0, 0, ±2 ...: 6 are at least 2 away from 0.
    differences = [1.0, 2.0, -1.0]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    assert paired(differences, [0.0] * 3, test="permutation").p == sum(s >= 2.0 for s in sums) / 8 == 0.75


def test_one_seed_has_no_interval() -> None:
    alone = summary([0.9])
    assert (alone.n, alone.mean, alone.deviation, alone.low, alone.high) == (1, 0.9, None, None, None)
    pair = paired([0.9], [0.8])
    assert (pair.n, pair.low, pair.high, pair.p) == (1, None, None, None)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_equal_differences_are_not_certainty(test: str) -> None:
    """Accuracies are multiples of 1/N: two seeds may differ by the same number of images, up to rounding."""
    same = paired([0.9694, 0.9722], [0.9666, 0.9694], test=test)
    assert (same.low, same.high, same.p) == (None, None, 0.5)
    assert paired([0.5, 0.7, 0.9], [0.5, 0.7, 0.9], test=test).p == 1.0
    assert (summary([0.9626, 0.9626]).deviation, summary([0.9626, 0.9626]).low) == (0.0, None)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mcnemar_by_hand_and_against_scipy() -> None:
    first = [True] * 10 + [True] * 9 + [False] * 2 + [False] * 4
    second = [True] * 10 + [False] * 9 + [True] * 2 + [False] * 4
    result = mcnemar(first, second)
    assert (result.both, result.only_first, result.only_second, result.neither) == (10, 9, 2, 4)
    assert result.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert result.p == pytest.approx(stats.binomtest(9, 11).pvalue)
    assert mcnemar([True, False], [True, False]).p == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summary([]), "no value"),
        (lambda: summary([1.0, 2.0], confidence=95), "confidence is in"),
        (lambda: paired([1.0], [1.0, 2.0]), "1 and 2"),
        (lambda: paired([1.0, 2.0], [1.0, 3.0], test="z"), "not 'z'"),
        (lambda: paired([float(i % 3) for i in range(21)], [0.0] * 21, test="permutation"), "20 seeds at the most"),
        (lambda: mcnemar([True], [True, False]), "1 and 2"),
    ],
)
def test_invalid_arguments(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


@given(pairs, st.floats(-5.0, 5.0))
def test_a_shift_of_both_arms_changes_nothing(value_pairs: list[tuple[float, float]], shift: float) -> None:
    values, reference = split(value_pairs)
    differences = [round(a - b, 6) for a, b in value_pairs]
    assume(len(set(differences)) > 1)
    before = paired(values, reference)
    after = paired([v + shift for v in values], [v + shift for v in reference])
    assert after.mean == pytest.approx(before.mean, abs=1e-9)
    assert after.p == pytest.approx(before.p, abs=1e-6)
    assert summary([v + shift for v in values]).mean == pytest.approx(summary(values).mean + shift, abs=1e-9)


@pytest.mark.parametrize("test", ["t", "permutation"])
@given(value_pairs=pairs)
def test_swapping_the_arms_flips_the_sign(test: str, value_pairs: list[tuple[float, float]]) -> None:
    values, reference = split(value_pairs)
    forward, backward = paired(values, reference, test=test), paired(reference, values, test=test)
    assert forward.mean == pytest.approx(-backward.mean)
    assert forward.p == pytest.approx(backward.p)
    if forward.low is not None and backward.high is not None:
        assert forward.low == pytest.approx(-backward.high)
    assert forward.p is not None
    assert 0.0 <= forward.p <= 1.0


@given(pairs)
def test_the_interval_excludes_zero_iff_p_is_below_the_level(value_pairs: list[tuple[float, float]]) -> None:
    result = paired(*split(value_pairs))
    assume(result.low is not None and result.high is not None and result.p is not None)
    assume(abs(result.p - 0.05) > 1e-9)
    assert (result.low > 0.0 or result.high < 0.0) == (result.p < 0.05)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_never_lowers_keeps_the_order_and_stays_a_probability(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(raw <= new <= 1.0 for raw, new in zip(p_values, corrected, strict=True))
    ordered = [new for _, new in sorted(zip(p_values, corrected, strict=True))]
    assert ordered == sorted(ordered)
    bonferroni = [min(1.0, len(p_values) * p) for p in p_values]
    assert all(new <= most for new, most in zip(corrected, bonferroni, strict=True))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_symmetric(value_pairs: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in value_pairs], [b for _, b in value_pairs]
    forward, backward = mcnemar(first, second), mcnemar(second, first)
    assert forward.p == backward.p
    assert (forward.only_first, forward.only_second) == (backward.only_second, backward.only_first)
    assert forward.both + forward.only_first + forward.only_second + forward.neither == len(value_pairs)
    assert 0.0 <= forward.p <= 1.0
