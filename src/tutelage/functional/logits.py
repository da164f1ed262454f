"""Distances between the logits of student and teacher, other than the plain Kullback-Leibler divergence.

None contains the factor ``τ²``; student and teacher have the same temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.functional._checks import check_labels, check_matrix, check_pair, shape
from tutelage.functional._tensors import other_classes, spread
from tutelage.functional.distributions import soften, tempered_logits


def _check_decoupled(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> None:
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    check_labels(labels, student_logits)
    if student_logits.shape[1] < 2:
        raise ValueError(f"logits must have at least two classes, got {shape(student_logits)}")


def _label_or_not(logits: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    tempered = tempered_logits(logits, temperature)
    label = tempered.gather(1, labels[:, None].long())
    rest = tempered.gather(1, other_classes(labels, logits.shape[1])).logsumexp(1, keepdim=True)
    return torch.cat([label, rest], dim=1).log_softmax(1)


def _among_others(logits: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    others = other_classes(labels, logits.shape[1])
    return tempered_logits(logits, temperature).gather(1, others).log_softmax(1)


def _kl(target_log_probs: Tensor, log_probs: Tensor) -> Tensor:
    return (target_log_probs.exp() * (target_log_probs - log_probs)).sum(1)


def target_class_kl(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | Tensor = 1.0
) -> Tensor:
    """Divergence of the binary distribution "the label or not" (TCKD).

    Formula: ``KL(b^T || b^S)``, ``b = (p_y, 1 - p_y)``, ``p = softmax(z / τ)``.

    Shapes: both logits ``[B, K]``, K >= 2; ``labels`` ``[B]``, class indices; ``temperature`` a number, ``[]`` or
    ``[B]``; the result ``[B]``, in nats.

    Errors: ``ValueError`` for other shapes or a temperature not above 0, ``TypeError`` for labels that are not
    integers.

    >>> student, teacher = torch.zeros(1, 3), torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> target_class_kl(student, teacher, torch.tensor([0]))
    tensor([0.0589])

    Source: Zhao et al., "Decoupled knowledge distillation", arXiv 2203.08679.
    """
    _check_decoupled(student_logits, teacher_logits, labels)
    teacher = _label_or_not(teacher_logits, labels, temperature)
    return _kl(teacher, _label_or_not(student_logits, labels, temperature))


def other_class_kl(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | Tensor = 1.0
) -> Tensor:
    """Divergence among the classes other than the label (NCKD).

    Formula: ``KL(q^T || q^S)``, ``q`` the other classes of ``softmax(z / τ)``, normalized to sum 1. Together:
    ``KL(p^T || p^S) = TCKD + (1 - p^T_y) NCKD``.

    Shapes: those of :func:`target_class_kl`.

    Errors: those of :func:`target_class_kl`.

    >>> student, teacher = torch.zeros(1, 3), torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> other_class_kl(student, teacher, torch.tensor([0]))
    tensor([0.])

    Source: Zhao et al., "Decoupled knowledge distillation", arXiv 2203.08679.
    """
    _check_decoupled(student_logits, teacher_logits, labels)
    teacher = _among_others(teacher_logits, labels, temperature)
    return _kl(teacher, _among_others(student_logits, labels, temperature))


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> Tensor:
    """Decoupled distillation: the two parts of the divergence, each with its own weight.

    Formula: ``α TCKD + β NCKD``, α = ``target_weight``, β = ``other_weight``; the paper multiplies it by ``τ²``.

    Shapes: those of :func:`target_class_kl`.

    Errors: those of :func:`target_class_kl`.

    >>> student, teacher = torch.zeros(1, 3), torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> dkd(student, teacher, torch.tensor([0]), temperature=1.0)
    tensor([0.0589])

    Source: Zhao et al., "Decoupled knowledge distillation", arXiv 2203.08679.
    """
    target = target_class_kl(student_logits, teacher_logits, labels, temperature)
    return target_weight * target + other_weight * other_class_kl(student_logits, teacher_logits, labels, temperature)


def _pearson_distance(one: Tensor, other: Tensor, dim: int) -> Tensor:
    one = one - one.mean(dim, keepdim=True)
    other = other - other.mean(dim, keepdim=True)
    norms = torch.linalg.vector_norm(one, dim=dim) * torch.linalg.vector_norm(other, dim=dim)
    distance: Tensor = 1.0 - (one * other).sum(dim) / (norms + 1e-8)
    return distance


def inter_class_distance(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """How far student and teacher differ in ranking the classes of each example.

    Formula: ``1 - pearson(p^S_i, p^T_i)`` over the classes, ``p = softmax(z / τ)``; 1e-8 is added to the product of
    the norms.

    Shapes: both logits ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``; the result ``[B]``, from 0 to 2.

    Errors: ``ValueError`` for different shapes, and those of :func:`tempered_logits`.

    >>> inter_class_distance(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]]))
    tensor([2.])

    Source: Huang et al., "Knowledge distillation from a stronger teacher", arXiv 2205.10536.
    """
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    return _pearson_distance(soften(student_logits, temperature), soften(teacher_logits, temperature), dim=1)


def intra_class_distance(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """How far student and teacher differ in ranking the examples of the batch for each class.

    Formula: ``1/K Σ_k (1 - pearson(p^S_:k, p^T_:k))`` over the batch, the same for every example; 1e-8 is added to
    the product of the norms, so that a batch of one gives 1.

    Shapes: those of :func:`inter_class_distance`; it depends on the whole batch.

    Errors: those of :func:`inter_class_distance`.

    >>> logits = torch.tensor([[0.0, 1.0], [3.0, 1.0]])
    >>> intra_class_distance(logits, logits.flip(0)).round(decimals=4)
    tensor([2., 2.])

    Source: Huang et al., "Knowledge distillation from a stronger teacher", arXiv 2205.10536.
    """
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    student, teacher = soften(student_logits, temperature), soften(teacher_logits, temperature)
    return spread(_pearson_distance(student, teacher, dim=0).mean(), student_logits)


def standardize(logits: Tensor, unbiased: bool = True) -> Tensor:
    """Scale logits to mean 0 and standard deviation 1 in each row.

    Formula: ``(z - mean(z)) / (std(z) + 1e-7)``.

    Shapes: ``logits`` and the result ``[B, K]``, K >= 2; ``unbiased`` divides the variance by K - 1 (the official
    code), else by K.

    Errors: ``ValueError`` for logits that are not ``[B, K]`` with K >= 2.

    >>> standardize(torch.tensor([[1.0, 2.0, 3.0], [20.0, 40.0, 60.0]]))
    tensor([[-1.0000,  0.0000,  1.0000],
            [-1.0000,  0.0000,  1.0000]])

    Source: Sun et al., "Logit standardization in knowledge distillation", arXiv 2403.01427.
    """
    check_matrix("logits", logits)
    if logits.shape[1] < 2:
        raise ValueError(f"logits must have at least two classes, got {shape(logits)}")
    deviation = logits.std(-1, correction=int(unbiased), keepdim=True)
    return (logits - logits.mean(-1, keepdim=True)) / (deviation + 1e-7)


def batch_correlation(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """How far student and teacher differ in relating each example to the rest of the batch.

    Formula: row i of ``(P^T P^T' - P^S P^S')²``, summed; ``P = softmax(z / τ)``, ``[B, K]``. The mean over the batch
    is the squared Frobenius norm divided by B.

    Shapes: those of :func:`inter_class_distance`; it depends on the whole batch.

    Errors: those of :func:`inter_class_distance`.

    >>> batch_correlation(torch.zeros(2, 2), torch.tensor([[0.0, 100.0], [100.0, 0.0]]))
    tensor([0.5000, 0.5000])

    Source: Jin, Wang, Lin, "Multi-level logit distillation", CVPR 2023.
    """
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    student, teacher = soften(student_logits, temperature), soften(teacher_logits, temperature)
    return (teacher @ teacher.T - student @ student.T).square().sum(1)


def class_correlation(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """How far student and teacher differ in relating the classes to each other over the batch.

    Formula: ``||P^T' P^T - P^S' P^S||²_F / K``, ``P = softmax(z / τ)``, ``[B, K]``; the same for every example.

    Shapes: those of :func:`inter_class_distance`; it depends on the whole batch.

    Errors: those of :func:`inter_class_distance`.

    >>> class_correlation(torch.zeros(2, 2), torch.tensor([[0.0, 100.0], [100.0, 0.0]]))
    tensor([0.5000, 0.5000])

    Source: Jin, Wang, Lin, "Multi-level logit distillation", CVPR 2023.
    """
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    student, teacher = soften(student_logits, temperature), soften(teacher_logits, temperature)
    total = (teacher.T @ teacher - student.T @ student).square().sum()
    return spread(total / student_logits.shape[1], student_logits)
