"""Who sits where: the networks of a lineage, built, and the teachers that trained ones make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tutelage.data import Epochs, Normalization, Splits
from tutelage.engine import Engine
from tutelage.lineage.model import Model
from tutelage.lineage.values import Lineage, generation_seed
from tutelage.models.build import build
from tutelage.models.external import expectation
from tutelage.teachers import Committee, NetworkTeacher
from tutelage.training import Lesson, Teacher, gradient_shares


@dataclass(frozen=True, slots=True, eq=False)
class Classroom:
    """A lineage at one seed, with its data and machine; a generation is named by its place."""

    lineage: Lineage
    models: Sequence[Model]
    seed: int
    splits: Splits
    engine: Engine

    def normalization(self, place: int) -> Normalization:
        """What the network expects, where another library says so; else what the training images measure."""
        wanted = expectation(self.lineage.generations[place].model)
        if wanted is None:
            return Normalization.of(self.splits.train.images)
        return Normalization(wanted.mean, wanted.std, wanted.size)

    def network(self, place: int) -> nn.Module:
        """The network as it is before training: a function of the seed and the place."""
        facts = self.splits.facts
        seed = generation_seed(self.seed, place)
        return build(self.lineage.generations[place].model, facts.num_classes, facts.channels, seed=seed)

    def teacher(self, place: int, untrained: bool = False) -> Teacher | None:
        """Who teaches a generation; with ``untrained``, also networks that are not trained yet, as they are."""
        generation = self.lineage.generations[place]
        members = []
        for seat in generation.teachers:
            network = self.network(seat)
            if self.models[seat].finished or not untrained:
                network.load_state_dict(self.models[seat].weights())
            layers = generation.objective.teacher_layers
            members.append(NetworkTeacher(network, self.normalization(seat), self.engine, layers))
        if len(members) > 1:
            return Committee(members, generation.teacher_shares)
        return members[0] if members else None

    def first_shares(self, place: int) -> dict[str, float]:
        """Each term's share of the gradient's norm on the first batch, before any step.

        Teachers that are not trained yet answer as they are.
        """
        generation = self.lineage.generations[place]
        network = self.network(place)
        data = Epochs(self.splits.train, self.lineage.views, generation.schedule.batch_size, self.engine.device)
        seed = generation_seed(self.seed, place)
        teacher = self.teacher(place, untrained=True)
        with Lesson(network, generation.objective, self.normalization(place), self.engine, teacher) as lesson:
            bound = lesson.bind(data, seed)
            network.train()
            loss = bound(lesson.signals(next(data.batches(seed, 0)), 0.0))
            shares = gradient_shares(loss, list(network.parameters())).tolist()
        return dict(zip(loss.parts, shares, strict=True))
