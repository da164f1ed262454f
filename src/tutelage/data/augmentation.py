"""Augmentations whose views are numbered, so that a teacher's logits can be stored by view number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage import functional
from tutelage.engine import widest_float


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

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Apply the part of a view that follows crop and mirror to pixels ``[B, H, W, C]``: nothing here."""
        return pixels


ANGLES = 1 << 16
"""How many angles a rotation is drawn from: so many that no image is likely to be shown at the same one twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedCropFlip(CropFlip):
    """Crop and mirror, then rotate about the centre by up to ``degrees`` either way, filling with black.

    Formula: the angle is ``degrees (2 t / 65536 - 1)``, ``t`` uniform from 0 to 65535; each pixel takes the value of
    the nearest source pixel. The number of a view is ``t`` times the number of crop-and-mirror views, plus the number
    of its crop-and-mirror view.

    >>> RotatedCropFlip(degrees=15.0).views_repeat
    False

    Source: the official code of arXiv 1909.11723 rotates by up to 15 degrees.
    """

    degrees: float = 15.0

    def __post_init__(self) -> None:
        CropFlip.__post_init__(self)
        if not 0.0 < self.degrees <= 180.0:
            raise ValueError(f"degrees must be above 0 and at most 180, not {self.degrees}")

    @property
    def crop_flip(self) -> CropFlip:
        """The crop-and-mirror part of the views."""
        return CropFlip(padding=self.padding, flip=self.flip)

    @property
    def count(self) -> int:
        """The number of views per image."""
        return self.crop_flip.count * ANGLES

    @property
    def identity(self) -> int:
        """The number of the view that leaves an image unchanged."""
        return self.crop_flip.identity + self.crop_flip.count * (ANGLES // 2)

    @property
    def views_repeat(self) -> bool:
        """Whether a training run shows the same view of an image more than once."""
        return False

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``."""
        angles = (functional.uniform(seed, 4, epoch, ids) * ANGLES).long()
        return self.crop_flip.draw(seed, epoch, ids) + self.crop_flip.count * angles

    def decode(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decode the crop and mirror of view numbers, as :meth:`CropFlip.decode`."""
        return self.crop_flip.decode(views % self.crop_flip.count)

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Rotate uint8 pixels ``[B, H, W, C]``, each image by the angle of its view."""
        steps = torch.div(views, self.crop_flip.count, rounding_mode="floor")
        angles = (steps.to(widest_float(steps.device)) * (2 / ANGLES) - 1) * (self.degrees * math.pi / 180)
        cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
        batch, height, width, channels = pixels.shape
        # For each output pixel, the input pixel that the inverse rotation of its centre falls into.
        y = torch.arange(height, device=pixels.device)[:, None] + 0.5 - height / 2
        x = torch.arange(width, device=pixels.device)[None, :] + 0.5 - width / 2
        source_x = (cos * x - sin * y + width / 2).floor().long()
        source_y = (sin * x + cos * y + height / 2).floor().long()
        inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
        indices = torch.where(inside, source_y * width + source_x, 0).view(batch, -1, 1).expand(-1, -1, channels)
        rotated = pixels.reshape(batch, -1, channels).gather(1, indices).view_as(pixels)
        return rotated * inside[..., None]
