"""Build the networks and teachers of a lineage."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import normalization_for, read_metadata, read_pretrained
from tutelage.data import DatasetInfo, Normalization, Splits
from tutelage.engine import Engine
from tutelage.lineage.addresses import generation_seed
from tutelage.lineage.events import ModelRef
from tutelage.lineage.spec import Generation, Lineage
from tutelage.models.build import build, check, input_size
from tutelage.models.external import expectation
from tutelage.models.weights import WrongClasses, fit_weights
from tutelage.teachers import NetworkTeacher, TeacherEnsemble
from tutelage.training import Teacher


def shown_side(lineage: Lineage, place: int, info: DatasetInfo) -> int | None:
    """The side of the square that a generation's network is shown; None where it takes images as they are.

    Networks of another package, and weights that say so, have a size of their own. Image files are prepared at the
    largest that the lineage needs, and networks for small images are shown them smaller, unless the user named the
    size.
    """
    generation, data = lineage.generations[place], lineage.data
    if (expected := expectation(generation.model, info.channels)) is not None:
        return expected.size
    if (metadata := read_metadata(generation.weights)) is not None:
        return normalization_for(metadata, str(generation.weights), info).size
    size = input_size(generation.model)
    automatic = data.image_size is None and data.network_size is not None
    return size if automatic and size is not None and size < info.height else None


@dataclass(frozen=True, slots=True, eq=False)
class LineageNetworks:
    """The networks and teachers of a lineage at one seed; a generation is named by its place.

    A network that will still teach is kept after it was built or trained, so that it is not built again.
    """

    lineage: Lineage
    models: Sequence[Model]
    seed: int
    splits: Splits
    engine: Engine
    _networks: dict[int, nn.Module] = field(default_factory=dict)

    def generation(self, place: int) -> Generation:
        """The generation at a place."""
        return self.lineage.generations[place]

    def ref(self, place: int) -> ModelRef:
        """The reference to a generation's model that events carry."""
        return ModelRef(
            arm=self.lineage.name,
            seed=self.seed,
            place=place,
            generations=len(self.lineage.generations),
            generation=self.generation(place).name,
            address=self.models[place].address,
        )

    def normalization(self, place: int) -> Normalization:
        """The normalization of a generation's network: the one it was trained with where that is known.

        It is known for networks of another library, and for weights from a model folder or a file that was exported
        from one; their images then have the size that the network was trained on, too. For all others it is measured
        on the training images.

        Errors: ``ValueError`` for images that a pretrained network does not accept.
        """
        generation = self.generation(place)
        expected = expectation(generation.model, self.splits.info.channels)
        if expected is not None:
            return Normalization(expected.mean, expected.std, expected.size)
        metadata = read_metadata(generation.weights)
        if metadata is not None:
            return normalization_for(metadata, str(generation.weights), self.splits.info)
        measured = self.splits.train.normalization
        return replace(measured, size=shown_side(self.lineage, place, self.splits.info))

    def build(self, place: int) -> nn.Module:
        """Build a network as it is before training, a function of seed and place, or with its pretrained weights.

        Errors: ``ValueError`` for weights that are not the network's.
        """
        info, generation = self.splits.info, self.generation(place)
        seed = generation_seed(self.seed, place)
        network = build(generation.model, info.num_classes, info.channels, seed=seed)
        if generation.weights is not None:
            fit_weights(network, read_pretrained(Path(generation.weights)), generation.weights)
        return network

    def build_checked(self, place: int) -> nn.Module:
        """Build a network, and make sure that it accepts the images and predicts the classes of the data.

        Errors: ``ValueError``; for a wrong number of classes it names the generations that have the right one.
        """
        try:
            return self._build_checked(place)
        except WrongClasses as error:
            alternatives = []
            for other, generation in enumerate(self.lineage.generations):
                with contextlib.suppress(ValueError):
                    self._build_checked(other)
                    alternatives.append(f"; {generation.name}: {self.splits.info.num_classes} classes")
            raise ValueError(f"{self.generation(place).name}: {error}{''.join(alternatives)}") from None

    def keep(self, place: int, network: nn.Module) -> None:
        """Keep a network for the generations after it that it teaches; drop those that teach no more."""
        last_student = {
            teacher: student for student, one in enumerate(self.lineage.generations) for teacher in one.teachers
        }
        if place in last_student:
            self._networks[place] = network
        for other in [other for other in self._networks if last_student[other] <= place]:
            del self._networks[other]

    def teacher(self, place: int, untrained: bool = False) -> Teacher | None:
        """The teacher of a generation, None where it has none.

        With ``untrained``, networks that are not trained yet teach as they are.
        """
        generation = self.generation(place)
        members = []
        for teacher in generation.teachers:
            network = self._networks.get(teacher)
            if network is None:
                network = self.build(teacher)
                if self.models[teacher].finished or not untrained:
                    fit_weights(network, self.models[teacher].weights(), str(self.models[teacher].folder))
                self._networks[teacher] = network
            layers = generation.objective.teacher_layers
            members.append(NetworkTeacher(network, self.normalization(teacher), self.engine, layers))
        if len(members) > 1:
            return TeacherEnsemble(members, generation.teacher_shares)
        return members[0] if members else None

    def _build_checked(self, place: int) -> nn.Module:
        info, generation = self.splits.info, self.generation(place)
        size = self.normalization(place).size
        network = self.build(place)
        self._check_classes(place)
        height, width = (info.height, info.width) if size is None else (size, size)
        check(network, generation.model, info.num_classes, (info.channels, height, width))
        return network

    def _check_classes(self, place: int) -> None:
        """Make sure that a pretrained network has these classes in this order, as far as its metadata say."""
        generation = self.generation(place)
        expected = expectation(generation.model, self.splits.info.channels)
        metadata = read_metadata(generation.weights)
        theirs = metadata.class_names if metadata is not None else expected.class_names if expected else ()
        ours = self.splits.info.class_names
        if theirs and theirs != ours:
            pairs = enumerate(zip(theirs, ours, strict=False))
            differ = [f"{k}: {one!r}, not {other!r}" for k, (one, other) in pairs if one != other]
            reason = "the data's in another order" if sorted(theirs) == sorted(ours) else "not those of the data"
            raise ValueError(
                f"the {len(theirs)} classes of {generation.weights or generation.model} are {reason} "
                f"({', '.join(differ[:3]) or f'the data has {len(ours)}'})"
            )
