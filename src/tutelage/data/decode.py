"""Decode image files, with every error of a decoder told as one that names the file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutelage.data import jpeg
from tutelage.data.image_files import bounded, metadata_behind_pixels
from tutelage.data.preparation import LONGEST, Preparation
from tutelage.storage import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_GRAY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")
_TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")
_TURNED = (5, 6, 7, 8)
"""The orientations in EXIF whose width and height are exchanged."""
_ORIENTATION = 0x0112


class Header(NamedTuple):
    """What an image's header tells.

    The size of the upright image; whether it is gray, has 16 bits, is stored on its side or upside down, and may be
    transparent.
    """

    width: int
    height: int
    gray: bool
    deep: bool
    turned: bool
    transparent: bool


PROBE = Preparation(size=1, channels=3, side=1)
"""The cheapest preparation that decodes all of a file: whether that succeeds depends on no preparation."""


def read_header(file: IO[bytes], where: str) -> Header:
    """Read the header of an image file.

    Errors: ``ValueError`` that begins with ``where``, for what is no image, or one of an absurd shape.
    """
    with _opened(file, where) as image:
        orientation = _orientation(image, file)
        width, height = _upright_size(image, orientation)
        if max(width, height) > LONGEST * min(width, height):
            raise ValueError(f"it has {width} x {height} pixels, and may be {LONGEST} times longer than wide at most")
        return Header(
            width,
            height,
            gray=image.mode in _GRAY,
            deep=image.mode.startswith("I;16"),
            turned=orientation != 1,
            transparent=image.mode in _TRANSPARENT or "transparency" in image.info,
        )


def peak(file: IO[bytes], where: str) -> int:
    """The highest value of an image with 16 bits.

    Errors: those of :func:`decode`.
    """
    with _opened(file, where) as image:
        return int(np.asarray(image, dtype=np.uint16).max(initial=0))


def decode(file: IO[bytes], preparation: Preparation, where: str) -> np.ndarray:
    """Decode an image file to its intermediate: uint8 ``[height, width, channels]``, see :class:`Preparation`.

    A JPEG is decoded at the smallest scale that is still as large as the intermediate.

    Errors: ``ValueError`` that begins with ``where``, for what is no image, is damaged, or has too many pixels.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    with _opened(file, where) as image:
        mode = "L" if preparation.channels == 1 else "RGB"
        orientation = _orientation(image, file)
        height, width = preparation.shape(*_upright_size(image, orientation))
        image.draft(mode, (preparation.side, preparation.side))  # only now, as it rounds the sides
        image = jpeg.decoded(file, image) or image
        if orientation != 1:  # turning copies the image, also where there is nothing to turn
            image = ImageOps.exif_transpose(image)
        image = _composed(_eight_bits(image, preparation.white))
        image = image if image.mode == mode else image.convert(mode)
        if preparation.resize == "letterbox":
            image = ImageOps.pad(image, (width, height), method=Resampling.BILINEAR)
        elif image.size != (width, height):
            image = image.resize((width, height), Resampling.BILINEAR)
        return np.array(image, dtype=np.uint8).reshape(height, width, preparation.channels)


def _orientation(image: Image, file: IO[bytes]) -> int:
    """The orientation in an image's metadata; no pixel is decoded for it."""
    from PIL import Image as images

    # Pillow decodes a PNG to look for what stands behind its pixels, where hardly any program writes something.
    is_whole = image.format == "PNG" and not metadata_behind_pixels(file)
    exif = images.Image.getexif(image) if is_whole else image.getexif()
    orientation = exif.get(_ORIENTATION)
    return next((each for each in range(2, 9) if each == orientation), 1)


def _upright_size(image: Image, orientation: int) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation in _TURNED else (width, height)


def _composed(image: Image) -> Image:
    """Compose what is transparent on white, as ink on paper: the color below it is whatever a program left there."""
    from PIL import Image as images

    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        over = image.convert("RGBA")
        return images.alpha_composite(images.new("RGBA", over.size, (255, 255, 255, 255)), over)
    return image.convert("RGB") if image.mode == "P" else image


def _eight_bits(image: Image, white: int) -> Image:
    if image.mode.startswith("I;16"):
        from PIL import Image as images

        values = np.asarray(image, dtype=np.uint16).astype(np.uint32)
        return images.fromarray((np.minimum(values, white) * 255 // white).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}); save it with 8 or 16")
    return image


@contextmanager
def _opened(file: IO[bytes], where: str) -> Iterator[Image]:
    """Open an image and read its header; any error, also from the body of the ``with``, becomes one that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with bounded(file) as reader, _open(reader) as image:
            yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{where} has too many pixels: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{where} is not an image (of {', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged or hostile file can raise almost any error
        raise ValueError(f"{where} cannot be read: {str(error) or type(error).__name__}") from None


_filters = threading.Lock()
"""Held while the filters of warnings are changed: they are those of the process, and images are read by threads."""


def _open(reader: IO[bytes]) -> Image:
    from PIL import Image

    with _filters, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(reader, formats=FORMATS)


def read_image(path: Path, preparation: Preparation) -> Tensor:
    """Read an image file as evaluation shows it: uint8 ``[channels, size, size]``.

    Errors: those of :func:`decode`, with the path.
    """
    where = repr(str(path))
    try:
        with open_regular(path) as file:
            image = decode(file, preparation, where)
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror or error}") from None
    return torch.from_numpy(middle(image, preparation.size).copy()).permute(2, 0, 1)


def middle(image: np.ndarray, size: int) -> np.ndarray:
    """The middle ``size x size`` pixels of an image ``[height, width, channels]``.

    >>> middle(np.arange(12).reshape(3, 4, 1), 2)[:, :, 0].tolist()
    [[1, 2], [5, 6]]

    Source: ``CenterCrop`` of torchvision and timm.
    """
    height, width = image.shape[:2]
    top, left = round((height - size) / 2), round((width - size) / 2)  # as torchvision rounds
    return image[top : top + size, left : left + size]
