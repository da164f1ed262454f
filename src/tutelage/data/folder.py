"""A folder of images, one sub-folder a class, held in memory at one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.data.labels import text
from tutelage.data.npz import MAX_BYTES, default_padding
from tutelage.data.splits import TEST, finished, stratified

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SIZE = 64
TEST_SHARE = 5  # one image in five, where the folder has no test set of its own
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_GRAY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")

Listing = dict[str, list[Path]]


def read_folder(root: Path) -> Splits:
    """Read ``root/train/<class>/*`` and ``root/test/<class>/*``, or only ``root/<class>/*``.

    Classes are numbered in the order of their folders' names, images in the order of their files'. Without a test
    folder, one image in five becomes the test set, with the class shares of the whole and always the same ones.
    Images are RGB, or gray if all of them are; where all have one square size they keep it, else the shorter side
    becomes 64 pixels and the middle is kept. Names that begin with a dot are skipped.

    Errors: ``ValueError``, naming the folder or file: no class folders, a class without images, a file that is no
    image, is damaged or has absurdly many pixels, a class that only the test set has, more than 4 GiB of pixels.
    """
    train = _listing(root / "train") if (root / "train").is_dir() else {}
    if train:
        if not (root / "test").is_dir():
            raise ValueError(f"{str(root)!r} has a train folder but no test folder")
        return _official(root, train, _listing(root / "test"))
    return _cut(root, _listing(root))


def _official(root: Path, train: Listing, test: Listing) -> Splits:
    _check_several(root, train)
    if unknown := sorted(set(test) - set(train)):
        raise ValueError(f"{str(root)!r} has images of class {unknown[0]!r} in test but not in train")
    if not test:
        raise ValueError(f"{str(root / 'test')!r} has no class folders")
    files = _labelled(train, train), _labelled(test, train)
    channels, size = _common(root, [path for part in files for path, _ in part])
    splits = [_read(part, channels, size) for part in files]
    return finished(_facts(train, splits[0], splits[1]), splits[0], splits[1])


def _cut(root: Path, listing: Listing) -> Splits:
    if not listing:
        raise ValueError(
            f"{str(root)!r} has no class folders: expected <class>/*.png in it, "
            "or train/<class>/*.png and test/<class>/*.png"
        )
    files = _labelled(listing, listing)
    _check_several(root, listing)
    left = len(files) - max(1, round(len(files) / TEST_SHARE))
    if left < len(listing):
        raise ValueError(
            f"{str(root)!r} has {len(files)} images, too few to cut a test set from for {len(listing)} classes"
        )
    channels, size = _common(root, [path for path, _ in files])
    rows = stratified(torch.tensor([label for _, label in files]), len(listing), left, TEST)
    train, test = (replace(_read([files[row] for row in part], channels, size), ids=part) for part in rows)
    return finished(_facts(listing, train, test), train, test)


def _listing(folder: Path) -> Listing:
    """The files of each class folder; a file that stands beside the class folders belongs to no class."""
    classes = {path.name: path for path in _visible(folder) if path.is_dir()}
    listing = {name: _visible(path) for name, path in classes.items()}
    for name, files in listing.items():
        if not files:
            raise ValueError(f"{str(classes[name])!r} is a class without images")
        for path in files:
            if not path.is_file():
                raise ValueError(f"{str(path)!r} is not an image file: a class folder holds images only")
    return listing


def _check_several(root: Path, listing: Listing) -> None:
    if len(listing) < 2:
        raise ValueError(f"{str(root)!r} has only the class {next(iter(listing))!r}: expected 2 or more")


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _labelled(listing: Listing, classes: Listing) -> list[tuple[Path, int]]:
    number = {name: label for label, name in enumerate(classes)}
    return [(path, number[name]) for name, files in listing.items() for path in files]


def _facts(classes: Listing, train: Dataset, test: Dataset) -> DatasetInfo:
    _, channels, height, width = train.images.shape
    return DatasetInfo(
        class_names=tuple(text(name) for name in classes),
        channels=channels,
        height=height,
        width=width,
        train_size=len(train),
        test_size=len(test),
        padding=default_padding(height, width),
    )


def _common(root: Path, paths: list[Path]) -> tuple[int, int]:
    """The number of channels and the size that all images will have, from their headers."""
    sizes, gray = set(), True
    for path in paths:
        with _opened(path) as image:
            sizes.add(image.size)
            gray &= image.mode in _GRAY
    width, height = next(iter(sizes))
    size = width if len(sizes) == 1 and width == height else DEFAULT_SIZE
    channels = 1 if gray else 3
    needed = len(paths) * channels * size * size
    if needed > MAX_BYTES:
        raise ValueError(
            f"{str(root)!r} needs {needed} bytes in memory ({len(paths)} images of {size} x {size}), "
            f"and {MAX_BYTES} are the most that is held there: make its images smaller"
        )
    return channels, size


def _read(files: list[tuple[Path, int]], channels: int, size: int) -> Dataset:
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    for row, (path, _) in enumerate(files):
        images[row] = read_image(path, channels, size)
    return Dataset(images=images, labels=torch.tensor([label for _, label in files]), ids=torch.arange(len(files)))


def read_image(path: Path, channels: int, size: int) -> Tensor:
    """Read one image file as uint8 ``[channels, size, size]``: gray or RGB, upright, its middle square.

    Errors: ``ValueError`` naming the file, when it is no image, is damaged or has absurdly many pixels.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    with _opened(path) as opened:
        image = _eight_bits(ImageOps.exif_transpose(opened))
        if image.mode == "P":
            image = image.convert("RGBA")  # a palette may hold transparency, which RGB alone warns of
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (size, size):
            image = ImageOps.fit(image, (size, size), method=Resampling.BILINEAR)
        pixels = np.array(image, dtype=np.uint8).reshape(size, size, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _eight_bits(image: Image) -> Image:
    if image.mode.startswith("I;16"):
        from PIL import Image as images

        return images.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}); save it with 8 or 16")
    return image


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """An image whose header was read; every fault of the file, then or later, becomes one that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} has too many pixels: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{str(path)!r} is not an image (of {', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged or hostile file can end in nearly any
        raise ValueError(f"{str(path)!r} cannot be read: {str(error) or type(error).__name__}") from None
