"""Rotated views."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tutelage import functional
from tutelage.data.augmentation import CropFlip, Views
from tutelage.engine import widest_float

ANGLES = 1 << 16
"""How many angles a rotation is drawn from: so many that no image is likely to be shown at the same one twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """Views of another family, then rotated about the centre by up to ``degrees`` either way, filled with black.

    Formula: the angle is ``degrees (2 t / 65536 - 1)``, ``t`` uniform from 0 to 65535; each pixel takes the value of
    the nearest source pixel. The number of a view is ``t`` times the number of views of the other family, plus the
    number of its view.

    >>> Rotated(of=CropFlip(), degrees=15.0).views_repeat
    False

    Source: the official code of arXiv 1909.11723 rotates by up to 15 degrees.
    """

    of: Views
    degrees: float = 15.0

    def __post_init__(self) -> None:
        if not 0.0 < self.degrees <= 180.0:
            raise ValueError(f"degrees must be above 0 and at most 180, not {self.degrees}")

    @property
    def count(self) -> int:
        """The number of views per image."""
        return self.of.count * ANGLES

    @property
    def views_repeat(self) -> bool:
        """Whether a training run shows the same view of an image more than once."""
        return False

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``."""
        angles = (functional.uniform(seed, 4, epoch, ids) * ANGLES).long()
        return self.of.draw(seed, epoch, ids) + self.of.count * angles

    def cut(self, image: np.ndarray, view: int, size: int) -> np.ndarray:
        """Cut the view of the other family."""
        return self.of.cut(image, view % self.of.count, size)

    def transform(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Rotate uint8 pixels ``[B, H, W, C]``, each image by the angle of its view."""
        pixels = self.of.transform(pixels, views % self.of.count)
        steps = torch.div(views, self.of.count, rounding_mode="floor")
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

    def describe(self) -> str:
        """The augmentation in words."""
        return f"{self.of.describe()}, rotated by up to {self.degrees:g} degrees"


def shifted(views: Views) -> CropFlip | None:
    """The family whose crops can be cut on the training device, from images of one size; None for another.

    >>> shifted(Rotated(of=CropFlip(padding=1)))
    CropFlip(padding=1, flip=True)
    """
    inner = views.of if isinstance(views, Rotated) else views
    return inner if isinstance(inner, CropFlip) else None
