"""JPEG files decoded by simplejpeg, where it is installed and gives the pixels of Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 64 * 2**20
"""The most bytes of a file that is read at once; Pillow reads larger ones bit by bit."""
Decode = Callable[[bytes, str, tuple[int, int]], np.ndarray]
"""From a file's bytes, a mode and the width and height of a draft to pixels, uint8 ``[H, W]`` or ``[H, W, 3]``."""


def decoded(file: IO[bytes], image: Image) -> Image | None:
    """Decode a JPEG that Pillow has opened, at the scale of its draft; None where Pillow is to do it.

    That is where simplejpeg is missing, for other formats and for CMYK, and for files that it does not decode without
    a warning: Pillow decides whether they are broken.
    """
    decode = decoder() if image.format == "JPEG" and image.mode in ("L", "RGB") else None
    if decode is None:
        return None
    position = file.tell()
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return _decoded(decode, file.read(), image) if size <= MAX_BYTES else None
    finally:
        file.seek(position)  # where the buffer of Pillow's reader believes that it is


def _decoded(decode: Decode, data: bytes, image: Image) -> Image | None:
    from PIL import Image as images

    try:
        pixels = decode(data, image.mode, image.size)
    except ValueError:
        return None
    if pixels.shape[1::-1] != image.size:
        return None
    result = images.fromarray(pixels)
    result.info |= image.info  # with EXIF and XMP, which say how it is turned
    return result


@cache
def decoder() -> Decode | None:
    """The decoder: None where simplejpeg is not installed, or was built with another library than Pillow.

    Its pixels must be the same to the bit, as neither a store nor a model's address says which decoder there was: one
    picture is decoded by both, once a process.
    """
    try:
        import simplejpeg
    except ImportError:
        return None

    def decode(data: bytes, mode: str, size: tuple[int, int]) -> np.ndarray:
        space = "GRAY" if mode == "L" else "RGB"
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, space, min_width=size[0], min_height=size[1])
        return pixels[:, :, 0] if mode == "L" else pixels

    return decode if _as_pillow(decode) else None


def _as_pillow(decode: Decode) -> bool:
    from PIL import Image as images

    rows, columns = np.mgrid[0:61, 0:83]
    pixels = np.stack([rows * 4, columns * 3, rows * columns % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    images.fromarray(pixels).save(file, "JPEG", quality=80)
    for side in (61, 30, 15):  # whole, and at two of the scales that a draft may choose
        for mode in ("RGB", "L"):
            with images.open(io.BytesIO(file.getvalue())) as image:
                image.draft(mode, (side, side))
                ours = decode(file.getvalue(), image.mode, image.size)
                if not np.array_equal(ours, np.asarray(image)):
                    return False
    return True
