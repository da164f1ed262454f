"""A teacher whose logits are computed once per view, stored, and read from then on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.data.batches import Batch, BatchLoader, Plan
from tutelage.objective import Prediction
from tutelage.teachers.logit_store import LogitStore

__all__ = ["CachedTeacher", "ViewSeed", "exact_dtype", "is_worth_caching", "rows_needed"]

MIN_TEACHER_BATCH = 32
"""In smaller batches the logits of some networks differ in the last bit (docs/decisions/0005)."""


class ViewSeed(NamedTuple):
    """What determines views that do not repeat: the seed of a training run, and its number of epochs."""

    seed: int
    epochs: int


def rows_needed(data: BatchLoader, view_seed: ViewSeed | None = None) -> int:
    """The number of rows in a store for a training set: one per image and view, or one per image and epoch."""
    assert data.views.views_repeat == (view_seed is None)
    return len(data.images) * (data.views.count if view_seed is None else view_seed.epochs)


class CachedTeacher:
    """Reads a teacher's logits from a store; the teacher runs only for the rows that are missing, and fills them in.

    Where views repeat, the key of a row is ``row of the training set * number of views + view``. Otherwise it is
    ``epoch * number of images + row``, and the store is for the views drawn from one seed (``view_seed``). The logits
    do not depend on what the store already contains, as far as the teacher's logits for a view do not depend on the
    rest of its batch: rows that have just been computed are returned as they will be read later. Features are not
    stored.

    With ``prefetch``, the default on a GPU, :meth:`begin` moves the logits of a whole epoch to the device.
    On construction, ``spot_checks`` random stored rows are compared with the teacher.

    Errors: ``ValueError`` for a store of another size, and for one that disagrees with the teacher.
    """

    def __init__(
        self,
        teacher: Callable[[Batch], Prediction],
        data: BatchLoader,
        store: LogitStore,
        *,
        spot_checks: int = MIN_TEACHER_BATCH,
        prefetch: bool | None = None,
        view_seed: ViewSeed | None = None,
    ) -> None:
        self.teacher, self.store, self.data, self.view_seed, self.epoch = teacher, store, data, view_seed, 0
        if store.size != rows_needed(data, view_seed):
            each = f"{data.views.count} views" if view_seed is None else f"{view_seed.epochs} epochs"
            raise ValueError(f"{len(data.images)} images in {each} do not fit a store of {store.size} rows")
        self._spot_check(spot_checks)
        device = data.labels.device
        if prefetch is None:
            prefetch = device.type != "cpu"
        # On a GPU all reads precede the epoch: a step that waits for the host could not be recorded.
        self.epoch_logits = torch.zeros((len(data.images), store.num_classes), device=device) if prefetch else None

    def begin(self, plan: Plan) -> None:
        """Begin an epoch; with ``prefetch``, move its logits to the device, so that no step waits for the host."""
        self.epoch = plan.epoch
        if self.epoch_logits is None:
            return
        for start in range(0, len(plan.rows), self.data.batch_size):
            rows, views, keys = plan.part(start, self.data.batch_size)
            logits = self._logits(rows, views, partial(self.data.batch, rows, views, keys))
            self.epoch_logits[rows] = logits.to(self.epoch_logits.device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``; no features."""
        if self.epoch_logits is not None:
            return Prediction(self.epoch_logits[batch.rows], {})
        return Prediction(self._logits(batch.rows, batch.views, lambda: batch).to(batch.pixels.device), {})

    def _store_keys(self, rows: Tensor, views: Tensor) -> Tensor:
        """The keys under which the logits for these views of these rows are stored."""
        if self.view_seed is None:
            return (rows * self.data.views.count + views).cpu()
        if not torch.equal(views, self.data.views.draw(self.view_seed.seed, self.epoch, self.data.ids[rows])):
            raise ValueError(f"these are not the views of epoch {self.epoch}: call begin before each epoch")
        return (self.epoch * len(self.data.images) + rows).cpu()

    def _rows_and_views(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of :meth:`_store_keys`, for keys of any epoch."""
        keys = keys.to(self.data.labels.device)
        if self.view_seed is None:
            return keys // self.data.views.count, keys % self.data.views.count
        rows, seed = keys % len(self.data.images), self.view_seed.seed
        pairs = zip((keys // len(self.data.images)).tolist(), self.data.ids[rows].split(1), strict=True)
        return rows, torch.cat([self.data.views.draw(seed, epoch, sample) for epoch, sample in pairs])

    @torch.no_grad()
    def _logits(self, rows: Tensor, views: Tensor, make_batch: Callable[[], Batch]) -> Tensor:
        keys = self._store_keys(rows, views)
        logits, is_stored = self.store.read(keys)
        if is_stored.all():
            return logits
        # The missing rows, with stored ones added to make a batch that is large enough.
        count = max(int((~is_stored).sum()), MIN_TEACHER_BATCH)
        computed = is_stored.int().argsort(stable=True)[:count]
        batch = make_batch()
        if len(computed) == len(is_stored):
            computed = torch.arange(len(is_stored))
        else:
            batch = _part(batch, computed)
        answer = self.teacher(batch).logits.float().cpu()
        missing = ~is_stored[computed]
        logits[computed[missing]] = self.store.write(keys[computed[missing]], answer[missing])
        return logits

    def _spot_check(self, count: int) -> None:
        stored_keys = self.store.keys
        if count == 0 or len(stored_keys) == 0:
            return
        generator = torch.Generator()  # other rows each time, without a draw from the training run's generator
        generator.seed()
        chosen = torch.randint(len(stored_keys), (max(count, MIN_TEACHER_BATCH),), generator=generator)
        keys = stored_keys[chosen]
        stored, _ = self.store.read(keys)
        rows, views = self._rows_and_views(keys)
        computed = self.teacher(self.data.batch(rows, views, torch.zeros_like(rows))).logits.float().cpu()
        # Teachers that compute in bfloat16 may differ in some of its last bits between machines.
        tolerance = 2.0**-5 if exact_dtype(computed) is torch.bfloat16 else 2.0**-10
        deviation = (stored - computed).abs().amax(1) / computed.abs().amax(1).clamp_min(1e-6)
        if not bool((deviation <= tolerance).all()):
            worst = int(deviation.nan_to_num(torch.inf).argmax())
            where = f"image {int(rows[worst])} in view {int(views[worst])}"
            raise ValueError(
                f"the stored logits in {self.store.folder} are not this teacher's: for {where} they differ by "
                f"{float(deviation[worst]):.2g} of the largest logit ({tolerance:.2g} is allowed): delete that folder"
            )


def _part(batch: Batch, indices: Tensor) -> Batch:
    indices = indices.to(batch.rows.device)
    return Batch(
        pixels=batch.pixels[indices].contiguous(memory_format=torch.channels_last),
        labels=batch.labels[indices],
        ids=batch.ids[indices],
        keys=batch.keys[indices],
        rows=batch.rows[indices],
        views=batch.views[indices],
    )


def exact_dtype(logits: Tensor) -> torch.dtype:
    """The smallest type that represents these logits bit for bit: bfloat16 if computed in it, else float32.

    >>> exact_dtype(torch.tensor([0.5, 3.0])), exact_dtype(torch.tensor([0.1]))
    (torch.bfloat16, torch.float32)
    """
    return torch.bfloat16 if torch.equal(logits.bfloat16().float(), logits) else torch.float32


def is_worth_caching(passes: int, views: int, bytes_needed: int, folder: Path) -> bool:
    """Whether a store is worth its disk space: the teacher's students make enough passes, and there is enough room.

    Formula: ``passes >= 0.3 views`` and free bytes ``>= 2 bytes_needed``. Of ``E`` passes over ``V`` views a share
    ``V (1 - (1 - 1/V)^E) / E`` is new; at ``E = 0.3 V`` that is 86 %, at ``E = V`` 63 %.

    Units: ``passes`` in epochs of all students together; ``bytes_needed`` for the full store.

    >>> is_worth_caching(164, 162, 1000, Path("."))
    True
    >>> is_worth_caching(10, 162, 1000, Path(".")), is_worth_caching(164, 162, 10**18, Path("."))
    (False, False)
    """
    if passes < 0.3 * views:
        return False
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free >= 2 * bytes_needed
