"""The loop. It yields records; progress bars, logs and checkpoints are consumers of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.data.batches import Batch, Epochs, Normalization
from tutelage.engine import Engine
from tutelage.functional import hash_ints
from tutelage.objective import Loss, Objective, Signals
from tutelage.training.lesson import Lesson, Teacher, gradient_shares
from tutelage.training.schedule import Schedule
from tutelage.training.state import NotFinite, State, capture, restore


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """What the loop tells after every epoch, and every ``pulse`` seconds in between.

    ``metrics`` holds the epoch's mean loss, its parts and the accuracy on the training views; it is None between
    epochs. ``images`` counts those trained on since the loop was entered. ``state`` copies the moment, when called
    before the loop goes on.
    """

    step: int
    steps: int
    epoch: int
    images: int
    metrics: dict[str, float] | None
    state: Callable[[], State]


def fit(
    network: nn.Module,
    data: Epochs,
    objective: Objective,
    schedule: Schedule,
    *,
    normalization: Normalization,
    seed: int,
    engine: Engine,
    teacher: Teacher | None = None,
    state: State | None = None,
    pulse: float = 0.5,
    meter: bool = False,
) -> Iterator[Record]:
    """Train ``network`` in place, from ``state`` on if one is given; all randomness is a function of the seed.

    With ``meter`` each epoch's metrics hold every term's share of the gradient norm at the epoch's first step.

    Errors: :class:`NotFinite` before the optimizer would use a loss that is not a number (on a GPU: before the next
    record); ``ValueError`` for an objective that needs a teacher where there is none.
    """
    with Lesson(network, objective, normalization, engine, teacher) as lesson:
        yield from _loop(lesson, data, schedule, seed, state, pulse, meter)


def _loop(
    lesson: Lesson,
    data: Epochs,
    schedule: Schedule,
    seed: int,
    state: State | None,
    pulse: float,
    meter: bool,
) -> Iterator[Record]:
    network, engine, objective = lesson.network, lesson.engine, lesson.objective
    bound = lesson.bind(data, seed)
    optimizer = torch.optim.SGD(
        [*network.parameters(), *bound.parameters()],
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.nesterov and schedule.momentum > 0,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    sums = torch.zeros(2 * len(objective.terms) + 2, dtype=torch.float64, device=engine.device)
    step, steps, images = 0, schedule.epochs * len(data), 0
    if state is not None:
        step = state.step
        restore(state, network, bound, optimizer, sums)
    finite = torch.ones((), dtype=torch.bool, device=engine.device)

    def record(metrics: dict[str, float] | None = None) -> Record:
        if not finite:
            raise NotFinite(f"the loss was not a finite number at or before step {step} of {steps}")
        return Record(
            step=step,
            steps=steps,
            epoch=step // len(data),
            images=images,
            metrics=metrics,
            state=lambda: capture(step, network, bound, optimizer, sums),
        )

    due = time.monotonic() + pulse
    network.train()
    for epoch in range(step // len(data), schedule.epochs):
        for batch in data.batches(seed, epoch, start=step % len(data)):
            progress = step / steps
            rate = schedule.lr * schedule.decay.share(progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            engine.seed(int(hash_ints(seed, 2, step)))
            signals = lesson.signals(batch, progress)
            loss: Loss = bound(signals)
            if engine.device.type == "cpu":
                if not math.isfinite(loss.total.item()):
                    raise NotFinite(_diagnosis(loss, signals, batch, step, steps, rate))
            else:  # looking now would stall the device: remembered, and looked at before any record
                finite &= torch.isfinite(loss.total)
            if meter and step % len(data) == 0:
                sums[-len(objective.terms) :] = gradient_shares(loss, list(network.parameters()))
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            optimizer.step()
            step += 1
            images += len(batch.labels)
            _add(sums, loss, signals)
            if step % len(data) and time.monotonic() > due:
                yield record()
                network.train()
                due = time.monotonic() + pulse
        metrics = {"epoch": epoch + 1, "lr": rate, **_means(sums, objective, len(data.labels), meter)}
        sums.zero_()
        yield record(metrics)
        network.train()
        due = time.monotonic() + pulse


def _add(sums: Tensor, loss: Loss, signals: Signals) -> None:
    """Add a step to the running sums: correct, loss, each term; behind them stand the terms' gradient shares."""
    with torch.no_grad():
        count = len(signals.labels)
        correct = (signals.student_logits.argmax(1) == signals.labels).sum()
        step = torch.stack([correct, loss.total * count, *(part * count for part in loss.parts.values())])
        sums[: len(step)] += step


def _means(sums: Tensor, objective: Objective, count: int, meter: bool) -> dict[str, float]:
    terms = [term.name for term in objective.terms]
    means = (sums[: len(terms) + 2] / count).tolist()
    found = dict(zip(["accuracy", "loss", *(f"loss/{term}" for term in terms)], means, strict=True))
    if meter:
        shares = sums[-len(terms) :].tolist()
        found |= {f"share/{term}": share for term, share in zip(terms, shares, strict=True)}
    return found


def _diagnosis(loss: Loss, signals: Signals, batch: Batch, step: int, steps: int, rate: float) -> str:
    terms = [name for name, part in loss.parts.items() if not part.isfinite()]
    teacher = signals.teacher_logits
    if teacher is not None and not teacher.isfinite().all():
        blame = "the teacher's logits are not finite"
    elif not signals.student_logits.isfinite().all():
        blame = "the student's logits are not finite: try a smaller learning rate"
    else:
        blame = f"the terms {', '.join(terms)} are not finite"
    ids = ", ".join(str(i) for i in batch.ids[:5].tolist())
    return (
        f"the loss is {loss.total.item()} at step {step + 1} of {steps} (learning rate {rate:g}, samples {ids}, ...; "
        f"terms {', '.join(terms) or 'none alone'}): {blame}; this step was not taken"
    )
