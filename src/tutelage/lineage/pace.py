"""How long training takes on this machine, from a few steps of each generation."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn

from tutelage.data import BatchLoader
from tutelage.evaluation import predict
from tutelage.lineage.addresses import generation_seed
from tutelage.lineage.networks import LineageNetworks
from tutelage.training import fit

STEPS = 5
"""Steps that are measured, after a first one that is not: libraries prepare kernels in it. Fewer where they last."""
LONGEST = 10.0
"""Seconds after which no further step is begun, once one was measured."""
IMAGES = 64
"""Images that are evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of one step of training, 0 for a network that is not trained, and of evaluating one image."""

    step: float
    image: float


def measured_paces(networks: LineageNetworks) -> list[Pace]:
    """Measure the pace of every generation; those that differ in nothing that costs time are measured once.

    Teachers that are not trained yet teach as they are.

    Errors: those of :func:`tutelage.training.fit`.
    """
    lineage, paces = networks.lineage, dict[object, Pace]()
    keys = []
    for place, generation in enumerate(lineage.generations):
        teachers = tuple(lineage.generations[teacher].model for teacher in generation.teachers)
        keys.append(
            (generation.model, generation.weights, teachers, generation.objective, generation.schedule.batch_size)
        )
        if keys[-1] not in paces:
            paces[keys[-1]] = _pace(networks, place)
    return [paces[key] for key in keys]


def _pace(networks: LineageNetworks, place: int) -> Pace:
    train, network = networks.splits.train, networks.build(place)
    step = _step(networks, place, network) if networks.generation(place).weights is None else 0.0
    few = train.subset(torch.arange(min(IMAGES, len(train)))).images
    start = time.monotonic()
    predict(network, few, networks.normalization(place), networks.engine)
    return Pace(step=step, image=(time.monotonic() - start) / len(few))


def _step(networks: LineageNetworks, place: int, network: nn.Module) -> float:
    generation, engine = networks.generation(place), networks.engine
    records = fit(
        network,
        BatchLoader(networks.splits.train, networks.lineage.views, generation.schedule.batch_size, engine.device),
        generation.objective,
        generation.schedule,
        normalization=networks.normalization(place),
        seed=generation_seed(networks.seed, place),
        engine=engine,
        teacher=networks.teacher(place, untrained=True),
        pulse=0.0,  # a record after every step
    )
    times = [time.monotonic()]
    with contextlib.closing(records):
        for _ in records:
            times.append(time.monotonic())
            if len(times) > 1 + STEPS or (len(times) > 2 and times[-1] - times[0] > LONGEST):
                break
    steps = [after - before for before, after in itertools.pairwise(times)]
    return statistics.median(steps[1:] or steps)
