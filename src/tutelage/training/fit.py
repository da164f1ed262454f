"""The loop. It yields records; progress bars, logs and checkpoints are consumers of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.data.batches import BatchLoader, Normalization
from tutelage.engine import Engine
from tutelage.functional import hash_ints
from tutelage.objective import Objective
from tutelage.training.forward import DistillationForward, Teacher
from tutelage.training.schedule import Schedule
from tutelage.training.sgd import Sgd
from tutelage.training.state import NotFinite, State, capture, restore
from tutelage.training.step import Step, steps_of


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
    data: BatchLoader,
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

    Errors: :class:`NotFinite` for a loss or gradient that is not a number, before any weight moves by it (a GPU is
    asked only at the next record); ``ValueError`` for an objective that needs a teacher where there is none.
    """
    with DistillationForward(network, objective, normalization, engine, teacher) as lesson:
        yield from _loop(lesson, data, schedule, seed, state, pulse, meter)


def _loop(
    lesson: DistillationForward,
    data: BatchLoader,
    schedule: Schedule,
    seed: int,
    state: State | None,
    pulse: float,
    meter: bool,
) -> Iterator[Record]:
    network, engine, objective = lesson.network, lesson.engine, lesson.objective
    bound = lesson.bind(data, seed)
    optimizer = Sgd(
        [*network.parameters(), *bound.parameters()],
        momentum=schedule.momentum,
        nesterov=schedule.nesterov,
        weight_decay=schedule.weight_decay,
    )
    work = Step(lesson, bound, optimizer)
    step, steps, images = 0, schedule.epochs * len(data), 0
    if state is not None:
        step = state.step
        restore(state, network, bound, optimizer, work.sums)
    epochs = steps_of(work, data, seed)

    def record(metrics: dict[str, float] | None = None) -> Record:
        if not work.finite:
            raise NotFinite(f"the loss or a gradient was not a finite number at or before step {step} of {steps}")
        return Record(
            step=step,
            steps=steps,
            epoch=step // len(data),
            images=images,
            metrics=metrics,
            state=lambda: capture(step, network, bound, optimizer, work.sums),
        )

    due = time.monotonic() + pulse
    network.train()
    for epoch in range(step // len(data), schedule.epochs):
        first = epoch * len(data)
        keys = hash_ints(seed, 2, torch.arange(first, first + len(data))).tolist()
        rates = [schedule.lr * schedule.decay.share(at / steps) for at in range(first, first + len(data))]
        epochs.begin(data.plan(seed, epoch), rates, start=step % len(data))
        for index in range(step % len(data), len(data)):
            engine.seed(keys[index])
            work.where = f"step {step + 1} of {steps}"
            epochs.take(index, step / steps, meter=meter and index == 0)
            step += 1
            images += data.size(index)
            if step % len(data) and time.monotonic() > due:
                yield record()
                network.train()
                due = time.monotonic() + pulse
        metrics = {"epoch": epoch + 1, "lr": rates[-1], **_means(work.sums, objective, len(data.labels), meter)}
        work.sums.zero_()
        yield record(metrics)
        network.train()
        due = time.monotonic() + pulse


def _means(sums: Tensor, objective: Objective, count: int, meter: bool) -> dict[str, float]:
    terms = [term.name for term in objective.terms]
    means = (sums[: len(terms) + 2] / count).tolist()
    found = dict(zip(["accuracy", "loss", *(f"loss/{term}" for term in terms)], means, strict=True))
    if meter:
        shares = sums[-len(terms) :].tolist()
        found |= {f"share/{term}": share for term, share in zip(terms, shares, strict=True)}
    return found
