"""A cached teacher returns the logits of the real one, runs it once per view, and refuses those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import make_splits
from torch import Tensor

from tutelage.data import Batch, BatchLoader, CropFlip, Normalization, Rotated
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation
from tutelage.models.build import build
from tutelage.objective import Prediction
from tutelage.teachers import NetworkTeacher, TeacherEnsemble
from tutelage.teachers.cached import MIN_TEACHER_BATCH, CachedTeacher, ViewSeed, exact_dtype, rows_needed
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import Schedule, Teacher, fit

VIEWS = CropFlip(padding=1)
IMAGES = 80
SCHEDULE = Schedule(epochs=4, batch_size=40, lr=0.05)


class Counted:
    """A teacher that records the rows and views of each batch."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.batches = teacher, []

    def __call__(self, batch: Batch) -> Prediction:
        self.batches.append(list(zip(batch.rows.tolist(), batch.views.tolist(), strict=True)))
        return self.teacher(batch)


def data(batch_size: int = 40) -> BatchLoader:
    return BatchLoader(make_splits(size=IMAGES).train, VIEWS, batch_size, torch.device("cpu"))


def living(seed: int = 0, precision: str = "fp32") -> NetworkTeacher:
    engine = Engine.choose("cpu", precision, 1)
    return NetworkTeacher(build("tests.exact:Exact", 4, 1, seed=seed), Normalization((0.4,), (0.3,)), engine)


def open_store(root: Path, dtype: torch.dtype = torch.float32) -> LogitStore:
    size = IMAGES * VIEWS.count
    return LogitStore(root, {"teacher": 0}, size=size, num_classes=4, dtype=dtype, warn=pytest.fail)


def weights(teacher: Teacher, precision: str = "fp32") -> tuple[list[Tensor], list[float]]:
    network = build("resnet8", 4, 1, seed=9)
    losses = [
        record.metrics["loss"]
        for record in fit(
            network,
            data(),
            distillation(),
            SCHEDULE,
            normalization=Normalization((0.4,), (0.3,)),
            seed=3,
            engine=Engine.choose("cpu", precision, 1),
            teacher=teacher,
        )
        if record.metrics is not None
    ]
    return [value.clone() for value in network.state_dict().values()], losses


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_an_exact_store_trains_the_same_student_bit_for_bit(
    tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    expected, losses = weights(living(precision=precision), precision)
    for filled in (False, True):
        teacher = Counted(living(precision=precision))
        with open_store(tmp_path, dtype) as store:
            stored = CachedTeacher(teacher, data(), store, spot_checks=0)
            trained, trained_losses = weights(stored, precision)
        assert trained_losses == losses
        assert all(torch.equal(one, other) for one, other in zip(trained, expected, strict=True))
        assert bool(teacher.batches) != filled


def test_a_rounding_store_trains_within_its_bound_whether_it_was_filled_or_not(tmp_path: Path) -> None:
    _, losses = weights(living())
    with open_store(tmp_path, torch.float16) as store:
        first, first_losses = weights(CachedTeacher(living(), data(), store))
    with open_store(tmp_path, torch.float16) as store:
        second, second_losses = weights(CachedTeacher(living(), data(), store))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert first_losses == second_losses
    assert first_losses != losses
    assert first_losses == pytest.approx(losses, rel=2e-3)


def test_the_teacher_runs_once_per_view_and_never_on_a_small_batch(tmp_path: Path) -> None:
    teacher, epochs = Counted(living()), data()
    stored = CachedTeacher(teacher, epochs, open_store(tmp_path))
    stored_pairs: set[tuple[int, int]] = set()
    for epoch in range(30):
        for batch in epochs.batches(0, epoch):
            before = len(teacher.batches)
            assert torch.equal(stored(batch).logits, living()(batch).logits)
            pairs = list(zip(batch.rows.tolist(), batch.views.tolist(), strict=True))
            new = set(pairs) - stored_pairs
            assert len(teacher.batches) - before == bool(new)
            if new:
                assert new <= set(teacher.batches[-1])
                assert len(teacher.batches[-1]) == max(len(new), MIN_TEACHER_BATCH)
            stored_pairs |= set(pairs)
    assert len(stored_pairs) > 0.7 * IMAGES * VIEWS.count
    assert len(stored.store.keys) == len(stored_pairs)


def test_an_ensemble_is_cached_too(tmp_path: Path) -> None:
    ensemble, epochs = TeacherEnsemble([living(0), living(1)]), data()
    stored = CachedTeacher(ensemble, epochs, open_store(tmp_path))
    for _ in range(2):
        for batch in epochs.batches(0, 0):
            torch.testing.assert_close(stored(batch).logits, ensemble(batch).logits, rtol=0, atol=0)


@pytest.mark.fault(35)
def test_another_teacher_is_refused_even_under_the_same_description(tmp_path: Path) -> None:
    epochs = data()
    for dtype in (torch.float16, torch.float32):
        with open_store(tmp_path, dtype) as store:
            CachedTeacher(living(0), epochs, store)(next(epochs.batches(0, 0)))
        CachedTeacher(living(0), epochs, open_store(tmp_path, dtype))
        with pytest.raises(ValueError, match=r"are not this teacher's: for image \d+ in view \d+ they differ"):
            CachedTeacher(living(1), epochs, open_store(tmp_path, dtype))


@pytest.mark.fault(35)
def test_other_pixels_are_refused(tmp_path: Path) -> None:
    epochs = data()
    with open_store(tmp_path) as store:
        CachedTeacher(living(0), epochs, store)(next(epochs.batches(0, 0)))
    splits = make_splits(size=IMAGES)
    splits.train.images[:] = 255 - splits.train.images
    negative = BatchLoader(splits.train, VIEWS, 40, torch.device("cpu"))
    with pytest.raises(ValueError, match="are not this teacher's"):
        CachedTeacher(living(0), negative, open_store(tmp_path))


def test_a_spot_check_draws_nothing_from_the_global_generator(tmp_path: Path) -> None:
    epochs = data()
    with open_store(tmp_path) as store:
        CachedTeacher(living(0), epochs, store)(next(epochs.batches(0, 0)))
    before = torch.get_rng_state()
    CachedTeacher(living(0), epochs, open_store(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.fault(35)
def test_a_store_of_another_size(tmp_path: Path) -> None:
    small = LogitStore(tmp_path, {}, size=7, num_classes=4)
    with pytest.raises(ValueError, match="80 images in 18 views do not fit a store of 7 rows"):
        CachedTeacher(living(), data(), small)


def test_a_network_in_bfloat16_is_kept_exactly_in_two_bytes() -> None:
    batch = next(data().batches(0, 0))
    assert exact_dtype(living(precision="bf16")(batch).logits) is torch.bfloat16
    assert exact_dtype(living(precision="fp32")(batch).logits) is torch.float32


ROTATED = Rotated(of=CropFlip(padding=1), degrees=10.0)


def rotated_data() -> BatchLoader:
    return BatchLoader(make_splits(size=IMAGES).train, ROTATED, 40, torch.device("cpu"))


def taught_on_rotated(teacher: Teacher, epochs: BatchLoader, seed: int = 3) -> list[Tensor]:
    network = build("resnet8", 4, 1, seed=9)
    engine = Engine.choose("cpu", "fp32", 1)
    normalization = Normalization((0.4,), (0.3,))
    for _ in fit(
        network,
        epochs,
        distillation(),
        SCHEDULE,
        normalization=normalization,
        seed=seed,
        engine=engine,
        teacher=teacher,
    ):
        pass
    return [value.clone() for value in network.state_dict().values()]


@pytest.mark.parametrize("prefetch", [False, True])
def test_views_that_do_not_repeat_are_stored_by_epoch(tmp_path: Path, prefetch: bool) -> None:
    expected = taught_on_rotated(living(), rotated_data())
    view_seed = ViewSeed(seed=3, epochs=SCHEDULE.epochs)
    for filled in (False, True):
        teacher, epochs = Counted(living()), rotated_data()
        size = rows_needed(epochs, view_seed)
        assert size == IMAGES * SCHEDULE.epochs
        with LogitStore(tmp_path, {"seed": 3}, size=size, num_classes=4, dtype=torch.float32) as store:
            stored = CachedTeacher(teacher, epochs, store, view_seed=view_seed, prefetch=prefetch)
            trained = taught_on_rotated(stored, epochs)
        assert all(torch.equal(one, other) for one, other in zip(trained, expected, strict=True))
        assert len(teacher.batches) == (1 if filled else SCHEDULE.epochs * 2)  # filled: the spot check alone


def test_the_views_of_another_seed_or_epoch_are_refused(tmp_path: Path) -> None:
    epochs, view_seed = rotated_data(), ViewSeed(seed=3, epochs=SCHEDULE.epochs)
    store = LogitStore(tmp_path, {"seed": 3}, size=rows_needed(epochs, view_seed), num_classes=4, dtype=torch.float32)
    with pytest.raises(ValueError, match="not the views of epoch 0"):
        taught_on_rotated(CachedTeacher(living(), epochs, store, view_seed=view_seed), epochs, seed=4)
    stored = CachedTeacher(living(), epochs, store, view_seed=view_seed)
    stored.begin(epochs.plan(3, 1))
    with pytest.raises(ValueError, match="not the views of epoch 1"):
        stored(next(epochs.batches(3, 2)))
