"""How long training takes on this machine, from a few steps of each generation."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from dataclasses import dataclass

import torch

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
    """Seconds of one step of training, and of evaluating one image."""

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
        keys.append((generation.model, teachers, generation.objective, generation.schedule.batch_size))
        if keys[-1] not in paces:
            paces[keys[-1]] = _pace(networks, place)
    return [paces[key] for key in keys]


def _pace(networks: LineageNetworks, place: int) -> Pace:
    generation, train, engine = networks.generation(place), networks.splits.train, networks.engine
    normalization, network = networks.normalization(place), networks.build(place)
    records = fit(
        network,
        BatchLoader(train, networks.lineage.views, generation.schedule.batch_size, engine.device),
        generation.objective,
        generation.schedule,
        normalization=normalization,
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
    few = train.subset(torch.arange(min(IMAGES, len(train)))).images
    start = time.monotonic()
    predict(network, few, normalization, engine)
    return Pace(step=statistics.median(steps[1:] or steps), image=(time.monotonic() - start) / len(few))
