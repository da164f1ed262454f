"""Print what a lineage would train."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.analysis.explanation import Explanation, GenerationExplanation
from tutelage.errors import printable
from tutelage.objective import number
from tutelage.report.format import duration


def explanation_text(explanation: Explanation) -> str:
    """The generations of a lineage: who teaches whom, each objective with its numbers, expected scores and cost."""
    info = explanation.info
    generations = _count(len(explanation.generations), "generation")
    views, augmentation = _count(explanation.views, "view"), explanation.augmentation
    images = f"{info.train_size:,} training images of {info.channels}x{info.height}x{info.width}"
    sizes = f"{info.test_size:,} test images"
    if info.holdout_size:
        sizes += f", {_count(info.holdout_size, 'validation image')}"
    lines = [
        f"{explanation.lineage}: {generations} on {printable(explanation.data)}",
        f"{images} in {info.num_classes} classes, {sizes}; {views} of each training image: {augmentation}",
        *map(printable, info.notes),
    ]
    for place, generation in enumerate(explanation.generations):
        lines += ["", *_generation(place, generation)]
    total = f"{_petaflops(explanation.work)} per seed in total"
    if explanation.seconds is not None:
        total += f", about {duration(explanation.seconds)} at the pace of a few steps on this machine"
    return "\n".join([*lines, "", total])


def _generation(place: int, generation: GenerationExplanation) -> list[str]:
    schedule = generation.schedule
    teachers = f", taught by {' and '.join(generation.teachers)}" if generation.teachers else ""
    shares = generation.gradient_shares
    expected = "no closed form" if generation.expected is None else number(generation.expected)
    length = f"{_count(schedule.epochs, 'epoch')}, {schedule.batch_size} images per step"
    rate = f"learning rate {schedule.lr:g} ({type(schedule.decay).__name__})"
    decay = f"weight decay {schedule.weight_decay:g}"
    momentum = f"momentum {schedule.momentum:g}{' (Nesterov)' if schedule.nesterov else ''}"
    network = f"{generation.network}, {generation.cost.parameters:,} parameters"
    if generation.side is not None:
        network += f", shown {generation.side} x {generation.side} pixels"
    if generation.weights is not None:
        return [
            f"{place}. {generation.name}: {network}",
            f"   is not trained: its weights are {printable(generation.weights)}{_time(generation)}",
        ]
    return [
        f"{place}. {generation.name}: {network}{teachers}",
        f"   minimises {generation.objective}",
        *(f"   {note}" for note in generation.notes),
        *(f"   eta = {number(eta)}, k = {k}" for eta, k in generation.tolerance),
        *([f"   gradient on the first batch: {_percentages(shares)}"] if shares else []),
        f"   expected score of the labelled class {expected}",
        f"   {length}, {_count(generation.steps, 'step')}, {rate}, {momentum}, {decay}",
        f"   {_petaflops(generation.work)}{_time(generation)}",
    ]


def _time(generation: GenerationExplanation) -> str:
    if generation.pace is None or generation.seconds is None:
        return ""
    step = "" if generation.weights is not None else f": {duration(generation.pace.step)} a step"
    return f", about {duration(generation.seconds)}{step}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _petaflops(work: float) -> str:
    return f"{work / 1e15:.3g} PFLOP"


def _percentages(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
