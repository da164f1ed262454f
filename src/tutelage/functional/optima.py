"""Where an objective is smallest: the scores of one sample at the optimum, over all distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from tutelage.functional._checks import check_between, check_matrix, check_positive, shape
from tutelage.functional._roots import Group, bisection, descents, penalized_scores, power_sum

_LEAST = 1e-17
"""A smaller penalty changes no score by more than its rounding."""
_LARGEST = math.nextafter(math.inf, 0.0)


def matched_optimum(targets: Tensor, weights: Sequence[float], temperatures: Sequence[float]) -> Tensor:
    """The scores at the optimum of several cross-entropies, each to a target of its own at its own temperature.

    Formula: ``argmin_f Σ_i w_i H(t_i, f_τi)``, ``f_τ ∝ f^(1/τ)``. At temperature 1 alone it is ``Σ w t / Σ w``. In
    general it is convex in the logits, with ``Σ_i w_i / τ_i (f_τi - t_i) = 0`` at the optimum, which Newton's method
    solves. A class without a target has a score of 0.

    Shapes: ``targets`` ``[M, K]``, distributions; ``weights`` and ``temperatures`` M numbers, any factor ``τ²`` is
    part of the weight; the result float64 ``[K]``.

    Errors: ``ValueError`` for targets that are no distributions, for other numbers of weights or temperatures, for a
    negative weight, none above 0, and a temperature that is not above 0.

    >>> targets = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
    >>> matched_optimum(targets, [0.4, 0.6], [1.0, 1.0])
    tensor([0.7600, 0.1800, 0.0600], dtype=torch.float64)
    >>> matched_optimum(targets, [0.4, 0.6 * 4], [1.0, 2.0])
    tensor([0.8502, 0.1319, 0.0178], dtype=torch.float64)

    Source: derived from eq. 4 of Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1, with the temperature of Hinton,
    Vinyals, Dean, arXiv 1503.02531, which the former paper announces.
    """
    targets, weights, temperatures = _checked(targets, weights, temperatures)
    column = torch.tensor(weights, dtype=torch.float64)[:, None]
    if all(temperature == 1.0 for temperature in temperatures):
        return (column * targets).sum(0) / column.sum()
    divisors = torch.tensor(temperatures, dtype=torch.float64)[:, None]
    some = targets[:, targets.sum(0) > 0.0]
    alike, places, counts = some.unique(dim=1, return_inverse=True, return_counts=True)
    counts = counts.double()
    masses = alike * counts
    logits = (column / divisors * alike).sum(0).log()

    def loss(logits: Tensor) -> float:
        normalizers = (logits / divisors + counts.log()).logsumexp(1)
        return float((column[:, 0] * (normalizers - (masses * logits / divisors).sum(1))).sum())

    value = loss(logits)
    for _ in range(1000):
        probs = (logits / divisors + counts.log()).softmax(1)
        slope = (column / divisors * (probs - masses)).sum(0)
        curvature = column / divisors**2 * probs
        # Scaled to a diagonal of about 1, so that classes of tiny scores count, and without its null direction, along
        # which all logits grow alike.
        scale = curvature.sum(0).sqrt()
        hessian = (scale**2).diag() - curvature.T @ probs
        along = scale / scale.norm()
        step = torch.linalg.solve(hessian / scale[:, None] / scale + along[:, None] * along, slope / scale) / scale
        if float(step.abs().max()) < 1e-14:
            break
        size, gain, rounding = 1.0, float(slope @ step), 1e-14 * abs(value)
        while loss(logits - size * step) > value - 1e-4 * size * gain + rounding:
            size /= 2
        logits = logits - size * step
        value = loss(logits)
        if gain < 1e-26 * sum(weights):
            break
    scores = torch.zeros(targets.shape[1], dtype=torch.float64)
    scores[targets.sum(0) > 0.0] = (logits + counts.log()).softmax(0).div(counts)[places]
    return scores


def tolerant_optimum(
    targets: Tensor, weights: Sequence[float], temperatures: Sequence[float], tolerance: float, k: int
) -> Tensor:
    """The scores at the optimum of cross-entropies and the score difference of the ``k`` highest scores.

    Formula: ``argmin_f Σ_i w_i H(t_i, f_τi) + η D_K(f)``. The difference does not depend on the order of the classes,
    so that the scores have the order of ``q = Σ_i w_i / τ_i t_i``, and the difference is a weighted sum. At
    temperature 1: ``f_1 = q_1 / (μ + η)``, ``f_k = q_k / (μ - η / (K-1))`` for the next K - 1 and ``q_k / μ`` for the
    others; where a score would exceed ``f_1`` the two are equal, their share is ``Σ q`` over the sum of their
    denominators. The scores fall with ``μ``: the one at which they sum to 1 is a root in one dimension. Other
    temperatures add ``Σ_i w_i ln Σ_k f_k^(1/τi)``, which is concave for τ >= 1: its tangent bounds it from above, and
    each minimum of the bound is lower than the one before, until the scores stay where they are.

    Shapes: those of :func:`matched_optimum`; ``tolerance`` = η >= 0; ``k`` from 2 to K.

    Units: where the loss leaves the split of a share open (labels alone), it is even; of equal targets, the first
    class has the higher score.

    Errors: those of :func:`matched_optimum`, and ``ValueError`` for ``tolerance`` or ``k`` out of range, and a
    temperature below 1.

    >>> label = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    >>> patriarch = tolerant_optimum(label, [3 / 7], [1.0], 4 / 7, k=5)
    >>> patriarch
    tensor([0.6000, 0.1000, 0.1000, 0.1000, 0.1000, 0.0000], dtype=torch.float64)
    >>> tolerant_optimum(torch.stack([label[0], patriarch]), [0.32, 0.48], [1.0, 1.0], 0.2, k=5)
    tensor([0.6936, 0.0766, 0.0766, 0.0766, 0.0766, 0.0000], dtype=torch.float64)

    Source: derived from eqs. 3 and 4 of Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1.
    """
    targets, weights, temperatures = _checked(targets, weights, temperatures, least=1.0)
    if not 2 <= k <= targets.shape[1]:
        raise ValueError(f"k must be from 2 to the number of classes, {targets.shape[1]}, got {k}")
    return _tolerant(targets, weights, temperatures, tolerance, {k: 1.0})


def tolerant_optimum_by_share(
    targets: Tensor,
    weights: Sequence[float],
    temperatures: Sequence[float],
    tolerance: float,
    share: float,
    max_k: int | None = None,
) -> Tensor:
    """The scores at the optimum of cross-entropies and the score difference of those above a share of the highest.

    Formula: ``argmin_f Σ_i w_i H(t_i, f_τi) + η D_s(f)``, see
    :func:`tutelage.functional.score_difference_by_share`. Counting more classes never makes the difference smaller,
    so that the optimum is the best of those with ``n`` = 2, 3 ... ``max_k`` classes counted and all others at most
    ``s f_1``; each is that of :func:`tolerant_optimum` for ``K = n``, where the others have that limit.

    Shapes: those of :func:`tolerant_optimum`; ``share`` = s in ``(0, 1]``; ``max_k`` at least 2, all by default.

    Units: those of :func:`tolerant_optimum`.

    Errors: those of :func:`tolerant_optimum`, and ``ValueError`` for ``share`` or ``max_k`` out of range.

    >>> label = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> tolerant_optimum_by_share(label, [6 / 11], [1.0], 5 / 11, share=0.1)
    tensor([0.6000, 0.4000, 0.0000, 0.0000], dtype=torch.float64)

    Source: ours, like the difference.
    """
    targets, weights, temperatures = _checked(targets, weights, temperatures, least=1.0)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1], got {share}")
    if max_k is not None and max_k < 2:
        raise ValueError(f"max_k must be at least 2, got {max_k}")
    most = min(max_k or targets.shape[1], targets.shape[1])
    return _tolerant(
        targets, weights, temperatures, tolerance, {n: share if n < most else 1.0 for n in range(2, most + 1)}
    )


def penalized_optimum(target: Tensor, penalty: float, threshold: float | None = None) -> Tensor:
    """The scores at the optimum of cross-entropy with a confidence penalty, to any target.

    Formula: ``argmin_f H(t, f) - β H(f)``: ``ln f_k - t_k / (β f_k) + ν = 0``, with the ν for which the scores sum
    to 1. With a ``threshold`` Γ, ``argmin_f H(t, f) + β max(0, Γ - H(f))``: the smallest weight up to β at which the
    entropy reaches Γ takes the place of β.

    Shapes: ``target`` ``[K]``, a distribution; ``penalty`` = β >= 0; ``threshold`` in nats; the result float64
    ``[K]``.

    Errors: ``ValueError`` for a target that is no distribution and a penalty or threshold below 0 or not finite.

    >>> penalized_optimum(torch.tensor([0.8, 0.2, 0.0]), 0.5)
    tensor([0.6691, 0.2697, 0.0612], dtype=torch.float64)

    Source: derived from Pereyra et al., arXiv 1701.06548; for labels alone see :func:`penalty_for_primary`.
    """
    (target,) = _checked(target[None], [1.0], [1.0])[0]
    check_between("penalty", penalty, 0.0, _LARGEST)
    if threshold is not None:
        check_between("threshold", threshold, 0.0, _LARGEST)
    levels, places, counts = target.unique(return_inverse=True, return_counts=True)
    groups = list(zip(levels.tolist(), counts.tolist(), strict=True))

    def scores(penalty: float) -> Tensor:
        return torch.tensor(penalized_scores(groups, penalty), dtype=torch.float64) if penalty > _LEAST else levels

    def below(penalty: float) -> bool:
        each = scores(penalty)
        return threshold is not None and float(-(counts * torch.xlogy(each, each)).sum()) < threshold

    if threshold is not None and not below(penalty):
        penalty = bisection(below, 0.0, penalty)[1] if below(0.0) else 0.0
    return scores(penalty)[places]


def _tolerant(
    targets: Tensor, weights: list[float], temperatures: list[float], tolerance: float, limits: dict[int, float]
) -> Tensor:
    """The best of the optima for each number of counted classes, with the limit of the other scores."""
    check_between("tolerance", tolerance, 0.0, _LARGEST)
    pulls = torch.tensor([w / t for w, t in zip(weights, temperatures, strict=True)], dtype=torch.float64)
    order = (pulls[:, None] * targets).sum(0).argsort(descending=True, stable=True)
    columns = [tuple(column) for column in targets[:, order].T.tolist()]
    tempered = [(w, t) for w, t in zip(weights, temperatures, strict=True) if t != 1.0]
    best: tuple[float, list[float]] | None = None
    for counted, limit in limits.items():
        places = [0, *(1 if place < counted else 2 for place in range(1, len(columns)))]
        runs = [(key, len(list(run))) for key, run in groupby(zip(columns, places, strict=True))]
        costs = [tolerance * (1.0, -1.0 / (counted - 1), 0.0)[place] for (_, place), _ in runs]
        groups = [
            Group(sum(p * t for p, t in zip(pulls.tolist(), key, strict=True)), cost, limit if place == 2 else 1.0, n)
            for ((key, place), n), cost in zip(runs, costs, strict=True)
        ]
        for scores in descents(groups, tempered):
            value = sum(
                group.number * ((-group.target * math.log(score) if group.target else 0.0) + group.cost * score)
                for group, score in zip(groups, scores, strict=True)
            ) + sum(w * math.log(power_sum(groups, scores, t)) for w, t in tempered)
            if best is None or value < best[0] - 1e-14 * abs(best[0]):
                sizes = [group.number for group in groups]
                best = value, [score for score, n in zip(scores, sizes, strict=True) for _ in range(n)]
    assert best is not None
    scores_in_order = torch.empty(len(columns), dtype=torch.float64)
    scores_in_order[order] = torch.tensor(best[1], dtype=torch.float64)
    return scores_in_order


def _checked(
    targets: Tensor, weights: Sequence[float], temperatures: Sequence[float], least: float = 0.0
) -> tuple[Tensor, list[float], list[float]]:
    """Refuse what is no sum of cross-entropies; targets in float64, without those of weight 0."""
    check_matrix("targets", targets)
    if not (len(targets) == len(weights) == len(temperatures)):
        raise ValueError(
            f"targets {shape(targets)} need a weight and a temperature each, "
            f"got {len(weights)} and {len(temperatures)}"
        )
    sums = targets.double().sum(1)
    if not bool(((targets >= 0.0).all(1) & ((sums - 1.0).abs() < 1e-5)).all()):
        raise ValueError(f"targets must be distributions, scores of at least 0 that sum to 1, got {targets.tolist()}")
    for weight, temperature in zip(weights, temperatures, strict=True):
        check_between("weight", weight, 0.0, _LARGEST)
        check_positive("temperature", temperature)
        if temperature < least:
            raise ValueError(f"temperature must be at least {least:g}, got {temperature}")
    some = [place for place, weight in enumerate(weights) if weight > 0.0]
    if not some:
        raise ValueError(f"one weight at least must be above 0, got {list(weights)}")
    scaled = targets.double() / sums[:, None]
    return scaled[some], [float(weights[place]) for place in some], [float(temperatures[place]) for place in some]
