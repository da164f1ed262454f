"""How image files become pixels: the size of what is shown, and of the images that this is cut from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Resize = Literal["shorter", "squash", "letterbox"]
SIZES = (32, 64, 96, 128, 160, 224)
"""The sizes that are chosen from where the user names none."""
OWN_SIZE = 64
"""Files that all are one square of at most so many pixels keep their size."""
LONGEST = 16
"""How many times longer than its shorter side an image may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is done to each image file, once, before views are cut from it.

    An image is decoded, turned upright, and resized to the *intermediate*: with ``resize="shorter"`` its shorter
    side to ``side`` pixels, its aspect kept; with ``"squash"`` both sides; with ``"letterbox"`` its longer side, on a
    black ground. Evaluation shows the middle ``size x size`` pixels of the intermediate.

    Formula: by default ``side = round(8/7 size)`` for ``"shorter"``, so that 224 pixels are cut from 256, and
    ``side = size`` otherwise.

    ``white`` is the value of a 16-bit image that becomes 255; the others are scaled by it. ``channels`` is 1 for gray
    and 3 for RGB; transparency is composed on white.

    Errors: ``ValueError`` for a size below 1 and an unknown way to resize.

    >>> Preparation(size=224, channels=3).side, Preparation(size=224, channels=3, resize="squash").side
    (256, 224)
    >>> Preparation(size=224, channels=3).shape(500, 375), Preparation(size=28, channels=1, side=28).shape(28, 28)
    ((256, 341), (28, 28))
    """

    size: int
    channels: int
    resize: Resize = "shorter"
    side: int = 0
    white: int = 65535

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, not {self.size}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be {', '.join(get_args(Resize)[:-1])} or letterbox, not {self.resize!r}")
        if not self.side:
            object.__setattr__(self, "side", round(self.size * 8 / 7) if self.resize == "shorter" else self.size)

    def shape(self, width: int, height: int) -> tuple[int, int]:
        """The height and width of the intermediate of an upright image."""
        if self.resize != "shorter":
            return self.side, self.side
        shorter = min(width, height)
        return self.side * height // shorter, self.side * width // shorter


def default_size(median: int) -> int:
    """The size for files whose shorter sides have this median, where neither the user nor a network names one.

    Formula: the largest of ``SIZES`` that is not above the median, and 32 below that.

    >>> default_size(300), default_size(100), default_size(20)
    (224, 96, 32)
    """
    return max((size for size in SIZES if size <= median), default=SIZES[0])
