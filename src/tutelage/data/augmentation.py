"""Augmentations whose views are numbered, so that a teacher's logits can be stored by view number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from tutelage import functional


@runtime_checkable
class Views(Protocol):
    """A family of numbered views. Frozen, part of a lineage, and the same on every device and in every process."""

    @property
    def count(self) -> int:
        """The number of views per image."""
        ...

    @property
    def views_repeat(self) -> bool:
        """Whether a training run shows the same view of an image more than once."""
        ...

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``."""
        ...

    def cut(self, image: np.ndarray, view: int, size: int) -> np.ndarray:
        """Cut a view, uint8 ``[size, size, C]``, out of an image ``[height, width, C]``."""
        ...

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Apply what is computed on the training device to pixels that were cut, ``[B, H, W, C]``."""
        ...

    def describe(self) -> str:
        """The augmentation in words: "random crop, mirrored"."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CropFlip:
    """Pad each side by ``padding`` black pixels, crop to the original size, and mirror half of the time.

    There are ``s^2`` crops, ``s = 2 padding + 1``, and twice as many views with ``flip``. The number of a view is
    ``(dy s + dx) 2 + mirrored``, or ``dy s + dx`` without ``flip``.
    With ``padding=4`` and ``flip`` each image has 162 views.

    >>> CropFlip().count, CropFlip(padding=1, flip=False).count
    (162, 9)
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding must be a number of pixels >= 0, not {self.padding}")

    @property
    def shifts(self) -> int:
        """The number of crop positions along one axis."""
        return 2 * self.padding + 1

    @property
    def count(self) -> int:
        """The number of views per image."""
        return self.shifts**2 * (2 if self.flip else 1)

    @property
    def identity(self) -> int:
        """The number of the view that leaves an image unchanged."""
        centre = self.padding * self.shifts + self.padding
        return centre * (2 if self.flip else 1)

    @property
    def views_repeat(self) -> bool:
        """Whether a training run shows the same view of an image more than once."""
        return True

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``.

        >>> import torch
        >>> ids = torch.arange(4)
        >>> bool((CropFlip().draw(0, 3, ids).flip(0) == CropFlip().draw(0, 3, ids.flip(0))).all())
        True
        """
        return (functional.uniform(seed, epoch, ids) * self.count).long()

    def decode(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decode view numbers into ``dy``, ``dx`` and, with ``flip``, whether the view is mirrored; each ``[B]``."""
        mirrored = views % 2 == 1 if self.flip else None
        crops = views // 2 if self.flip else views
        return crops // self.shifts, crops % self.shifts, mirrored

    def cut(self, image: np.ndarray, view: int, size: int) -> np.ndarray:
        """Cut a view out of an image ``[size, size, C]``.

        >>> CropFlip(padding=1).cut(np.array([[[1], [2]], [[3], [4]]]), view=1, size=2)[:, :, 0].tolist()
        [[0, 0], [1, 0]]
        """
        crop, mirrored = divmod(view, 2) if self.flip else (view, 0)
        down, right = divmod(crop, self.shifts)
        return _window(image, down - self.padding, right - self.padding, size, bool(mirrored))

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Return the pixels: all of a view is cut."""
        return pixels

    def describe(self) -> str:
        """The augmentation in words."""
        unit = "pixel" if self.padding == 1 else "pixels"
        crop = f"shifted by up to {self.padding} {unit}" if self.padding else ""
        return ", ".join(part for part in (crop, "mirrored" if self.flip else "") if part) or "as they are"


STEPS = 256
"""How many positions along one axis a crop is drawn from, where images differ in size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginCrop:
    """Crop ``size x size`` pixels anywhere in a larger image, and mirror half of the time.

    Formula: of an image of height h, ``padding`` black pixels on each side included, the crop begins at
    ``floor(q (h - size + 1) / 256)``, q from 0 to 255, and likewise along the width. The number of a view is
    ``(q_y 256 + q_x) 2 + mirrored``, or ``q_y 256 + q_x`` without ``flip``.

    >>> MarginCrop().count, MarginCrop(flip=False).count
    (131072, 65536)
    """

    padding: int = 0
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding must be a number of pixels >= 0, not {self.padding}")

    @property
    def count(self) -> int:
        """The number of views per image."""
        return STEPS**2 * (2 if self.flip else 1)

    @property
    def views_repeat(self) -> bool:
        """Whether a training run shows the same view of an image more than once: too seldom to count on it."""
        return False

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``."""
        return (functional.uniform(seed, epoch, ids) * self.count).long()

    def cut(self, image: np.ndarray, view: int, size: int) -> np.ndarray:
        """Cut a view, uint8 ``[size, size, C]``, out of an image ``[height, width, C]``.

        >>> image = np.arange(12).reshape(3, 4, 1)
        >>> MarginCrop(flip=False).cut(image, view=255 * 256, size=2)[:, :, 0].tolist()
        [[4, 5], [8, 9]]
        """
        crop, mirrored = divmod(view, 2) if self.flip else (view, 0)
        down, right = divmod(crop, STEPS)
        height, width, _ = image.shape
        return _window(image, self._start(down, height, size), self._start(right, width, size), size, bool(mirrored))

    def _start(self, step: int, side: int, size: int) -> int:
        return step * (side + 2 * self.padding - size + 1) // STEPS - self.padding

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Return the pixels: all of a view is cut."""
        return pixels

    def describe(self) -> str:
        """The augmentation in words."""
        padded = f" of images with a border of {self.padding} pixels" if self.padding else ""
        return f"random crop{padded}{', mirrored' if self.flip else ''}"


def _window(image: np.ndarray, top: int, left: int, size: int, mirrored: bool) -> np.ndarray:
    """The pixels of a window that may reach beyond the image, where it is black."""
    height, width, channels = image.shape
    if 0 <= top <= height - size and 0 <= left <= width - size:
        window = image[top : top + size, left : left + size]
    else:
        window = np.zeros((size, size, channels), image.dtype)
        rows = slice(max(0, -top), min(size, height - top))
        columns = slice(max(0, -left), min(size, width - left))
        window[rows, columns] = image[rows.start + top : rows.stop + top, columns.start + left : columns.stop + left]
    return window[:, ::-1] if mirrored else window
