"""The loops that several benchmarks compare: the library's own, one step at a time, and a bare one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from tutelage.data import BatchLoader, Normalization
from tutelage.engine import Engine
from tutelage.models.build import build
from tutelage.objective import Objective
from tutelage.training import Schedule, Teacher, fit

CLASSES = 100
NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
Block = Callable[[], None]


def library(
    engine: Engine, data: BatchLoader, objective: Objective, teacher: Teacher | None = None, steps: int = 5
) -> Block:
    """A block of steps of the library training ResNet-20, views and metrics included."""
    records = fit(
        build("resnet20", CLASSES, 3, seed=0),
        data,
        objective,
        Schedule(epochs=100_000, batch_size=data.batch_size),
        normalization=NORMALIZATION,
        seed=0,
        engine=engine,
        teacher=teacher,
        pulse=0.0,  # a record after every step
    )

    def block() -> None:
        for _ in range(steps):
            next(records)

    return block


def bare(engine: Engine, batch: int, steps: int, holdout: int = 0, teacher: nn.Module | None = None) -> Block:
    """A block of steps of ResNet-20 on one batch in memory, followed by a forward pass over ``holdout`` images.

    Each step is forward, loss, backward and optimizer with the library's settings, and the forward pass of a
    ``teacher`` if there is one.
    """
    network = engine.place(build("resnet20", CLASSES, 3, seed=0))
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True
    )
    images = torch.randn(batch, 3, 32, 32).to(engine.device, memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,), device=engine.device)
    measured = torch.randn(holdout // 2, 3, 32, 32).to(engine.device, memory_format=torch.channels_last)

    def block() -> None:
        network.train()
        for _ in range(steps):
            with engine.autocast():
                if teacher is not None:
                    with torch.no_grad():
                        teacher(images)
                logits = network(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if holdout:
            network.eval()
            with torch.no_grad(), engine.autocast():
                for _ in range(2):
                    network(measured)

    return block


@contextlib.contextmanager
def on(threads: int) -> Iterator[None]:
    """Set the number of threads while the body runs.

    The goals were derived from measurements on one thread, which is what each seed of a study gets.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def counted(threads: int) -> str:
    """The number of threads in words."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


def rate(block_seconds: list[float], images: int) -> str:
    """The median speed of a block that processes so many images."""
    middle = sorted(block_seconds)[len(block_seconds) // 2]
    return f"{images / middle:.0f} images/s"
