"""Batches of one epoch: pixels, labels, and the random keys that make each batch a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage import functional
from tutelage.data.augmentation import Views
from tutelage.data.dataset import Dataset
from tutelage.data.file_views import FileViews
from tutelage.data.image_store import ImageStore
from tutelage.data.normalization import Normalization


@dataclass(slots=True, kw_only=True, eq=False)
class Batch:
    """One batch of an epoch; student and teacher see the same pixels, each in its own normalization.

    ``ids`` number the samples in the whole dataset, ``rows`` in the training set; ``views`` are the numbers of the
    augmented views that are shown, and ``keys`` seed whatever else is drawn per sample and epoch.

    Shapes: ``pixels`` uint8 ``[B, C, H, W]``; ``labels``, ``ids``, ``keys``, ``rows`` and ``views`` int64 ``[B]``.
    """

    pixels: Tensor
    labels: Tensor
    ids: Tensor
    keys: Tensor
    rows: Tensor
    views: Tensor
    _inputs: dict[Normalization, Tensor] = field(default_factory=dict)

    def normalized(self, normalization: Normalization) -> Tensor:
        """The network input, float32 ``[B, C, H, W]``; computed once per normalization."""
        if normalization not in self._inputs:
            self._inputs[normalization] = normalization.apply(self.pixels)
        return self._inputs[normalization]


class Plan(NamedTuple):
    """What an epoch shows, in order: rows of the training set, their views and their keys; int64 ``[N]``."""

    epoch: int
    rows: Tensor
    views: Tensor
    keys: Tensor

    def part(self, start: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, views and keys of ``count`` samples from ``start`` on."""
        window = slice(start, start + count)
        return self.rows[window], self.views[window], self.keys[window]


class BatchLoader:
    """A training set, served in batches; the content of a batch is a function of (seed, epoch, index).

    Unlike a ``torch.utils.data.DataLoader`` it owns no order: any batch of any epoch can be computed directly. Where
    images are cut by workers, :meth:`begin` tells these which batches come next.
    """

    def __init__(self, dataset: Dataset, views: Views, batch_size: int, device: torch.device) -> None:
        self.images: ImageStore | FileViews
        if isinstance(dataset.images, Tensor):
            self.images = ImageStore(dataset.images, views, device)
        else:
            self.images = FileViews(dataset.images, views, device, dataset.images.workers)
        self.labels = dataset.labels.to(device)
        self.ids = dataset.ids.to(device)
        self.views = views
        self.batch_size = batch_size

    def __len__(self) -> int:
        """The number of batches per epoch; the last may be smaller."""
        return -(-len(self.labels) // self.batch_size)

    @property
    def on_device(self) -> bool:
        """Whether views are cut on the training device, without the host."""
        return isinstance(self.images, ImageStore)

    def size(self, index: int) -> int:
        """The number of images in the batch at ``index``."""
        return min(self.batch_size, len(self.labels) - index * self.batch_size)

    def plan(self, seed: int, epoch: int) -> Plan:
        """Plan an epoch: the order is a function of (seed, epoch), views and keys of (seed, epoch, sample id)."""
        rows = functional.permutation(len(self.labels), seed, 0, epoch).to(self.labels.device)
        ids = self.ids[rows]
        return Plan(epoch, rows, self.views.draw(seed, epoch, ids), functional.hash_ints(seed, 1, epoch, ids))

    def begin(self, plan: Plan, start: int = 0) -> None:
        """Announce that the batches of a plan come next, from the batch at index ``start`` on."""
        if isinstance(self.images, FileViews):
            firsts = range(start * self.batch_size, len(plan.rows), self.batch_size)
            self.images.begin([plan.part(first, self.batch_size)[:2] for first in firsts])

    def batch(self, rows: Tensor, views: Tensor, keys: Tensor) -> Batch:
        """Cut the given views of the given rows."""
        return Batch(
            pixels=self.images.cut(rows, views),
            labels=self.labels[rows],
            ids=self.ids[rows],
            keys=keys,
            rows=rows,
            views=views,
        )

    def batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of one epoch, from the batch at index ``start`` on."""
        plan = self.plan(seed, epoch)
        self.begin(plan, start)
        for first in range(start * self.batch_size, len(plan.rows), self.batch_size):
            yield self.batch(*plan.part(first, self.batch_size))
