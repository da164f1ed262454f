"""What a recipe would do, without doing it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from tutelage.data import DatasetInfo
from tutelage.errors import printable
from tutelage.lineage import Lineage, expected_scores
from tutelage.models.build import build
from tutelage.objective import number


def explanation(lineage: Lineage, facts: DatasetInfo, shares: Sequence[dict[str, float]] = ()) -> str:
    """The generations of a lineage: who teaches whom, each objective with its numbers, expected scores and cost.

    ``shares`` are those of ``LineageNetworks.first_shares``, one a generation, where they were measured.
    """
    images = facts.train_size
    scores = expected_scores(lineage, facts.num_classes)
    count = len(lineage.generations)
    shape = f"{facts.channels}x{facts.height}x{facts.width}"
    sizes = f"{images:,} training images of {shape} in {facts.num_classes} classes, {facts.test_size:,} test images"
    lines = [
        f"{lineage.name}: {count} generation{'s' if count > 1 else ''} on {printable(lineage.data.name)}",
        f"{sizes}; {lineage.views.count} views of each training image",
    ]
    costs = {name: _cost(name, facts) for name in dict.fromkeys(g.model for g in lineage.generations)}
    total = 0.0
    for place, generation in enumerate(lineage.generations):
        schedule = generation.schedule
        teachers = [lineage.generations[teacher].name for teacher in generation.teachers]
        parameters, forward = costs[generation.model]
        # A step is a forward pass and a backward of twice its cost; each teacher adds its forward pass.
        asked = sum(costs[lineage.generations[teacher].model][1] for teacher in generation.teachers)
        work = (3 * forward + asked) * images * schedule.epochs
        total += work
        steps = -(-images // schedule.batch_size) * schedule.epochs
        expected = scores[place]
        score = "no closed form" if expected is None else number(expected)
        pace = f"learning rate {schedule.lr:g} by {type(schedule.decay).__name__}"
        momentum = f"momentum {schedule.momentum:g}{' (Nesterov)' if schedule.nesterov else ''}"
        taught = f", taught by {' and '.join(teachers)}" if teachers else ""
        length = f"{schedule.epochs} epochs, {schedule.batch_size} images a step, {steps:,} steps"
        lines += [
            "",
            f"{place}. {generation.name}: {generation.model}, {parameters:,} parameters{taught}",
            f"   minimises {generation.objective}",
            *_notes(lineage, place),
            *([f"   gradient on the first batch: {_percent(shares[place])}"] if shares else []),
            f"   expected score of the labelled class {score}",
            f"   {length}, {pace}, {momentum}, weight decay {schedule.weight_decay:g}",
            f"   {work / 1e15:.3g} PFLOP",
        ]
    lines += ["", f"in all {total / 1e15:.3g} PFLOP a seed"]
    return "\n".join(lines)


def _notes(lineage: Lineage, place: int) -> list[str]:
    from tutelage.objective import ScoreDifference

    terms = lineage.generations[place].objective.terms
    return [f"   eta = {number(term.weight)}, k = {term.k}" for term in terms if isinstance(term, ScoreDifference)]


def _cost(name: str, facts: DatasetInfo) -> tuple[int, float]:
    """Parameters, and floating-point operations of one image's forward pass (a multiply-add counts two)."""
    with torch.device("meta"):
        network = build(name, facts.num_classes, facts.channels).eval()
        image = torch.zeros(1, facts.channels, facts.height, facts.width)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(image)
    return sum(p.numel() for p in network.parameters()), float(counter.get_total_flops())


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
