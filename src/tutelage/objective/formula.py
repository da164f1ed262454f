"""How the parts of a formula are written."""

from __future__ import annotations

from types import FunctionType


def number(value: float) -> str:
    """Write a number with at most six decimals and no trailing zeros.

    >>> number(4 / 7), number(4.0), number(1e-4)
    ('0.571429', '4', '0.0001')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 or value == 0 else f"{value:g}"


def times(factor: str, rest: str) -> str:
    """Write a product; a factor of 1 is left out.

    >>> times("0.5", "D_5(student)"), times("1", "D_5(student)")
    ('0.5 D_5(student)', 'D_5(student)')
    """
    return rest if factor == "1" else f"{factor} {rest}"


def distance_name(distance: object) -> str:
    """The name of a distance in a formula: a function's own name, or the text of a configured distance.

    >>> from tutelage.functional import kl_divergence
    >>> from tutelage.methods.correlation_congruence import GaussianCorrelation
    >>> distance_name(kl_divergence), distance_name(GaussianCorrelation(gamma=0.4))
    ('kl_divergence', 'correlation_congruence[gamma 0.4, order 2]')
    """
    return distance.__name__ if isinstance(distance, FunctionType) else str(distance)
