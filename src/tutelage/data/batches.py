"""Batches: pixels, labels and the normalization a network wants, brought together once a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage import functional
from tutelage.data.augmentation import CropFlip, ImageStore
from tutelage.data.dataset import Dataset

PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Normalization:
    """What a network wants subtracted from and divided out of each channel; pixels count from 0 to 1.

    A network that wants images of one ``size`` gets them resized to ``size x size`` (bilinear, with antialiasing);
    without a ``size`` it gets them as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None

    @classmethod
    def of(cls, images: Tensor) -> Normalization:
        """Measure uint8 images ``[N, C, H, W]``, exactly, from their histograms.

        >>> Normalization.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        Normalization(mean=(0.5,), std=(0.5,), size=None)
        """
        mean, std = [], []
        values = torch.arange(256, dtype=torch.float64) / 255
        for channel in range(images.shape[1]):
            shares = torch.zeros(256, dtype=torch.float64)
            # A part at a time: bincount makes eight bytes of each pixel.
            for part in images[:, channel].split(max(1, PIXELS_AT_ONCE // images[0, 0].numel())):
                shares += torch.bincount(part.flatten(), minlength=256)
            shares /= shares.sum()
            average = (shares * values).sum()
            mean.append(round(average.item(), 6))
            std.append(max(round((shares * (values - average) ** 2).sum().sqrt().item(), 6), 1e-3))
        return cls(tuple(mean), tuple(std))

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalize uint8 pixels ``[B, C, H, W]`` to float32, in the same memory layout.

        >>> pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
        >>> Normalization((0.5,), (0.5,), size=4).apply(pixels)[0, 0, 0].tolist()
        [-1.0, -0.5, 0.5, 1.0]
        """
        values = pixels.float()
        if self.size is not None and tuple(pixels.shape[2:]) != (self.size, self.size):
            values = nn.functional.interpolate(values, (self.size, self.size), mode="bilinear", antialias=True)
        rows = values.permute(0, 2, 3, 1)
        if rows.is_contiguous():  # then whole rows of pixels at once: a loop over three channels is a short one
            shift, scale = _constants(self, values.shape[3], values.device)
            rows.view(-1, len(shift)).sub_(shift).mul_(scale)
            return values
        shift, scale = (each[:, None, None] for each in _constants(self, 1, values.device))
        return values.sub_(shift).mul_(scale)


@lru_cache(maxsize=64)
def _constants(normalization: Normalization, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What is subtracted from a row of ``width`` pixels, channels together, and what it is multiplied by."""
    mean, std = (torch.tensor(each, device=device).repeat(width) for each in (normalization.mean, normalization.std))
    return mean * 255, 1 / (std * 255)


@dataclass(slots=True, kw_only=True, eq=False)
class Batch:
    """One batch of one epoch; student and teacher get the same pixels, each in its own normalization.

    ``rows`` count in the training set, ``views`` are numbers of the views that its images are seen in.

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
        """The pixels as one network wants them, float32 ``[B, C, H, W]``; made once for each normalization."""
        if normalization not in self._inputs:
            self._inputs[normalization] = normalization.apply(self.pixels)
        return self._inputs[normalization]


class Plan(NamedTuple):
    """What an epoch shows, in order: rows of the training set, in which views, under which keys; int64 ``[N]``."""

    epoch: int
    rows: Tensor
    views: Tensor
    keys: Tensor

    def part(self, start: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, views and keys of some of it."""
        which = slice(start, start + count)
        return self.rows[which], self.views[which], self.keys[which]


class BatchLoader:
    """A training set on its device, dealt out in batches; which batch holds what is a function of (seed, epoch)."""

    def __init__(self, dataset: Dataset, views: CropFlip, batch_size: int, device: torch.device) -> None:
        self.images = ImageStore(dataset.images, views, device)
        self.labels = dataset.labels.to(device)
        self.ids = dataset.ids.to(device)
        self.views = views
        self.batch_size = batch_size

    def __len__(self) -> int:
        """The number of batches in an epoch; the last may be smaller."""
        return -(-len(self.labels) // self.batch_size)

    def size(self, index: int) -> int:
        """The number of images in a batch of an epoch."""
        return min(self.batch_size, len(self.labels) - index * self.batch_size)

    def plan(self, seed: int, epoch: int) -> Plan:
        """What an epoch will show: order ``f(seed, epoch)``; views and keys ``f(seed, epoch, sample id)``."""
        rows = functional.permutation(len(self.labels), seed, 0, epoch).to(self.labels.device)
        ids = self.ids[rows]
        return Plan(epoch, rows, self.views.draw(seed, epoch, ids), functional.hash_ints(seed, 1, epoch, ids))

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
        """The batches of one epoch, from batch ``start`` on."""
        plan = self.plan(seed, epoch)
        for begin in range(start * self.batch_size, len(plan.rows), self.batch_size):
            yield self.batch(*plan.part(begin, self.batch_size))
