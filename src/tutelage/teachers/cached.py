"""A teacher that is asked only once: what it says of a view of an image is kept, and read from then on."""

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

__all__ = ["CachedTeacher", "ViewSeed", "exact_dtype", "pays", "rows_needed"]

LEAST_ASKED = 32
"""In smaller batches some networks answer differently in the last bit (docs/decisions/0005)."""


class ViewSeed(NamedTuple):
    """Who drew views that are not seen again: the seed of a training, and how many epochs it has."""

    seed: int
    epochs: int


def rows_needed(data: BatchLoader, drawn: ViewSeed | None = None) -> int:
    """How many rows a store has for a training set: one a view of an image, or one an image and epoch."""
    assert data.views.each_seen_again == (drawn is None)
    return len(data.images) * (data.views.count if drawn is None else drawn.epochs)


class CachedTeacher:
    """A teacher's logits out of a store; the teacher itself is asked for the rows that are missing, and only those.

    The key of a row is ``row of the training set * number of views + view`` where views are seen again; else it is
    ``epoch * number of images + row``, and the store is for the views that one seed draws (``drawn``: that seed and
    the number of epochs). The answers do not depend on what the store already holds, as far as the teacher's answer
    for a view does not depend on the rest of its batch: rows that have just been computed come back as they will be
    read later. Features are not stored.

    With ``ahead``, the default on a GPU, an epoch's answers are brought to the device by :meth:`begin`.
    On opening, ``spot_checks`` random stored rows are compared with the living teacher.

    Errors: ``ValueError`` for a store of another size, and for one that does not say what the teacher says.
    """

    def __init__(
        self,
        teacher: Callable[[Batch], Prediction],
        data: BatchLoader,
        store: LogitStore,
        *,
        spot_checks: int = LEAST_ASKED,
        ahead: bool | None = None,
        drawn: ViewSeed | None = None,
    ) -> None:
        ahead = data.labels.device.type != "cpu" if ahead is None else ahead
        self.teacher, self.store, self.data, self.drawn, self.epoch = teacher, store, data, drawn, 0
        if store.size != rows_needed(data, drawn):
            each = f"{data.views.count} views" if drawn is None else f"{drawn.epochs} epochs"
            raise ValueError(f"{len(data.images)} images in {each} do not fit a store of {store.size} rows")
        self._check(spot_checks)
        # On a GPU an epoch's answers come before the epoch: a step that asks the host could not be recorded.
        self.told = torch.zeros((len(data.images), store.num_classes), device=data.labels.device) if ahead else None

    def begin(self, plan: Plan) -> None:
        """Bring an epoch's answers to the device, where no step of it shall wait for the host."""
        self.epoch = plan.epoch
        if self.told is None:
            return
        for start in range(0, len(plan.rows), self.data.batch_size):
            rows, views, keys = plan.part(start, self.data.batch_size)
            answers = self._answers(rows, views, partial(self.data.batch, rows, views, keys))
            self.told[rows] = answers.to(self.told.device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``; no features."""
        if self.told is not None:
            return Prediction(self.told[batch.rows], {})
        return Prediction(self._answers(batch.rows, batch.views, lambda: batch).to(batch.pixels.device), {})

    def _filed(self, rows: Tensor, views: Tensor) -> Tensor:
        """Under which keys the answers for views of rows are kept."""
        if self.drawn is None:
            return (rows * self.data.views.count + views).cpu()
        if not torch.equal(views, self.data.views.draw(self.drawn.seed, self.epoch, self.data.ids[rows])):
            raise ValueError(f"these are not the views of epoch {self.epoch}: tell this teacher of each with begin")
        return (self.epoch * len(self.data.images) + rows).cpu()

    def _found(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and views of keys."""
        keys = keys.to(self.data.labels.device)
        if self.drawn is None:
            return keys // self.data.views.count, keys % self.data.views.count
        rows, seed = keys % len(self.data.images), self.drawn.seed
        pairs = zip((keys // len(self.data.images)).tolist(), self.data.ids[rows].split(1), strict=True)
        return rows, torch.cat([self.data.views.draw(seed, epoch, sample) for epoch, sample in pairs])

    @torch.no_grad()
    def _answers(self, rows: Tensor, views: Tensor, cut: Callable[[], Batch]) -> Tensor:
        keys = self._filed(rows, views)
        logits, known = self.store.read(keys)
        if not known.all():
            # Enough rows at once, the missing ones first.
            asked = known.int().argsort(stable=True)[: max(int((~known).sum()), LEAST_ASKED)]
            batch = cut()
            answer = self.teacher(batch if len(asked) == len(known) else _part(batch, asked)).logits.float().cpu()
            if len(asked) == len(known):
                asked = torch.arange(len(known))
            missing = ~known[asked]
            logits[asked[missing]] = self.store.write(keys[asked[missing]], answer[missing])
        return logits

    def _check(self, count: int) -> None:
        known = self.store.keys
        if count == 0 or len(known) == 0:
            return
        chance = torch.Generator()  # other rows each time, and no draw taken from the training's own
        chance.seed()
        keys = known[torch.randint(len(known), (max(count, LEAST_ASKED),), generator=chance)]
        stored, _ = self.store.read(keys)
        rows, views = self._found(keys)
        told = self.teacher(self.data.batch(rows, views, torch.zeros_like(rows))).logits.float().cpu()
        # Teachers that compute in bfloat16 may differ by some of its last bits from machine to machine.
        share = 2.0**-5 if exact_dtype(told) is torch.bfloat16 else 2.0**-10
        apart = (stored - told).abs().amax(1) / told.abs().amax(1).clamp_min(1e-6)
        if not bool((apart <= share).all()):
            worst = int(apart.nan_to_num(torch.inf).argmax())
            where = f"image {int(rows[worst])} in view {int(views[worst])}"
            raise ValueError(
                f"the stored logits in {self.store.folder} are not this teacher's: for {where} they differ by "
                f"{float(apart[worst]):.2g} of the largest, {share:.2g} is allowed. Delete that folder"
            )


def _part(batch: Batch, which: Tensor) -> Batch:
    which = which.to(batch.rows.device)
    return Batch(
        pixels=batch.pixels[which].contiguous(memory_format=torch.channels_last),
        labels=batch.labels[which],
        ids=batch.ids[which],
        keys=batch.keys[which],
        rows=batch.rows[which],
        views=batch.views[which],
    )


def exact_dtype(logits: Tensor) -> torch.dtype:
    """The smallest type that keeps these logits bit for bit: bfloat16 for networks that compute in it, else float32.

    >>> exact_dtype(torch.tensor([0.5, 3.0])), exact_dtype(torch.tensor([0.1]))
    (torch.bfloat16, torch.float32)
    """
    return torch.bfloat16 if torch.equal(logits.bfloat16().float(), logits) else torch.float32


def pays(passes: int, views: int, bytes_needed: int, folder: Path) -> bool:
    """Whether a store is worth its disk: enough passes over the training set by one teacher's pupils, enough room.

    Formula: ``passes >= 0.3 views`` and free bytes ``>= 2 bytes_needed``. Of ``E`` passes with ``V`` views a share
    ``V (1 - (1 - 1/V)^E) / E`` is new; at ``E = 0.3 V`` that is 86 %, at ``E = V`` 63 %.

    Units: ``passes`` epochs of all pupils together; ``bytes_needed`` by the full store.

    >>> pays(164, 162, 1000, Path(".")), pays(10, 162, 1000, Path(".")), pays(164, 162, 10**18, Path("."))
    (True, False, False)
    """
    if passes < 0.3 * views:
        return False
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free >= 2 * bytes_needed
