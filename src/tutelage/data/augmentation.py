"""Views: the ways a training image may be moved, each with a number, so that an answer can be filed under it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class CropFlip:
    """Pad by ``padding`` black pixels on each side, crop the original size, and mirror half of the time.

    There are ``s^2`` crops, ``s = 2 padding + 1``, and twice as many views with ``flip``; the number of a view is
    ``(dy s + dx) 2 + mirrored``, or ``dy s + dx`` without ``flip``.
    With ``padding=4`` and ``flip`` these are 162 views an image.

    >>> CropFlip().count, CropFlip(padding=1, flip=False).count
    (162, 9)
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding is a number of pixels >= 0, not {self.padding}")

    @property
    def shifts(self) -> int:
        """The number of crops along one axis."""
        return 2 * self.padding + 1

    @property
    def count(self) -> int:
        """The number of views of an image."""
        return self.shifts**2 * (2 if self.flip else 1)

    @property
    def identity(self) -> int:
        """The view that moves nothing."""
        centre = self.padding * self.shifts + self.padding
        return centre * (2 if self.flip else 1)

    @property
    def each_seen_again(self) -> bool:
        """Whether a training looks at the same view of an image more than once."""
        return True

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``.

        >>> ids = torch.arange(4)
        >>> bool((CropFlip().draw(0, 3, ids).flip(0) == CropFlip().draw(0, 3, ids.flip(0))).all())
        True
        """
        return (functional.uniform(seed, epoch, ids) * self.count).long()

    def split(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take view numbers apart into ``dy``, ``dx`` and, with flipping, whether mirrored; each ``[B]``."""
        mirrored = views % 2 == 1 if self.flip else None
        crops = views // 2 if self.flip else views
        return crops // self.shifts, crops % self.shifts, mirrored

    def after(self, pixels: Tensor, views: Tensor) -> Tensor:
        """What else a view does to pixels ``[B, H, W, C]`` once they are cut: nothing."""
        return pixels


TURNS = 1 << 16
"""The angles that a rotation is drawn from: too many for any image to be seen at the same one twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedCropFlip(CropFlip):
    """Crop and mirror, then turn about the middle by up to ``degrees`` either way; what comes from outside is black.

    Formula: the angle is ``degrees (2 t / 65536 - 1)``, ``t`` even from 0 to 65535; each pixel takes the nearest one.
    The number of a view is ``t`` times the number of crops and mirrors, plus the number of the crop and mirror.

    >>> TurnedCropFlip(degrees=15.0).each_seen_again
    False

    Source: the official code of arXiv 1909.11723 turns by up to 15 degrees.
    """

    degrees: float = 15.0

    def __post_init__(self) -> None:
        CropFlip.__post_init__(self)
        if not 0.0 < self.degrees <= 180.0:
            raise ValueError(f"degrees must be above 0 and at most 180, not {self.degrees}")

    @property
    def moves(self) -> int:
        """The number of crops and mirrors."""
        return CropFlip(padding=self.padding, flip=self.flip).count

    @property
    def count(self) -> int:
        """The number of views of an image."""
        return self.moves * TURNS

    @property
    def identity(self) -> int:
        """The view that moves nothing."""
        return CropFlip(padding=self.padding, flip=self.flip).identity + self.moves * (TURNS // 2)

    @property
    def each_seen_again(self) -> bool:
        """Whether a training looks at the same view of an image more than once."""
        return False

    def draw(self, seed: int, epoch: int, ids: Tensor) -> Tensor:
        """Draw a view for each sample, a pure function of (seed, epoch, sample id): int64 ``[B]``."""
        turns = (functional.uniform(seed, 4, epoch, ids) * TURNS).long()
        moves = CropFlip(padding=self.padding, flip=self.flip).draw(seed, epoch, ids)
        return moves + self.moves * turns

    def split(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take the crop and mirror of view numbers apart."""
        return CropFlip(padding=self.padding, flip=self.flip).split(views % self.moves)

    def after(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Turn uint8 pixels ``[B, H, W, C]``, each by its view's angle."""
        turns = torch.div(views, self.moves, rounding_mode="floor")
        angles = (turns.double() * (2 / TURNS) - 1) * (self.degrees * math.pi / 180)
        cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
        batch, height, width, channels = pixels.shape
        y = torch.arange(height, device=pixels.device)[:, None] + 0.5 - height / 2
        x = torch.arange(width, device=pixels.device)[None, :] + 0.5 - width / 2
        from_x = (cos * x - sin * y + width / 2).floor().long()
        from_y = (sin * x + cos * y + height / 2).floor().long()
        inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
        places = torch.where(inside, from_y * width + from_x, 0).view(batch, -1, 1).expand(-1, -1, channels)
        turned = pixels.reshape(batch, -1, channels).gather(1, places).view_as(pixels)
        return turned * inside[..., None]


AHEAD_BYTES = 1 << 30
"""Up to this size a set is padded once and for all; a larger one a batch at a time, 5 us an image slower."""


class ImageStore:
    """Images held on the training device, from which batches of views are cut.

    Memory: a set whose padded images fit ``AHEAD_BYTES`` is padded once, one byte a padded pixel (CIFAR-100 with
    ``padding=4``: 240 MB); of a larger one no copy is made on a CPU.
    """

    def __init__(self, images: Tensor, views: CropFlip, device: torch.device | str = "cpu") -> None:
        self.views, self.count = views, len(images)
        self.height, self.width = images.shape[2:]
        sides = self.height + 2 * views.padding, self.width + 2 * views.padding
        ahead = self.count * images.shape[1] * sides[0] * sides[1] <= AHEAD_BYTES
        held = images.to(device)
        self._crops: Tensor | None = self._all_crops(held) if ahead else None
        self._plain: Tensor | None = None if ahead else held

    def _all_crops(self, images: Tensor) -> Tensor:
        """Every crop of every image, ``[N, shifts, shifts, H, W, C]``: slices of the padded images, not copies."""
        p, (count, channels) = self.views.padding, images.shape[:2]
        # Rows of pixels with their channels together: a cut is then channels-last, as the convolutions want it.
        padded = torch.zeros(
            (count, self.height + 2 * p, self.width + 2 * p, channels), dtype=torch.uint8, device=images.device
        )
        padded[:, p : p + self.height, p : p + self.width] = images.permute(0, 2, 3, 1)
        n, y, x, c = padded.stride()
        shifts = self.views.shifts
        return padded.as_strided((count, shifts, shifts, self.height, self.width, channels), (n, y, x, y, x, c))

    def __len__(self) -> int:
        return self.count

    def cut(self, rows: Tensor, views: Tensor) -> Tensor:
        """The given views of the given rows: uint8 ``[B, C, H, W]``, channels-last in memory.

        >>> image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)
        >>> resident = ImageStore(image, CropFlip(padding=1, flip=True))
        >>> resident.cut(torch.tensor([0, 0]), torch.tensor([8, 9]))[:, 0].tolist()
        [[[0, 1], [2, 3]], [[1, 0], [3, 2]]]
        """
        dy, dx, mirrored = self.views.split(views)
        if self._crops is not None:
            pixels = self._crops[rows, dy, dx]
        else:
            assert self._plain is not None
            pixels = self._all_crops(self._plain[rows])[torch.arange(len(rows), device=rows.device), dy, dx]
        if mirrored is not None:
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        return self.views.after(pixels, views).permute(0, 3, 1, 2)
