"""The teacher of a generation, with its logits kept on disk where that is wanted and pays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tutelage.data import BatchLoader
from tutelage.lineage.addresses import generation_seed
from tutelage.lineage.networks import LineageNetworks
from tutelage.lineage.options import TeacherStore
from tutelage.lineage.teacher_checks import check_teachers
from tutelage.teachers.cached import CachedTeacher, ViewSeed, exact_dtype, is_worth_caching, rows_needed
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import Teacher


@contextlib.contextmanager
def cached_teacher(
    networks: LineageNetworks,
    place: int,
    data: BatchLoader,
    root: Path,
    store: TeacherStore,
    warn: Callable[[str], object],
) -> Iterator[Teacher | None]:
    """The teacher of a generation, its logits read from ``root`` and stored there.

    They are the bits of an online teacher as far as its answers for an image do not depend on the rest of a batch
    (decision 0005).
    """
    teacher, generation = networks.teacher(place), networks.generation(place)
    for warning in check_teachers(networks, place, teacher):
        warn(warning)
    info, views = networks.splits.info, networks.lineage.views
    # Views that are never seen twice belong to this training run: other arms with its seed and place share them.
    view_seed = None
    if not views.views_repeat:
        view_seed = ViewSeed(generation_seed(networks.seed, place), generation.schedule.epochs)
    size = rows_needed(data, view_seed)
    bytes_needed = 4 * size * info.num_classes
    if (
        teacher is None
        or generation.objective.teacher_layers  # features are not stored
        or store == "off"
        or (store == "auto" and not is_worth_caching(_passes(networks, place), views.count, bytes_needed, root))
    ):
        yield teacher
        return
    content = {
        "teachers": [networks.models[seat].address for seat in generation.teachers],
        "weights": [networks.models[seat].weights_digest() for seat in generation.teachers],
        "shares": generation.teacher_shares,
        "networks": [networks.generation(seat).model for seat in generation.teachers],
        "normalizations": [networks.normalization(seat) for seat in generation.teachers],
        "data": networks.splits.fingerprint,
        "class_names": info.class_names,
        "views": views,
        "precision": networks.engine.precision,
        "arithmetic": [torch.__version__, networks.engine.device.type, torch.backends.cpu.get_cpu_capability()],
    }
    if view_seed is not None:
        content["view_seed"] = view_seed.seed
    dtype = exact_dtype(teacher(next(data.batches(0, 0))).logits)
    try:
        logits = LogitStore(root, content, size=size, num_classes=info.num_classes, dtype=dtype, warn=warn)
    except OSError as error:
        warn(f"the teacher's logits are not stored: {error}")
        yield teacher
        return
    with logits:
        yield CachedTeacher(teacher, data, logits, view_seed=view_seed)


def _passes(networks: LineageNetworks, place: int) -> int:
    """How often the students of one teacher look at the training set, those that need its features aside."""
    teaching = networks.generation(place).teachers, networks.generation(place).teacher_shares
    students = [one for one in networks.lineage.generations if (one.teachers, one.teacher_shares) == teaching]
    return sum(student.schedule.epochs for student in students if not student.objective.teacher_layers)
