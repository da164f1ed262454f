"""The training loop. One step passes through these files, in this order:

1. ``data/batches.py`` plans the epoch (rows, views, keys), then cuts and normalizes the images of one batch.
2. ``training/schedule.py`` gives the learning rate; ``training/warm_up.py`` lets another schedule start from zero.
3. ``training/step.py`` runs the step: as it is written or, on CUDA, as a recorded graph that is replayed.
4. ``training/forward.py`` runs teacher and student; what they put out becomes ``objective/signals.py``.
5. ``objective/objective.py`` evaluates the terms and takes the batch mean: the loss and its parts.
6. ``training/step.py`` checks the loss, computes the gradient and adds to the epoch's sums.
7. ``training/sgd.py`` moves the weights, unless a gradient is not finite.
8. ``training/fit.py`` yields a record after each epoch, and now and then within one.
9. ``training/state.py`` copies that moment when the consumer of the record asks for it, for a checkpoint.

Progress bars, logs, checkpoints and trackers consume the records; the loop calls none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.data.batches import BatchLoader
from tutelage.data.normalization import Normalization
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
    """One moment of training: after every epoch, and every ``pulse`` seconds in between.

    ``step`` of ``steps`` optimizer steps are done, ``epoch`` counts whole epochs, ``images`` those trained on since
    the loop was entered. ``metrics`` holds the epoch's mean loss, its parts and the accuracy on the training views;
    None within an epoch. ``state`` copies the moment; call it before asking the loop for the next record.
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
) -> Generator[Record, None, None]:
    """Train ``network`` in place, from ``state`` if there is one; all randomness is a function of the seed.

    With ``meter`` each epoch's metrics also hold every term's share of the gradient norm at the epoch's first step.

    Errors: :class:`NotFinite` for a loss or gradient that is not finite, before any weight changes by it (on a GPU it
    is raised at the next record, as reading the flag would stall every step); ``ValueError`` for an objective that
    needs a teacher where there is none.
    """
    with DistillationForward(network, objective, normalization, engine, teacher) as forward:
        yield from _loop(forward, data, schedule, seed, state, pulse, meter)


def _loop(
    forward: DistillationForward,
    data: BatchLoader,
    schedule: Schedule,
    seed: int,
    state: State | None,
    pulse: float,
    meter: bool,
) -> Iterator[Record]:
    network, engine, objective = forward.network, forward.engine, forward.objective
    bound = forward.bind(data, seed)
    optimizer = Sgd(
        [*network.parameters(), *bound.parameters()],
        momentum=schedule.momentum,
        nesterov=schedule.nesterov,
        weight_decay=schedule.weight_decay,
    )
    training_step = Step(forward, bound, optimizer)
    step, steps, images = 0, schedule.epochs * len(data), 0
    if state is not None:
        step = state.step
        if step > steps:
            raise ValueError(f"{state.source} stands at step {step}, beyond the {steps} of this training run")
        restore(state, network, bound, optimizer, training_step.sums)
    epoch_steps = steps_of(training_step, data, seed)

    def record(metrics: dict[str, float] | None = None) -> Record:
        if not training_step.finite:  # on a GPU the one place where the host waits for the device
            raise NotFinite(f"the loss or a gradient was not a finite number at or before step {step} of {steps}")
        return Record(
            step=step,
            steps=steps,
            epoch=step // len(data),
            images=images,
            metrics=metrics,
            state=lambda: capture(step, network, bound, optimizer, training_step.sums),
        )

    # Whoever consumes a record may evaluate the network, so each yield is followed by network.train().
    due = time.monotonic() + pulse
    network.train()
    for epoch in range(step // len(data), schedule.epochs):
        first = epoch * len(data)
        # One number per step, so that dropout draws the same after a restart. It is stream 2 of the run's seed: data/
        # uses streams 0, 1 and 4, forward.bind stream 3.
        step_seeds = hash_ints(seed, 2, torch.arange(first, first + len(data))).tolist()
        rates = [schedule.lr * schedule.decay.share(at / steps) for at in range(first, first + len(data))]
        epoch_steps.begin(data.plan(seed, epoch), rates, start=step % len(data))
        for index in range(step % len(data), len(data)):
            engine.seed(step_seeds[index])
            training_step.position = f"step {step + 1} of {steps}"
            epoch_steps.run_step(index, step / steps, meter=meter and index == 0)
            step += 1
            images += data.size(index)
            if step % len(data) and time.monotonic() > due:
                yield record()
                network.train()
                due = time.monotonic() + pulse
        metrics = {
            "epoch": epoch + 1,
            "lr": rates[-1],
            **_means(training_step.sums, objective, len(data.labels), meter),
        }
        training_step.sums.zero_()
        yield record(metrics)
        network.train()
        due = time.monotonic() + pulse


def _means(sums: Tensor, objective: Objective, count: int, meter: bool) -> dict[str, float]:
    """An epoch's metrics by name, from the sums that :class:`Step` describes."""
    terms = [term.name for term in objective.terms]
    means = (sums[: len(terms) + 2] / count).tolist()
    metrics = dict(zip(["accuracy", "loss", *(f"loss/{term}" for term in terms)], means, strict=True))
    if meter:
        shares = sums[-len(terms) :].tolist()
        metrics |= {f"share/{term}": share for term, share in zip(terms, shares, strict=True)}
    return metrics
