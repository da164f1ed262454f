"""Run a few images through every generation before anything is trained, so that what cannot work fails at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tutelage import storage
from tutelage.data import BatchLoader
from tutelage.errors import memory_advice, memory_fault
from tutelage.lineage.addresses import generation_seed
from tutelage.lineage.networks import LineageNetworks
from tutelage.training import DistillationForward, gradient_shares


def dry_run(networks: LineageNetworks, pulse: Callable[[], None] = lambda: None) -> None:
    """Run a few images through the networks and the objective of every generation; nothing where all are trained.

    ``pulse`` is called before each generation and may raise to stop.

    Errors: ``ValueError`` for a network that does not accept the images or does not predict the classes, a layer that
    does not exist, features or classes that do not fit the objective; ``MemoryError`` where memory runs out.
    """
    if all(model.finished for model in networks.models):
        return
    train = networks.splits.train
    few = train.subset(torch.arange(min(8, len(train))))
    for place, generation in enumerate(networks.lineage.generations):
        pulse()
        network = networks.build_checked(place)
        data = BatchLoader(few, networks.lineage.views, len(few), networks.engine.device)
        try:
            teacher = networks.teacher(place, untrained=True)
            normalization = networks.normalization(place)
            with DistillationForward(
                network, generation.objective, normalization, networks.engine, teacher
            ) as forward:
                bound = forward.bind(data, 0)
                network.eval()
                with torch.no_grad():
                    bound(forward.signals(next(data.batches(0, 0)), 0.0))
        except storage.Damaged:
            continue  # a stored teacher: the training that needs it reports it, and other arms of a study go on
        except (ValueError, RuntimeError) as error:
            if (fault := memory_fault(error)) is not None:
                raise MemoryError(memory_advice(fault)) from error
            raise ValueError(f"generation {generation.name!r} ({generation.model}): {error}") from error
        if not networks.models[place].finished:
            networks.keep(place, network)


def first_gradient_shares(networks: LineageNetworks, place: int) -> dict[str, float]:
    """Each term's share of the gradient norm on the first batch of a generation, before any step.

    Teachers that are not trained yet teach as they are.
    """
    generation, engine = networks.generation(place), networks.engine
    network, teacher = networks.build(place), networks.teacher(place, untrained=True)
    data = BatchLoader(networks.splits.train, networks.lineage.views, generation.schedule.batch_size, engine.device)
    seed = generation_seed(networks.seed, place)
    with DistillationForward(
        network, generation.objective, networks.normalization(place), engine, teacher
    ) as forward:
        bound = forward.bind(data, seed)
        network.train()
        loss = bound(forward.signals(next(data.batches(seed, 0)), 0.0))
        shares = gradient_shares(loss, list(network.parameters())).tolist()
    return dict(zip(loss.parts, shares, strict=True))
