"""Image files that were examined, prepared at one size and divided into sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from tutelage.data.dataset import DataConfig, Dataset, DatasetInfo, FileRows, Splits
from tutelage.data.file_index import DEEP, GRAY
from tutelage.data.folder import Photographs
from tutelage.data.npz import default_padding
from tutelage.data.pixel_map import Reading, pixels_of, store_for
from tutelage.data.pixels import DecodedPixels, FileImages, ragged_shapes, uniform
from tutelage.data.preparation import OWN_SIZE, Preparation, default_size
from tutelage.data.splits import make_splits


def preparation_of(photographs: Photographs, config: DataConfig) -> Preparation:
    """How these images are prepared, by the configuration, or by rules where it is silent.

    Files that all are one square of at most ``OWN_SIZE`` pixels keep their size; others have that which the network
    is made for, or :func:`default_size`. Images are gray if all of them are. Of 16 bits, as many count as the
    training images use.
    """
    files = photographs.files
    channels = 1 if bool((files.kinds & GRAY).all()) else 3
    shorter = np.sort(files.sizes.min(1))
    own = int(shorter[0]) if bool((files.sizes == shorter[0]).all()) and shorter[0] <= OWN_SIZE else None
    size = config.image_size or own or config.network_size or default_size(int(shorter[len(shorter) // 2]))
    white = 255
    if bool((files.kinds & DEEP).any()):
        highest = int(files.peaks[photographs.rows["train"].numpy()].max())
        white = next(limit for limit in (255, 1023, 4095, 16383, 65535) if highest <= limit)
    side = size if size == own else 0
    return Preparation(size=size, channels=channels, resize=config.resize, side=side, white=white)


def folder_info(photographs: Photographs, preparation: Preparation) -> DatasetInfo:
    """Describe the images as they are prepared."""
    rows, mark = photographs.rows, photographs.mark
    return prepared_info(
        preparation,
        photographs.class_names,
        {role: len(each) for role, each in rows.items()},
        (*photographs.notes, mark) if mark else photographs.notes,
        mark,
    )


def prepared_info(
    preparation: Preparation,
    class_names: tuple[str, ...],
    sizes: Mapping[str, int],
    notes: tuple[str, ...] = (),
    mark: str = "",
) -> DatasetInfo:
    """Describe image files as they are prepared; ``sizes`` counts them by set."""
    size = preparation.size
    return DatasetInfo(
        class_names=class_names,
        channels=preparation.channels,
        height=size,
        width=size,
        train_size=sizes["train"],
        test_size=sizes["test"],
        holdout_size=sizes.get("holdout", 0),
        padding=default_padding(size, size) if preparation.side == size else 0,
        margin=preparation.side > size,
        flip=preparation.channels == 3,
        notes=notes,
        mark=mark,
    )


def folder_splits(
    photographs: Photographs,
    preparation: Preparation,
    maps: Path,
    reading: Reading = Reading(),
) -> Splits:
    """The images of a folder in a store; maps are kept below ``maps``.

    Errors: :class:`BrokenFiles` for files that cannot be decoded; ``storage.NoSpace``; ``OSError``.
    """
    info, files = folder_info(photographs, preparation), photographs.files
    whole = FileRows(photographs.source.names, files.digests, preparation)
    folder = maps / whole.content_digest()[:32]
    _, _, total = ragged_shapes(files.sizes, preparation)
    kind = store_for(total, folder) if reading.store == "auto" else reading.store
    pixels = pixels_of(DecodedPixels(photographs.source, preparation), files.sizes, folder, kind, reading.progress)
    in_memory = kind == "resident" and not info.margin

    def part(role: str) -> Dataset:
        rows = photographs.rows[role]
        return Dataset(
            images=uniform(pixels, rows) if in_memory else FileImages(pixels, rows, reading.workers_for(kind)),
            labels=photographs.labels[rows],
            ids=rows if photographs.divided else torch.arange(len(rows)),
            files=whole.subset(rows),
        )

    return make_splits(info, part("train"), part("test"), part("holdout") if "holdout" in photographs.rows else None)
