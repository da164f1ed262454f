"""A folder of images with one sub-folder per class, read into memory at one size."""

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
from tutelage.data.image_files import open_bounded
from tutelage.data.labels import encodable
from tutelage.data.npz import MAX_BYTES, default_padding
from tutelage.data.splits import TEST, make_splits, stratified_split

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SIZE = 64
TEST_SHARE = 5  # one image in five, for a folder without a test set
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_GRAY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")

Listing = dict[str, list[Path]]
"""The image files of each class, by class name."""
LabelledFiles = list[tuple[Path, int]]


def read_folder(root: Path) -> Splits:
    """Read ``root/train/<class>/*`` and ``root/test/<class>/*``, or only ``root/<class>/*``.

    Classes are numbered in the order of their folders' names, images in the order of their files' names. Without a
    test folder, one image in five becomes the test set: always the same ones, with the class shares of the whole.
    Images are RGB, or gray if all of them are. Images that all have one square size keep it; otherwise each is scaled
    to 64 pixels on its shorter side and its middle square is used. Names that begin with a dot are ignored.

    Errors: ``ValueError``, naming the folder or file: no class folders; a class without images; a file that is not an
    image, is damaged, or has an absurd number of pixels; a class that only the test set has; more than 4 GiB of
    pixels.
    """
    train = _list_classes(root / "train") if (root / "train").is_dir() else {}
    if train:
        if not (root / "test").is_dir():
            raise ValueError(f"{str(root)!r} has a train folder but no test folder")
        return _read_train_and_test(root, train, _list_classes(root / "test"))
    return _read_and_split(root, _list_classes(root))


def _read_train_and_test(root: Path, train: Listing, test: Listing) -> Splits:
    _check_class_count(root, train)
    if unknown := sorted(set(test) - set(train)):
        raise ValueError(f"{str(root)!r} has images of class {unknown[0]!r} in test but not in train")
    if not test:
        raise ValueError(f"{str(root / 'test')!r} has no class folders")
    train_files = _labelled(train, train)
    test_files = _labelled(test, train)
    channels, size = _common_shape(root, [path for path, _ in [*train_files, *test_files]])
    train_set = _read(train_files, channels, size)
    test_set = _read(test_files, channels, size)
    return make_splits(_info(train, train_set, test_set), train_set, test_set)


def _read_and_split(root: Path, listing: Listing) -> Splits:
    if not listing:
        raise ValueError(
            f"{str(root)!r} has no class folders: expected <class>/*.png in it, "
            "or train/<class>/*.png and test/<class>/*.png"
        )
    files = _labelled(listing, listing)
    _check_class_count(root, listing)
    train_size = len(files) - max(1, round(len(files) / TEST_SHARE))
    if train_size < len(listing):
        raise ValueError(
            f"{str(root)!r} has {len(files)} images, too few to take a test set from for {len(listing)} classes"
        )
    channels, size = _common_shape(root, [path for path, _ in files])
    labels = torch.tensor([label for _, label in files])
    train_rows, test_rows = stratified_split(labels, len(listing), train_size, TEST)
    train = replace(_read([files[row] for row in train_rows], channels, size), ids=train_rows)
    test = replace(_read([files[row] for row in test_rows], channels, size), ids=test_rows)
    return make_splits(_info(listing, train, test), train, test)


def _list_classes(folder: Path) -> Listing:
    """List the files of each class folder; files beside the class folders are ignored."""
    classes = {path.name: path for path in _visible(folder) if path.is_dir()}
    listing = {name: _visible(path) for name, path in classes.items()}
    for name, files in listing.items():
        if not files:
            raise ValueError(f"{str(classes[name])!r} is a class without images")
        for path in files:
            if not path.is_file():
                raise ValueError(f"{str(path)!r} is not an image file: a class folder may contain only images")
    return listing


def _check_class_count(root: Path, listing: Listing) -> None:
    if len(listing) < 2:
        raise ValueError(f"{str(root)!r} has only the class {next(iter(listing))!r}: expected 2 or more")


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _labelled(listing: Listing, classes: Listing) -> LabelledFiles:
    labels = {name: label for label, name in enumerate(classes)}
    return [(path, labels[name]) for name, files in listing.items() for path in files]


def _info(classes: Listing, train: Dataset, test: Dataset) -> DatasetInfo:
    _, channels, height, width = train.images.shape
    return DatasetInfo(
        class_names=tuple(encodable(name) for name in classes),
        channels=channels,
        height=height,
        width=width,
        train_size=len(train),
        test_size=len(test),
        padding=default_padding(height, width),
    )


def _common_shape(root: Path, paths: list[Path]) -> tuple[int, int]:
    """The number of channels and the size that all images will have, from their headers."""
    sizes, gray = set(), True
    for path in paths:
        with _open_image(path) as image:
            sizes.add(image.size)
            gray &= image.mode in _GRAY
    width, height = next(iter(sizes))
    size = width if len(sizes) == 1 and width == height else DEFAULT_SIZE
    channels = 1 if gray else 3
    needed = len(paths) * channels * size * size
    if needed > MAX_BYTES:
        raise ValueError(
            f"{str(root)!r} needs {needed} bytes in memory ({len(paths)} images of {size} x {size}), "
            f"more than the {MAX_BYTES} that are allowed: make its images smaller"
        )
    return channels, size


def _read(files: LabelledFiles, channels: int, size: int) -> Dataset:
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    for row, (path, _) in enumerate(files):
        images[row] = read_image(path, channels, size)
    return Dataset(images=images, labels=torch.tensor([label for _, label in files]), ids=torch.arange(len(files)))


def read_image(path: Path, channels: int, size: int) -> Tensor:
    """Read the middle square of an image file as uint8 ``[channels, size, size]``: gray or RGB, upright.

    Errors: ``ValueError`` naming the file, when it is not an image, is damaged or has an absurd number of pixels.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    with _open_image(path) as file:
        image = _eight_bits(ImageOps.exif_transpose(file))
        if image.mode == "P":
            image = image.convert("RGBA")  # a palette may have transparency, and converting it to RGB warns
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
def _open_image(path: Path) -> Iterator[Image]:
    """Open an image and read its header; any error, also from the body of the ``with``, becomes one that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_bounded(path) as file, Image.open(file, formats=FORMATS) as image:
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} has too many pixels: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{str(path)!r} is not an image (of {', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged or hostile file can raise almost any error
        raise ValueError(f"{str(path)!r} cannot be read: {str(error) or type(error).__name__}") from None
