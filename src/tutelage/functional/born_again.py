"""Born-again networks: which part of a teacher's distribution helps."""

from __future__ import annotations

from torch import Tensor

from tutelage.functional._checks import check_matrix, check_pair
from tutelage.functional._tensors import other_classes


def teacher_max_weights(teacher_probs: Tensor) -> Tensor:
    """Weight each example of a batch by the teacher's confidence (CWTM).

    Formula: ``w_s = max_j p_{j,s} / Σ_u max_j p_{j,u}``; the maximum counts even where the teacher is wrong.

    Shapes: ``teacher_probs`` ``[B, K]``; the result ``[B]``, sum 1 over the batch. The paper sums the weighted
    losses; to take a mean over the batch instead, multiply the weights by B.

    Errors: ``ValueError`` for probabilities that are not ``[B, K]``.

    >>> import torch
    >>> teacher_max_weights(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    tensor([0.6000, 0.4000])

    Source: Furlanello et al., "Born-again neural networks", arXiv 1805.04770.
    """
    check_matrix("teacher_probs", teacher_probs)
    highest = teacher_probs.amax(-1)
    return highest / highest.sum()


def permute_dark_knowledge(probs: Tensor, noise: Tensor) -> Tensor:
    """Keep each distribution's maximum in place and permute all its other entries (DKPP).

    Formula: with ``o_1 < ... < o_{K-1}`` the classes other than the argmax and ``π`` the order that sorts
    ``noise[o]``: ``result[o_i] = probs[o_π(i)]``. Independent uniform noise gives a uniform permutation.

    Shapes: ``probs``, ``noise`` and the result ``[B, K]``; equal noise keeps the order of the classes.

    Errors: ``ValueError`` for different shapes.

    >>> import torch
    >>> permute_dark_knowledge(torch.tensor([[0.1, 0.6, 0.2, 0.1]]), torch.tensor([[3.0, 0.0, 1.0, 2.0]]))
    tensor([[0.2000, 0.6000, 0.1000, 0.1000]])

    Source: Furlanello et al., "Born-again neural networks", arXiv 1805.04770.
    """
    check_pair("probs", probs, "noise", noise)
    others = other_classes(probs.argmax(-1), probs.shape[1])
    order = noise.gather(1, others).argsort(dim=1, stable=True)
    return probs.scatter(1, others, probs.gather(1, others.gather(1, order)))
