"""One step of training: as it comes, or recorded once and replayed by the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tutelage.data.batches import Batch, BatchLoader, Plan
from tutelage.objective import BoundObjective, Loss, Signals
from tutelage.training.forward import DistillationForward, Preparing, gradient_shares
from tutelage.training.sgd import Sgd
from tutelage.training.state import NotFinite


class Step:
    """Ask teacher and student, take the gradient, move the weights, add up what is to be told of the epoch.

    ``sums``, float64 ``[2 + 2 terms]``, holds the epoch's correct answers, its loss and each term, summed over
    images, and behind them the terms' shares of the gradient. ``finite`` turns False at the first loss or gradient
    that is not a number; no weight moves by such a gradient, nor after it.

    Errors: on a CPU :class:`NotFinite` at once. A GPU is not asked here, which would stall it at every step.
    """

    def __init__(self, lesson: DistillationForward, bound: BoundObjective, optimizer: Sgd) -> None:
        self.lesson, self.bound, self.optimizer = lesson, bound, optimizer
        self.where = "the first step"
        device, self.terms = lesson.engine.device, len(lesson.objective.terms)
        self.sums = torch.zeros(2 * self.terms + 2, dtype=torch.float64, device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)

    def __call__(self, batch: Batch, rate: float | Tensor, progress: float | None, meter: bool = False) -> None:
        """Take the step; with ``meter`` also measure each term's share of the gradient."""
        self.optimizer.zero_grad()  # before the forward pass, which needs the memory
        signals = self.lesson.signals(batch, progress)
        loss: Loss = self.bound(signals)
        if self.lesson.engine.device.type == "cpu":
            if not math.isfinite(loss.total.item()):
                raise NotFinite(_diagnosis(loss, signals, batch, rate, self.where))
        else:
            self.finite.logical_and_(loss.total.isfinite())
        if meter:
            self.sums[-self.terms :] = gradient_shares(loss, list(self.lesson.network.parameters()))
        loss.total.backward()
        self.optimizer.step(rate)  # moves nothing where a gradient is not finite
        if self.lesson.engine.device.type == "cpu":
            if self.optimizer.broken:
                raise NotFinite(self._diagnosis_of_gradient(loss, batch, rate, progress))
        else:
            self.finite.logical_and_(self.optimizer.broken[0] == 0)
        with torch.no_grad():
            count = len(signals.labels)
            correct = (signals.student_logits.argmax(1) == signals.labels).sum()
            told = torch.stack([correct, loss.total * count, *(part * count for part in loss.parts.values())])
            self.sums[: len(told)] += told

    def _diagnosis_of_gradient(self, loss: Loss, batch: Batch, rate: float | Tensor, progress: float | None) -> str:
        """Where a gradient that is not finite comes from; the batch is asked again, as its graph is gone."""
        names = [*self.lesson.network.named_parameters(), *self.bound.named_parameters()]
        weights = [name for name, each in names if each.grad is not None and not each.grad.isfinite().all()]
        parts = self.bound(self.lesson.signals(batch, progress)).parts
        terms = [name for name, part in parts.items() if part.requires_grad and not self._has_gradient(part)]
        return (
            f"the gradient is not finite at {self.where}, though the loss is {loss.total.item():g} (learning rate "
            f"{float(rate):g}, samples {_samples(batch)}; terms {', '.join(terms) or 'none alone'}; first in "
            f"{weights[0]}): this step was not taken"
        )

    def _has_gradient(self, part: Tensor) -> bool:
        found = torch.autograd.grad(part, self.optimizer.parameters, retain_graph=True, allow_unused=True)
        return all(gradient is None or bool(gradient.isfinite().all()) for gradient in found)


class Steps:
    """An epoch's steps, one after the other."""

    def __init__(self, step: Step, data: BatchLoader) -> None:
        self.step, self.data = step, data

    def begin(self, plan: Plan, rates: Sequence[float], start: int) -> None:
        """Make ready for an epoch that goes on at step ``start``."""
        self.plan, self.rates = plan, rates
        if isinstance(self.step.lesson.teacher, Preparing):
            self.step.lesson.teacher.begin(plan)

    def take(self, index: int, progress: float, meter: bool = False) -> None:
        """Take a step of the epoch."""
        part = self.plan.part(index * self.data.batch_size, self.data.batch_size)
        self.step(self.data.batch(*part), self.rates[index], progress, meter)


class RecordedSteps(Steps):
    """The same steps, recorded once for each size of batch; after that, one launch a step and nothing else.

    All that changes from step to step lies on the device before the epoch begins: which images in which views, the
    rates, and a cursor that the step itself moves on. The first steps of each size run as they come, so that whatever
    is made on first use (momentum, constants, the libraries' plans) exists before the recording.
    """

    AS_THEY_COME = 3

    def __init__(self, step: Step, data: BatchLoader) -> None:
        super().__init__(step, data)
        self.engine = step.lesson.engine
        device = self.engine.device
        self.whole, rest = divmod(len(data.labels), data.batch_size)
        self.tickets = torch.zeros((self.whole, 3, data.batch_size), dtype=torch.int64, device=device)
        self.last = torch.zeros((1, 3, rest), dtype=torch.int64, device=device)
        self.told_rates = torch.zeros(len(data), device=device)
        self.cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self.taken = [0, 0]
        self.replay: dict[bool, Callable[[], None]] = {}

    def begin(self, plan: Plan, rates: Sequence[float], start: int) -> None:
        """Bring the epoch to the device."""
        super().begin(plan, rates, start)
        tickets = torch.stack([plan.rows, plan.views, plan.keys])
        full = tickets[:, : self.whole * self.data.batch_size]
        self.tickets.copy_(full.view(3, self.whole, self.data.batch_size).transpose(0, 1))
        self.last.copy_(tickets[None, :, full.shape[1] :])
        self.told_rates.copy_(torch.tensor(rates))
        self.cursor.fill_(start)

    def take(self, index: int, progress: float, meter: bool = False) -> None:
        """Take a step of the epoch; one that is metered is never a recorded one."""
        is_last = index >= self.whole

        def work(meter: bool = False) -> None:
            rows, views, keys = self.last[0] if is_last else self.tickets.index_select(0, self.cursor)[0]
            rate = self.told_rates.index_select(0, self.cursor)[0]
            self.step(self.data.batch(rows, views, keys), rate, None, meter)
            self.cursor.add_(1)

        self.taken[is_last] += 1
        if meter or self.taken[is_last] <= self.AS_THEY_COME:
            self.engine.aside(lambda: work(meter))
            return
        if is_last not in self.replay:
            self.replay[is_last] = self.engine.record(work)
        self.replay[is_last]()


def steps_of(step: Step, data: BatchLoader, seed: int) -> Steps:
    """Recorded steps where the device records and the objective is the same at every step; else as they come."""
    recorded = step.lesson.engine.records and _is_steady(step, data, seed)
    return RecordedSteps(step, data) if recorded else Steps(step, data)


@torch.no_grad()
def _is_steady(step: Step, data: BatchLoader, seed: int) -> bool:
    """Whether the objective can do without being told how far training is, and without asking the host."""
    step.lesson.network.eval()  # no statistic may move
    step.bound.eval()
    batch = next(data.batches(seed, 0))
    step.bound(step.lesson.signals(batch, 0.0))  # constants are made on first use
    try:
        with step.lesson.engine.unasked():
            step.bound(step.lesson.signals(batch, None))
    except (ValueError, TypeError, RuntimeError):
        return False
    finally:
        step.bound.train()
    return True


def _diagnosis(loss: Loss, signals: Signals, batch: Batch, rate: float | Tensor, where: str) -> str:
    terms = [name for name, part in loss.parts.items() if not part.isfinite()]
    teacher = signals.teacher_logits
    wrong = None
    if teacher is not None and not teacher.isfinite().all():
        wrong, blame = ~teacher.isfinite().all(1), "the teacher's logits are not finite"
    elif not signals.student_logits.isfinite().all():
        wrong = ~signals.student_logits.isfinite().all(1)
        blame = "the student's logits are not finite: try a smaller learning rate"
    else:
        blame = f"the terms {', '.join(terms)} are not finite"
    samples = _samples(batch, wrong)
    return (
        f"the loss is {loss.total.item()} at {where} (learning rate {float(rate):g}, samples {samples}; "
        f"terms {', '.join(terms) or 'none alone'}): {blame}; this step was not taken"
    )


def _samples(batch: Batch, wrong: Tensor | None = None) -> str:
    """The first of a batch's samples, or of those that are wrong."""
    ids = (batch.ids if wrong is None else batch.ids[wrong]).tolist()
    return ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
