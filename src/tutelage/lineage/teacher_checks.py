"""Check the teachers of a generation before they teach."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.evaluation import accuracy, at_chance, predict
from tutelage.functional import permutation
from tutelage.lineage.networks import LineageNetworks
from tutelage.teachers import NetworkTeacher, TeacherEnsemble
from tutelage.training import Teacher

IMAGES, _DRAW = 128, 0xD0B7  # how many training images a teacher is tested on, and the key of their draw


def check_teachers(networks: LineageNetworks, place: int, teacher: Teacher | None) -> Iterator[str]:
    """Warn about each teacher whose training accuracy is no better than chance.

    A teacher that was trained here for fewer epochs than its student will be is poor on purpose, and not checked.
    """
    student, train = networks.generation(place), networks.splits.train
    rows = permutation(len(train), _DRAW)[:IMAGES]
    members = teacher.members if isinstance(teacher, TeacherEnsemble) else (teacher,)
    for seat, member in zip(student.teachers, members, strict=False):
        generation = networks.generation(seat)
        if generation.weights is None and generation.schedule.epochs < student.schedule.epochs:
            continue
        assert isinstance(member, NetworkTeacher)
        logits = predict(member.network, train.images[rows], member.normalization, networks.engine, batch_size=32)
        labels = train.labels[rows]
        if at_chance(logits, labels):
            right = f"{accuracy(logits, labels) * len(rows):.0f} of {len(rows)}"
            cause = "it may have learned nothing"
            if generation.weights is not None:
                cause = (
                    f"{generation.weights} may have been trained on other classes, on another order of them, or on "
                    "images prepared in another way"
                )
            at = f"is at chance ({right} training images right)"
            yield f"{generation.name} teaches {student.name}, and {at}: {cause}"
