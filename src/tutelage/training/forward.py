"""One batch through teacher and student, to signals; and each term's share of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tutelage.data.batches import Batch, BatchLoader, Plan
from tutelage.data.normalization import Normalization
from tutelage.engine import Engine, widest_float
from tutelage.functional import hash_ints
from tutelage.models.feature_hooks import FeatureHooks
from tutelage.objective import BoundObjective, LogitTerm, Loss, Objective, Prediction, Signals, TrainingSet

Teacher = Callable[[Batch], Prediction]
"""A frozen function from a batch to a prediction."""


@runtime_checkable
class PreparingTeacher(Protocol):
    """A teacher that prepares each epoch, such as one that reads stored logits ahead of the steps."""

    def begin(self, plan: Plan) -> None:
        """Prepare for the epoch that shows this plan."""
        ...


class DistillationForward:
    """A student, its objective and its teacher, ready for batches. A context manager that hooks the student's layers.

    Errors: ``ValueError`` for an objective that needs a teacher where there is none, or a layer that does not exist.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        normalization: Normalization,
        engine: Engine,
        teacher: Teacher | None,
    ) -> None:
        if objective.needs_teacher and teacher is None:
            raise ValueError(f"the objective {objective} learns from a teacher, and there is none")
        self.network = engine.place(network)
        self.objective = objective
        self.normalization = normalization
        self.engine = engine
        self.teacher = teacher
        self.hooks = FeatureHooks(self.network, objective.student_layers)

    def __enter__(self) -> DistillationForward:
        return self

    def __exit__(self, *_: object) -> None:
        self.hooks.close()

    def signals(self, batch: Batch, progress: float | None) -> Signals:
        """Run teacher and student on a batch. Losses see float32, whatever precision the networks ran in."""
        with torch.no_grad():
            prediction = None if self.teacher is None else self.teacher(batch)
        with self.engine.autocast():
            logits = self.network(batch.normalized(self.normalization))
        return Signals(
            student_logits=logits.float(),
            labels=batch.labels,
            teacher_logits=None if prediction is None else prediction.logits,
            rows=batch.rows,
            keys=batch.keys,
            progress=progress,
            student_features={name: feature.float() for name, feature in self.hooks.features.items()},
            teacher_features={} if prediction is None else prediction.features,
        )

    @torch.no_grad()
    def bind(self, data: BatchLoader, seed: int) -> BoundObjective:
        """Build what the objective's terms learn or remember; its first values are a function of the seed."""
        if all(isinstance(term, LogitTerm) for term in self.objective.terms):
            return BoundObjective(self.objective, {})  # nothing to build, so no need to run the networks
        self.network.eval()  # the example is for its shapes: no statistic of the network may move
        example = self.signals(next(data.batches(seed, 0)), 0.0)
        own_seed = int(hash_ints(seed, 3)) & (2**63 - 1)
        known = TrainingSet(labels=data.labels, num_classes=example.num_classes, seed=own_seed)
        with torch.random.fork_rng():
            torch.manual_seed(own_seed)
            return self.objective.bind(example, known).to(self.engine.device)


def gradient_shares(loss: Loss, parameters: Sequence[Tensor]) -> Tensor:
    """Each term's share of the norm of the gradient: float64 (float32 on ``mps``) ``[terms]``, summing to 1.

    Formula: ``||g_t|| / sum_u ||g_u||``, ``g_t`` the gradient of term t in all parameters. Gradients may point
    against each other, so a large share is influence, not progress.

    >>> x = torch.ones(1, requires_grad=True)
    >>> gradient_shares(Loss(4 * x.sum(), {"a": 3 * x.sum(), "b": x.sum()}), [x]).tolist()
    [0.75, 0.25]
    """
    dtype = widest_float(loss.total.device)
    zero = torch.zeros((), dtype=dtype, device=loss.total.device)
    norms = []
    for part in loss.parts.values():
        if not part.requires_grad:  # of a term that is off
            norms.append(zero)
            continue
        gradients = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
        squares = [gradient.to(dtype).square().sum() for gradient in gradients if gradient is not None]
        norms.append(torch.stack(squares).sum().sqrt() if squares else zero)
    stacked = torch.stack(norms)
    return stacked / stacked.sum().clamp_min(torch.finfo(dtype).tiny)
