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
from tutelage.training.schedule import Schedule

Teacher = Callable[[Batch], Tensor]
"""A frozen function from a batch to logits ``[B, K]``."""


class NotFinite(ArithmeticError):
    """A loss or weight that is not a finite number; the message says where it arose."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """A moment of training, complete: continuing from it gives the same weights, bit for bit, as never stopping.

    ``step`` counts optimizer steps; ``tensors`` holds the network, the momentum and the running sums of the epoch.
    """

    step: int
    tensors: dict[str, Tensor]


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
) -> Iterator[Record]:
    """Train ``network`` in place, from ``state`` on if one is given; all randomness is a function of the seed.

    Errors: :class:`NotFinite` before the optimizer would use a loss that is not a number (on a GPU: before the next
    record); ``ValueError`` for an objective that needs a teacher where there is none.
    """
    if objective.needs_teacher and teacher is None:
        raise ValueError(f"the objective {objective} learns from a teacher, and there is none")
    network = engine.place(network)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.nesterov and schedule.momentum > 0,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    sums = torch.zeros(len(objective.terms) + 2, dtype=torch.float64, device=engine.device)
    step, steps, images = 0, schedule.epochs * len(data), 0
    if state is not None:
        step = state.step
        _restore(state, network, optimizer, sums)
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
            state=lambda: _capture(step, network, optimizer, sums),
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
            with torch.no_grad():
                teacher_logits = None if teacher is None else teacher(batch)
            with engine.autocast():
                logits = network(batch.normalized(normalization))
            signals = Signals(
                student_logits=logits.float(),
                labels=batch.labels,
                teacher_logits=teacher_logits,
                keys=batch.keys,
                progress=progress,
            )
            loss = objective(signals)
            if engine.device.type == "cpu":
                if not math.isfinite(loss.total.item()):
                    raise NotFinite(_diagnosis(loss, signals, batch, step, steps, rate))
            else:  # looking now would stall the device: remembered, and looked at before any record
                finite &= torch.isfinite(loss.total)
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
        metrics = {"epoch": epoch + 1, "lr": rate, **_means(sums, objective, len(data.labels))}
        sums.zero_()
        yield record(metrics)
        network.train()
        due = time.monotonic() + pulse


def _add(sums: Tensor, loss: Loss, signals: Signals) -> None:
    with torch.no_grad():
        count = len(signals.labels)
        correct = (signals.student_logits.argmax(1) == signals.labels).sum()
        sums += torch.stack([correct, loss.total * count, *(part * count for part in loss.parts.values())])


def _means(sums: Tensor, objective: Objective, count: int) -> dict[str, float]:
    names = ["accuracy", "loss", *(f"loss/{term.name}" for term in objective.terms)]
    return dict(zip(names, (sums / count).tolist(), strict=True))


def _momentum_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"momentum/{name}": buffer
        for name, parameter in network.named_parameters()
        if (buffer := optimizer.state[parameter].get("momentum_buffer")) is not None
    }


def _capture(step: int, network: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor) -> State:
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    tensors |= _momentum_of(network, optimizer)
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise NotFinite(f"after step {step}, {bad[0]} holds values that are not finite numbers; nothing was saved")
    tensors["sums"] = sums
    return State(step=step, tensors={name: value.detach().clone() for name, value in tensors.items()})


def _restore(state: State, network: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor) -> None:
    network.load_state_dict(
        {n.removeprefix("network/"): v for n, v in state.tensors.items() if n.startswith("network/")}
    )
    for name, parameter in network.named_parameters():
        buffer = state.tensors.get(f"momentum/{name}")
        if buffer is not None:
            optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer)
    sums.copy_(state.tensors["sums"])


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
