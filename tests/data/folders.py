"""Folders of images, read as a command reads them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tutelage.data import DataConfig, Splits, decode
from tutelage.data.file_splits import folder_splits, preparation_of
from tutelage.data.folder import examine_folder
from tutelage.data.pixel_map import Reading
from tutelage.data.preparation import Preparation

SMALL = DataConfig(network_size=64)


def read_folder(root: Path, config: DataConfig = SMALL, reading: Reading = Reading(store="resident")) -> Splits:
    photographs = examine_folder(root, None)
    return folder_splits(photographs, preparation_of(photographs, config), root.parent / "prepared", reading)


def read_image(path: Path, channels: int, size: int) -> Tensor:
    """The middle square of an image."""
    return decode.read_image(path, Preparation(channels=channels, size=size, side=size))
