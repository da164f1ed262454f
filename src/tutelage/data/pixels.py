"""The intermediates of image files: held in memory, mapped from a file, or decoded whenever they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tutelage.data.decode import decode, middle
from tutelage.data.preparation import Preparation
from tutelage.data.sources import Source, where


class Pixels(Protocol):
    """The intermediate of each image of a set, see :class:`Preparation`; every kind gives the same bytes."""

    @property
    def preparation(self) -> Preparation:
        """How files become these pixels."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> np.ndarray:
        """One intermediate, uint8 ``[height, width, channels]``; do not modify it.

        Errors: ``ValueError`` that names a file which cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPixels:
    """Image files that are decoded each time they are needed."""

    source: Source
    preparation: Preparation

    def __len__(self) -> int:
        return len(self.source.names)

    def __getitem__(self, row: int) -> np.ndarray:
        name = where(self.source, row)
        try:
            with self.source.open(row) as file:
                return decode(file, self.preparation, name)
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True, eq=False)
class RaggedPixels:
    """Intermediates one after the other in one buffer, uint8: of this process, or a file that all processes map.

    Shapes: ``buffer`` uint8 ``[bytes]``; ``shapes`` int64 ``[N, 2]``, height and width; ``offsets`` int64 ``[N]``.
    """

    buffer: Tensor
    shapes: np.ndarray
    offsets: np.ndarray
    preparation: Preparation

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, row: int) -> np.ndarray:
        height, width = self.shapes[row].tolist()
        start, channels = int(self.offsets[row]), self.preparation.channels
        flat = self.buffer[start : start + height * width * channels].numpy()
        return flat.reshape(height, width, channels)


def ragged_shapes(sizes: np.ndarray, preparation: Preparation) -> tuple[np.ndarray, np.ndarray, int]:
    """The shapes and offsets of the intermediates of upright images of these widths and heights, and all bytes.

    >>> shapes, offsets, total = ragged_shapes(np.array([[500, 375], [375, 500]]), Preparation(size=56, channels=1))
    >>> shapes.tolist(), offsets.tolist(), total
    ([[64, 85], [85, 64]], [0, 5440], 10880)
    """
    shapes = np.array([preparation.shape(*size) for size in sizes.tolist()], np.int64).reshape(len(sizes), 2)
    lengths = shapes.prod(1) * preparation.channels
    return shapes, np.cumsum(lengths) - lengths, int(lengths.sum())


class FileImages:
    """Images of a set as evaluation shows them, the middle of each intermediate: used like a uint8 tensor.

    ``rows`` int64 ``[N]`` are the images' places in ``pixels``; ``workers`` processes cut views for training.

    Shapes: ``images[rows]`` for a slice or int64 ``[B]`` is uint8 ``[B, channels, size, size]``, channels-last in
    memory.
    """

    def __init__(self, pixels: Pixels, rows: Tensor, workers: int = 0) -> None:
        self.pixels, self.rows, self.workers = pixels, rows, workers

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        """``[N, channels, size, size]``."""
        preparation = self.pixels.preparation
        return torch.Size([len(self.rows), preparation.channels, preparation.size, preparation.size])

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        size = self.pixels.preparation.size
        chosen = self.rows[rows].tolist()
        batch = np.empty((len(chosen), size, size, self.shape[1]), np.uint8)
        for place, row in enumerate(chosen):
            batch[place] = middle(self.pixels[row], size)
        return torch.from_numpy(batch).permute(0, 3, 1, 2)

    @property
    def nbytes(self) -> int:
        """The bytes of this process's memory that are held for the whole set."""
        buffer = self.pixels.buffer if isinstance(self.pixels, RaggedPixels) else None
        return 0 if buffer is None else buffer.nbytes

    def subset(self, rows: Tensor) -> FileImages:
        """The given rows, in that order; no pixel is copied."""
        return FileImages(self.pixels, self.rows[rows], self.workers)


def uniform(pixels: Pixels, rows: Tensor) -> Tensor:
    """Intermediates of one square size as a tensor, uint8 ``[N, C, size, size]``, channels-last in memory."""
    assert isinstance(pixels, RaggedPixels)
    side, channels = pixels.preparation.side, pixels.preparation.channels
    return pixels.buffer.view(-1, side, side, channels)[rows].permute(0, 3, 1, 2)
