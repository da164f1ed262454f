"""What a lineage would train, and what that would cost, without training it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode

from tutelage.data import DatasetInfo
from tutelage.lineage import Lineage, Pace, expected_scores
from tutelage.lineage.networks import shown_side
from tutelage.models.build import build
from tutelage.objective import Objective, ScoreDifference
from tutelage.recipes.mixture import mixture_notes
from tutelage.training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """The size of a network: its parameters, and the operations of one image's forward pass.

    Units: ``forward_flops`` in floating-point operations; a multiply-add counts as two.
    """

    parameters: int
    forward_flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationExplanation:
    """One generation: its network, what it minimises, and what training it costs.

    ``objective`` is the formula with its numbers; ``tolerance`` holds ``(eta, k)`` of each score difference in it.
    ``notes`` are sentences on its numbered terms, see :func:`tutelage.recipes.mixture.mixture_notes`.
    ``expected`` is the closed form of the labelled class's score at the optimum, where there is one.
    ``side`` is that of the square images which the network is shown, None where it takes the data's as they are.
    ``gradient_shares`` are each term's share of the gradient on the first batch, empty where they were not measured.

    ``seconds`` is what the training run would take at its ``pace``, both None where that was not measured.
    ``weights`` names the file of a network that is not trained but only measured, else None.

    Units: ``work`` in floating-point operations of the whole training run.
    """

    name: str
    network: str
    cost: NetworkCost
    side: int | None
    teachers: tuple[str, ...]
    objective: str
    notes: tuple[str, ...]
    tolerance: tuple[tuple[float, int], ...]
    expected: float | None
    schedule: Schedule
    steps: int
    work: float
    gradient_shares: Mapping[str, float] = field(default_factory=dict)
    pace: Pace | None = None
    seconds: float | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a lineage would train: on which data, in how many views of each training image, and its generations."""

    lineage: str
    data: str
    info: DatasetInfo
    views: int
    augmentation: str
    generations: tuple[GenerationExplanation, ...]

    @property
    def work(self) -> float:
        """The floating-point operations of all generations at one seed."""
        return sum(generation.work for generation in self.generations)

    @property
    def seconds(self) -> float | None:
        """What training all generations at one seed would take; None where their pace was not measured."""
        seconds = [generation.seconds for generation in self.generations if generation.seconds is not None]
        return sum(seconds) if len(seconds) == len(self.generations) else None


def explain(
    lineage: Lineage,
    info: DatasetInfo,
    shares: Sequence[Mapping[str, float]] = (),
    paces: Sequence[Pace] = (),
) -> Explanation:
    """Explain the generations of a lineage on data like this, from its configuration alone.

    ``shares`` are those of ``lineage.first_gradient_shares``, ``paces`` those of ``lineage.measured_paces``, one per
    generation, where they were measured.

    Formula: a step is a forward pass and a backward pass of twice its cost; each teacher adds its forward pass.
    ``work = (3 * forward + sum of the teachers' forward) * images * epochs``. A run takes its steps and the
    evaluations: of the validation images after every epoch, and of all images at the end.

    >>> from tutelage.recipes import call
    >>> info = DatasetInfo(class_names=("cat", "dog"), channels=1, height=8, width=8, train_size=100, test_size=10,
    ...                    padding=1, flip=True)
    >>> student = explain(call("tolerant", epochs=2, batch_size=30, generations=1), info).generations[1]
    >>> student.teachers, student.steps, student.cost.parameters
    (('patriarch',), 8, 74482)
    """
    sides = [shown_side(lineage, place, info) for place in range(len(lineage.generations))]
    shown = [(one.model, side) for one, side in zip(lineage.generations, sides, strict=True)]
    costs = {each: _cost(*each, info) for each in dict.fromkeys(shown)}
    scores = expected_scores(lineage, info.num_classes)
    generations = []
    for place, generation in enumerate(lineage.generations):
        schedule = generation.schedule
        epochs = schedule.epochs if generation.weights is None else 0
        teachers_flops = sum(costs[shown[teacher]].forward_flops for teacher in generation.teachers)
        per_image = 3 * costs[shown[place]].forward_flops + teachers_flops
        generations.append(
            GenerationExplanation(
                name=generation.name,
                network=generation.model,
                cost=costs[shown[place]],
                side=sides[place],
                teachers=tuple(lineage.generations[teacher].name for teacher in generation.teachers),
                objective=str(generation.objective),
                notes=mixture_notes(generation.objective),
                tolerance=_tolerance(generation.objective),
                expected=scores[place],
                schedule=schedule,
                steps=-(-info.train_size // schedule.batch_size) * epochs,
                work=per_image * info.train_size * epochs,
                gradient_shares=shares[place] if shares else {},
                pace=paces[place] if paces else None,
                seconds=_seconds(paces[place], schedule.batch_size, epochs, info) if paces else None,
                weights=generation.weights,
            )
        )
    return Explanation(
        lineage=lineage.name,
        data=lineage.data.name,
        info=info,
        views=lineage.views.count,
        augmentation=lineage.views.describe(),
        generations=tuple(generations),
    )


def _seconds(pace: Pace, batch_size: int, epochs: int, info: DatasetInfo) -> float:
    steps = -(-info.train_size // batch_size) * epochs
    evaluated = info.train_size + info.test_size + info.holdout_size * (epochs + 1)
    return steps * pace.step + evaluated * pace.image


def _tolerance(objective: Objective) -> tuple[tuple[float, int], ...]:
    return tuple((term.weight, term.k) for term in objective.terms if isinstance(term, ScoreDifference))


def _cost(name: str, side: int | None, info: DatasetInfo) -> NetworkCost:
    with torch.device("meta"):  # shapes alone: no weights are allocated and nothing is computed
        network = build(name, info.num_classes, info.channels).eval()
        image = torch.zeros(1, info.channels, side or info.height, side or info.width)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(image)
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        forward_flops=float(counter.get_total_flops()),
    )
