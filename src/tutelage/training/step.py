"""One step of training: run as it is written, or recorded once and replayed by the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.data.batches import Batch, BatchLoader, Plan
from tutelage.engine import widest_float
from tutelage.objective import BoundObjective, Loss, Signals
from tutelage.training.forward import DistillationForward, PreparingTeacher, gradient_shares
from tutelage.training.sgd import Sgd
from tutelage.training.state import NotFinite


class Step:
    """The computation of one step: teacher and student, loss, gradient, weights, and the sums of the epoch.

    ``sums``, float64 ``[2 + 2 terms]`` (float32 on ``mps``), holds the number of right answers, the loss and each
    term, summed over the epoch's images, then the terms' shares of the gradient. ``finite`` turns False at the first
    loss or gradient that is not finite; no weight changes by such a gradient, nor after it. ``position`` says in
    messages which step it is.

    Errors: on a CPU :class:`NotFinite` at once. On a GPU the caller reads ``finite`` now and then: reading it here
    would make the host wait for the device at every step.
    """

    def __init__(self, forward: DistillationForward, bound: BoundObjective, optimizer: Sgd) -> None:
        self.forward, self.bound, self.optimizer = forward, bound, optimizer
        self.position = "the first step"
        device, self.num_terms = forward.engine.device, len(forward.objective.terms)
        self.sums = torch.zeros(2 * self.num_terms + 2, dtype=widest_float(device), device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)

    def __call__(self, batch: Batch, rate: float | Tensor, progress: float | None, meter: bool = False) -> None:
        """Run the step; with ``meter`` also measure each term's share of the gradient."""
        self.optimizer.zero_grad()  # before the forward pass, which needs the memory
        signals = self.forward.signals(batch, progress)
        loss: Loss = self.bound(signals)
        if self.forward.engine.device.type == "cpu":
            if not math.isfinite(loss.total.item()):
                raise NotFinite(_diagnosis(loss, signals, batch, rate, self.position))
        else:
            self.finite.logical_and_(loss.total.isfinite())  # in place: a recorded step writes where this one does
        if meter:
            self.sums[-self.num_terms :] = gradient_shares(loss, list(self.forward.network.parameters()))
        loss.total.backward()
        self.optimizer.step(rate)  # changes nothing if a gradient is not finite
        if self.forward.engine.device.type == "cpu":
            if self.optimizer.broken:
                raise NotFinite(self._diagnosis_of_gradient(loss, batch, rate, progress))
        else:
            self.finite.logical_and_(self.optimizer.broken[0] == 0)
        with torch.no_grad():
            count = len(signals.labels)
            correct = (signals.student_logits.argmax(1) == signals.labels).sum()
            values = torch.stack([correct, loss.total * count, *(part * count for part in loss.parts.values())])
            self.sums[: len(values)] += values

    def _diagnosis_of_gradient(self, loss: Loss, batch: Batch, rate: float | Tensor, progress: float | None) -> str:
        """Where a gradient that is not finite comes from. The graph is gone, so the batch is run again."""
        names = [*self.forward.network.named_parameters(), *self.bound.named_parameters()]
        weights = [name for name, each in names if each.grad is not None and not each.grad.isfinite().all()]
        parts = self.bound(self.forward.signals(batch, progress)).parts
        terms = [name for name, part in parts.items() if part.requires_grad and not self._has_finite_gradient(part)]
        return (
            f"the gradient is not finite at {self.position}, though the loss is {loss.total.item():g} (learning rate "
            f"{float(rate):g}, samples {_samples(batch)}; terms {', '.join(terms) or 'none alone'}; first in "
            f"{weights[0]}): this step was not taken"
        )

    def _has_finite_gradient(self, part: Tensor) -> bool:
        gradients = torch.autograd.grad(part, self.optimizer.parameters, retain_graph=True, allow_unused=True)
        return all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


class Steps:
    """The steps of an epoch, one after the other."""

    def __init__(self, step: Step, data: BatchLoader) -> None:
        self.step, self.data = step, data

    def begin(self, plan: Plan, rates: Sequence[float], start: int) -> None:
        """Prepare for an epoch that continues at step ``start``."""
        self.plan, self.rates = plan, rates
        self.data.begin(plan, start)
        if isinstance(self.step.forward.teacher, PreparingTeacher):
            self.step.forward.teacher.begin(plan)

    def run_step(self, index: int, progress: float, meter: bool = False) -> None:
        """Run step ``index`` of the epoch."""
        part = self.plan.part(index * self.data.batch_size, self.data.batch_size)
        self.step(self.data.batch(*part), self.rates[index], progress, meter)


@dataclass(slots=True, eq=False)
class _BatchSize:
    """The steps with batches of one size. A CUDA graph has fixed shapes, so each size has a recording of its own."""

    plans: Tensor
    """Rows, views and keys of every batch of this size in the epoch, int64 ``[batches, 3, size]`` on the device."""
    eager_steps: int = 0
    """How many steps of this size have run as they are written."""
    replay: Callable[[], None] | None = None
    """Launches the recorded step; None until it is recorded."""


class RecordedSteps(Steps):
    """The same steps, recorded once for each batch size; after that each is a single launch.

    A replayed graph repeats the same operations on the same addresses, so everything that changes from step to step
    lies on the device before the epoch begins: which images in which views, and the learning rates. A cursor on the
    device says which of them are next; the step itself advances it. The host could not pass an index along, since
    a number of the host is fixed in the recording.

    The first steps of each size run as they are written, so that whatever is created on first use (momentum,
    constants, the plans of the libraries) exists before the recording.
    """

    EAGER_STEPS = 3

    def __init__(self, step: Step, data: BatchLoader) -> None:
        super().__init__(step, data)
        self.engine = step.forward.engine
        device = self.engine.device
        self.full_batches, rest = divmod(len(data.labels), data.batch_size)
        shape = (self.full_batches, 3, data.batch_size)
        self.full = _BatchSize(torch.zeros(shape, dtype=torch.int64, device=device))
        self.last = _BatchSize(torch.zeros((1, 3, rest), dtype=torch.int64, device=device))
        self.device_rates = torch.zeros(len(data), device=device)
        self.cursor = torch.zeros(1, dtype=torch.int64, device=device)

    def begin(self, plan: Plan, rates: Sequence[float], start: int) -> None:
        """Copy the epoch to the device, into the tensors that the recordings read."""
        super().begin(plan, rates, start)
        stacked = torch.stack([plan.rows, plan.views, plan.keys])
        full = stacked[:, : self.full_batches * self.data.batch_size]
        self.full.plans.copy_(full.view(3, self.full_batches, self.data.batch_size).transpose(0, 1))
        self.last.plans.copy_(stacked[None, :, full.shape[1] :])
        self.device_rates.copy_(torch.tensor(rates))
        self.cursor.fill_(start)

    def run_step(self, index: int, progress: float, meter: bool = False) -> None:
        """Run step ``index`` of the epoch; a metered step is never a recorded one."""
        is_last = index >= self.full_batches
        size = self.last if is_last else self.full

        def work(meter: bool = False) -> None:
            rows, views, keys = size.plans[0] if is_last else size.plans.index_select(0, self.cursor)[0]
            rate = self.device_rates.index_select(0, self.cursor)[0]
            self.step(self.data.batch(rows, views, keys), rate, None, meter)
            self.cursor.add_(1)

        if meter or size.eager_steps < self.EAGER_STEPS:
            size.eager_steps += 1
            self.engine.on_side_stream(lambda: work(meter))
            return
        if size.replay is None:
            size.replay = self.engine.record(work)  # records without running, so the replay below is this very step
        size.replay()


def steps_of(step: Step, data: BatchLoader, seed: int) -> Steps:
    """Recorded steps if the device records and every step of the objective is alike; plain ones otherwise."""
    recorded = step.forward.engine.can_record_steps and data.on_device and _is_steady(step, data, seed)
    return RecordedSteps(step, data) if recorded else Steps(step, data)


@torch.no_grad()
def _is_steady(step: Step, data: BatchLoader, seed: int) -> bool:
    """Whether the objective needs neither the progress of training nor a result from the device within a step.

    The first would be fixed at the value it was recorded with; the second cannot be recorded. Both show on one batch
    that is evaluated without progress, with synchronization an error.
    """
    step.forward.network.eval()  # no statistic and no bank may change
    step.bound.eval()
    batch = next(data.batches(seed, 0))
    step.bound(step.forward.signals(batch, 0.0))  # first, as constants that are created on first use synchronize
    try:
        with step.forward.engine.forbid_host_sync():
            step.bound(step.forward.signals(batch, None))
    except (ValueError, TypeError, RuntimeError):
        return False
    finally:
        step.bound.train()
    return True


def _diagnosis(loss: Loss, signals: Signals, batch: Batch, rate: float | Tensor, position: str) -> str:
    """Where a loss that is not finite comes from: the teacher, the student, or a term."""
    terms = [name for name, part in loss.parts.items() if not part.isfinite()]
    teacher = signals.teacher_logits
    wrong = None
    if teacher is not None and not teacher.isfinite().all():
        wrong, cause = ~teacher.isfinite().all(1), "the teacher's logits are not finite"
    elif not signals.student_logits.isfinite().all():
        wrong = ~signals.student_logits.isfinite().all(1)
        cause = "the student's logits are not finite: try a smaller learning rate"
    else:
        cause = f"the terms {', '.join(terms)} are not finite"
    samples = _samples(batch, wrong)
    return (
        f"the loss is {loss.total.item()} at {position} (learning rate {float(rate):g}, samples {samples}; "
        f"terms {', '.join(terms) or 'none alone'}): {cause}; this step was not taken"
    )


def _samples(batch: Batch, wrong: Tensor | None = None) -> str:
    """The ids of the first samples of a batch, or of those marked ``wrong`` (bool ``[B]``)."""
    ids = (batch.ids if wrong is None else batch.ids[wrong]).tolist()
    return ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
