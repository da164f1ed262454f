"""Training images held on the training device, from which batches of views are cut."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.data.augmentation import Views
from tutelage.data.rotation import shifted

MAX_PADDED_BYTES = 1 << 30
"""A set whose padded images fit this is padded once; a larger one batch by batch, which costs 5 us per image."""


class ImageStore:
    """Images on the training device, cut into views without a copy per crop.

    Memory: a set whose padded images fit ``MAX_PADDED_BYTES`` is copied once, padded, at one byte per padded pixel
    and channel (CIFAR-100 with ``padding=4``: 240 MB). A larger set is not copied on a CPU.
    """

    def __init__(self, images: Tensor, views: Views, device: torch.device | str = "cpu") -> None:
        crops = shifted(views)
        assert crops is not None, "crops of other kinds are cut image by image"
        self.views, self.crops, self.count = views, crops, len(images)
        self.height, self.width = images.shape[2:]
        padded_size = (self.height + 2 * crops.padding) * (self.width + 2 * crops.padding)
        pad_once = self.count * images.shape[1] * padded_size <= MAX_PADDED_BYTES
        on_device = images.to(device)
        self._crops: Tensor | None = self._all_crops(on_device) if pad_once else None
        self._images: Tensor | None = None if pad_once else on_device

    def _all_crops(self, images: Tensor) -> Tensor:
        """Every crop of every image, ``[N, shifts, shifts, H, W, C]``: views into the padded images, not copies."""
        p, (count, channels) = self.crops.padding, images.shape[:2]
        # The channels of a pixel are adjacent, so a crop is channels-last in memory, as convolutions want it.
        padded = torch.zeros(
            (count, self.height + 2 * p, self.width + 2 * p, channels), dtype=torch.uint8, device=images.device
        )
        padded[:, p : p + self.height, p : p + self.width] = images.permute(0, 2, 3, 1)
        n, y, x, c = padded.stride()
        shifts = self.crops.shifts
        # Moving a crop by one pixel moves its start by one stride: dy and dx share the strides of y and x.
        return padded.as_strided((count, shifts, shifts, self.height, self.width, channels), (n, y, x, y, x, c))

    def __len__(self) -> int:
        return self.count

    def cut(self, rows: Tensor, views: Tensor) -> Tensor:
        """Cut the given views of the given rows: uint8 ``[B, C, H, W]``, channels-last in memory.

        >>> image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)
        >>> from tutelage.data import CropFlip
        >>> store = ImageStore(image, CropFlip(padding=1, flip=True))
        >>> store.cut(torch.tensor([0, 0]), torch.tensor([8, 9]))[:, 0].tolist()
        [[[0, 1], [2, 3]], [[1, 0], [3, 2]]]
        """
        dy, dx, mirrored = self.crops.decode(views % self.crops.count)
        if self._crops is not None:
            pixels = self._crops[rows, dy, dx]
        else:
            assert self._images is not None
            pixels = self._all_crops(self._images[rows])[torch.arange(len(rows), device=rows.device), dy, dx]
        if mirrored is not None:
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        return self.views.transform(pixels, views).permute(0, 3, 1, 2)
