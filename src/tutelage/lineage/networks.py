"""Who sits where: the networks of a lineage, built, and the teachers that trained ones make."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import described, fitting
from tutelage.data import BatchLoader, Normalization, Splits
from tutelage.engine import Engine
from tutelage.evaluation import accuracy, at_chance, predict
from tutelage.functional import permutation
from tutelage.lineage.spec import Lineage, generation_seed
from tutelage.models.build import build, check
from tutelage.models.external import expectation
from tutelage.models.weights import WrongClasses, fit_weights, read_weights
from tutelage.teachers import NetworkTeacher, TeacherEnsemble
from tutelage.teachers.cached import CachedTeacher, ViewSeed, exact_dtype, pays, rows_needed
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import DistillationForward, Teacher, gradient_shares

_ASKED, _ASKED_KEY = 128, 0xD0B7  # training images that a teacher is tried on before it teaches, and their draw

TeacherStore = Literal["off", "on", "auto"]
"""Whether a teacher's logits are kept and read again; ``auto``: where its pupils look at enough views twice."""


@dataclass(frozen=True, slots=True, eq=False)
class LineageNetworks:
    """A lineage at one seed, with its data and machine; a generation is named by its place."""

    lineage: Lineage
    models: Sequence[Model]
    seed: int
    splits: Splits
    engine: Engine

    def normalization(self, place: int) -> Normalization:
        """What the network learned with, where that is known; else what the training images measure.

        Known it is of another library's networks, and of weights given as the folder of one of our models or as a
        file that was exported from one; their images also have the size that it learned with.

        Errors: ``ValueError`` for images that a given network does not take.
        """
        generation = self.lineage.generations[place]
        wanted = expectation(generation.model, self.splits.facts.channels)
        if wanted is not None:
            return Normalization(wanted.mean, wanted.std, wanted.size)
        given = described(generation.weights)
        if given is not None:
            return fitting(given, str(generation.weights), self.splits.facts)
        return Normalization.of(self.splits.train.images)

    def _check_classes(self, place: int) -> None:
        """Make sure that a given network knows these classes in this order, as far as it says which it knows."""
        generation = self.lineage.generations[place]
        wanted = expectation(generation.model, self.splits.facts.channels)
        given = described(generation.weights)
        known = given.class_names if given is not None else wanted.class_names if wanted else ()
        ours = self.splits.facts.class_names
        if known and known != ours:
            pairs = enumerate(zip(known, ours, strict=False))
            differ = [f"{k}: {one!r}, not {other!r}" for k, (one, other) in pairs if one != other]
            reason = "the same in another order" if sorted(known) == sorted(ours) else "others than the data's"
            raise ValueError(
                f"the {len(known)} classes of {generation.weights or generation.model} are {reason} "
                f"({', '.join(differ[:3]) or f'the data has {len(ours)}'})"
            )

    def network(self, place: int) -> nn.Module:
        """The network as it is before training: a function of the seed and the place, or with its given weights.

        Errors: ``ValueError`` for weights that are not the network's.
        """
        facts, generation = self.splits.facts, self.lineage.generations[place]
        seed = generation_seed(self.seed, place)
        network = build(generation.model, facts.num_classes, facts.channels, seed=seed)
        if generation.weights is not None:
            fit_weights(network, read_weights(Path(generation.weights)), generation.weights)
        return network

    def rehearse(self, pulse: Callable[[], None] = lambda: None) -> None:
        """Put a few images through every generation's networks and objective, so that what cannot work fails now.

        ``pulse`` is called before each generation and may raise to stop.

        Errors: ``ValueError`` for a network that does not take the images or does not know the classes, a layer that
        does not exist, features or classes that do not fit the objective.
        """
        few = self.splits.train.subset(torch.arange(min(8, len(self.splits.train))))
        for place, generation in enumerate(self.lineage.generations):
            pulse()
            network = self._fitting_network(place)
            data = BatchLoader(few, self.lineage.views, len(few), self.engine.device)
            try:
                teacher = self.teacher(place, untrained=True)
                with DistillationForward(
                    network, generation.objective, self.normalization(place), self.engine, teacher
                ) as lesson:
                    bound = lesson.bind(data, 0)
                    network.eval()
                    with torch.no_grad():
                        bound(lesson.signals(next(data.batches(0, 0)), 0.0))
            except storage.Damaged:
                continue  # of a teacher: the training that needs it says so, and leaves others of a study running
            except (ValueError, RuntimeError) as error:
                raise ValueError(f"generation {generation.name!r} ({generation.model}): {error}") from error

    def _fitting_network(self, place: int) -> nn.Module:
        """The network of a generation, which takes the images and knows the classes.

        Errors: as :meth:`rehearse`; of a wrong number of classes it is said who in the line has the right one.
        """
        try:
            return self._checked(place)
        except WrongClasses as error:
            fitting = []
            for other, one in enumerate(self.lineage.generations):
                with contextlib.suppress(ValueError):
                    self._checked(other)
                    fitting.append(f"; {one.name}: {self.splits.facts.num_classes} classes")
            raise ValueError(f"{self.lineage.generations[place].name}: {error}{''.join(fitting)}") from None

    def _checked(self, place: int) -> nn.Module:
        facts, generation = self.splits.facts, self.lineage.generations[place]
        size = self.normalization(place).size
        network = self.network(place)
        self._check_classes(place)
        height, width = (facts.height, facts.width) if size is None else (size, size)
        check(network, generation.model, facts.num_classes, (facts.channels, height, width))
        return network

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
            return TeacherEnsemble(members, generation.teacher_shares)
        return members[0] if members else None

    @contextlib.contextmanager
    def asked_once(
        self, place: int, data: BatchLoader, root: Path, store: TeacherStore, warn: Callable[[str], object]
    ) -> Iterator[Teacher | None]:
        """Who teaches a generation, its logits read from ``root`` and kept there; bit for bit what it would say."""
        teacher, generation = self.teacher(place), self.lineage.generations[place]
        for doubt in self._doubts(place, teacher):
            warn(doubt)
        facts, views = self.splits.facts, self.lineage.views
        asked = (generation.teachers, generation.teacher_shares)
        # Views that are not seen again are those of this training: other arms with its seed and place share them.
        own = ViewSeed(generation_seed(self.seed, place), generation.schedule.epochs)
        drawn = None if views.each_seen_again else own
        size = rows_needed(data, drawn)
        pupils = [one for one in self.lineage.generations if (one.teachers, one.teacher_shares) == asked]
        passes = sum(one.schedule.epochs for one in pupils if not one.objective.teacher_layers)
        bytes_needed = 4 * size * facts.num_classes
        wanted = store == "on" or (store == "auto" and pays(passes, views.count, bytes_needed, root))
        if teacher is None or generation.objective.teacher_layers or not wanted:
            yield teacher
            return
        made_of = {
            "teachers": [self.models[seat].address for seat in generation.teachers],
            "weights": [self.models[seat].weights_digest() for seat in generation.teachers],
            "shares": generation.teacher_shares,
            "networks": [self.lineage.generations[seat].model for seat in generation.teachers],
            "normalizations": [self.normalization(seat) for seat in generation.teachers],
            "data": self.splits.fingerprint,
            "class_names": facts.class_names,
            "views": views,
            "precision": self.engine.precision,
            "arithmetic": [torch.__version__, self.engine.device.type, torch.backends.cpu.get_cpu_capability()],
        }
        if drawn is not None:
            made_of["views drawn by the seed"] = drawn.seed
        dtype = exact_dtype(teacher(next(data.batches(0, 0))).logits)
        try:
            opened = LogitStore(root, made_of, size=size, num_classes=facts.num_classes, dtype=dtype, warn=warn)
        except OSError as error:
            warn(f"the teacher's logits are not kept: {error}")
            yield teacher
            return
        with opened:
            yield CachedTeacher(teacher, data, opened, drawn=drawn)

    def _doubts(self, place: int, teacher: Teacher | None) -> Iterator[str]:
        """What speaks against a generation's teachers: right answers on training images that lots would give too.

        A teacher that was trained here for fewer epochs than its pupil will be is poor on purpose.
        """
        pupil, train = self.lineage.generations[place], self.splits.train
        rows = permutation(len(train), _ASKED_KEY)[:_ASKED]
        members = teacher.members if isinstance(teacher, TeacherEnsemble) else (teacher,)
        for seat, member in zip(pupil.teachers, members, strict=False):
            one = self.lineage.generations[seat]
            if one.weights is None and one.schedule.epochs < pupil.schedule.epochs:
                continue
            assert isinstance(member, NetworkTeacher)
            logits = predict(member.network, train.images[rows], member.normalization, self.engine, batch_size=32)
            labels = train.labels[rows]
            if at_chance(logits, labels):
                right = f"{accuracy(logits, labels) * len(rows):.0f} of {len(rows)}"
                why = "its training came to nothing"
                if one.weights is not None:
                    why = f"{one.weights} may know other classes, another order of them, or images prepared otherwise"
                yield f"{one.name} teaches {pupil.name}, and is at chance ({right} training images right): {why}"

    def first_shares(self, place: int) -> dict[str, float]:
        """Each term's share of the gradient's norm on the first batch, before any step.

        Teachers that are not trained yet answer as they are.
        """
        generation = self.lineage.generations[place]
        network = self.network(place)
        data = BatchLoader(self.splits.train, self.lineage.views, generation.schedule.batch_size, self.engine.device)
        seed = generation_seed(self.seed, place)
        teacher = self.teacher(place, untrained=True)
        with DistillationForward(
            network, generation.objective, self.normalization(place), self.engine, teacher
        ) as lesson:
            bound = lesson.bind(data, seed)
            network.train()
            loss = bound(lesson.signals(next(data.batches(seed, 0)), 0.0))
            shares = gradient_shares(loss, list(network.parameters())).tolist()
        return dict(zip(loss.parts, shares, strict=True))
