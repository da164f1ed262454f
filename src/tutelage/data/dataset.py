"""The values of the data package: a dataset's configuration, its description, and its images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from tutelage.data.normalization import Normalization
from tutelage.data.pixels import FileImages
from tutelage.data.preparation import Preparation, Resize
from tutelage.functional.random import permutation

Images = Tensor | FileImages
"""uint8 ``[N, C, H, W]``, as evaluation shows them: ``len``, ``shape``, and ``images[rows]`` for a slice or rows."""
MEASURED = 20_000
"""Of more image files than these, the normalization is that of so many, always the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which images to train and test on; the part of a configuration that names them.

    ``name`` is a dataset known to tutelage (see ``dataset_names``), the path of an ``.npz`` file, or the path of a
    folder, tar or zip of images. ``train_size`` and ``test_size`` keep that many training and test images, with the
    class shares of the whole; ``holdout`` takes that many out of the training set as a validation set, unless the
    dataset has a validation set of its own.

    ``image_size`` and ``resize`` say how image files are prepared, see :class:`Preparation`; without ``image_size``
    it is that of the files where these are small, or ``network_size``, where the network is made for a size.
    ``skip_broken`` leaves image files out that cannot be read or decoded.

    >>> DataConfig(name="digits", train_size=300).image_size is None
    True
    """

    name: str = "digits"
    train_size: int | None = None
    holdout: int = 0
    test_size: int | None = None
    image_size: int | None = None
    resize: Resize = "shorter"
    network_size: int | None = None
    skip_broken: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FileRows:
    """The files that images come from: a name and a SHA-256 for each, uint8 ``[N, 32]``, and their preparation."""

    names: Sequence[str]
    digests: np.ndarray
    preparation: Preparation

    def content_digest(self) -> str:
        """SHA-256 over the preparation and the digests of the files: what decides all pixels."""
        digest = hashlib.sha256(json.dumps(asdict(self.preparation), sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.digests).data)
        return digest.hexdigest()

    def subset(self, rows: Tensor) -> FileRows:
        """The given rows, in that order."""
        return FileRows([self.names[row] for row in rows.tolist()], self.digests[rows.numpy()], self.preparation)


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: cached_property keeps its value in __dict__
class Dataset:
    """Images with their labels, never modified: what is measured of them is measured once.

    Shapes: ``images`` uint8 ``[N, C, H, W]``; ``labels`` int64 ``[N]``; ``ids`` int64 ``[N]``, the number of each
    image in the set it was taken from, so that a subset sees the same views as the whole; ``coarse_labels`` int64
    ``[N]`` where the dataset has superclasses; ``files`` where the images come from files.
    """

    images: Images
    labels: Tensor
    ids: Tensor
    coarse_labels: Tensor | None = None
    files: FileRows | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Tensor) -> Dataset:
        """Copy the given rows (int64 ``[M]``), in that order.

        >>> import torch
        >>> images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
        >>> whole = Dataset(images=images, labels=torch.tensor([0, 1, 2]), ids=torch.arange(3))
        >>> whole.subset(torch.tensor([2, 0])).labels
        tensor([2, 0])
        """
        return Dataset(
            images=self.images[rows] if isinstance(self.images, Tensor) else self.images.subset(rows),
            labels=self.labels[rows],
            ids=self.ids[rows],
            coarse_labels=None if self.coarse_labels is None else self.coarse_labels[rows],
            files=self.files and self.files.subset(rows),
        )

    @cached_property
    def normalization(self) -> Normalization:
        """The mean and standard deviation of each channel; of very many files those of ``MEASURED`` of them."""
        if self.files is None or len(self) <= MEASURED:
            return Normalization.of(self.images)
        rows = permutation(len(self), 0, 5)[:MEASURED].sort().values
        return Normalization.of(self.subset(rows).images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what the images are, labels and ids.

        Of files: over the preparation and, for each, its name and the SHA-256 of its bytes; never over what a decoder
        made of them. Of arrays: over shapes and pixels.
        """
        digest = hashlib.sha256()
        parts = [self.labels, self.ids]
        if self.files is not None:
            digest.update(self.files.content_digest().encode())
            digest.update("\0".join(self.files.names).encode("utf-8", "surrogateescape"))
        else:
            assert isinstance(self.images, Tensor)
            parts.insert(0, self.images)
        for tensor in parts if self.coarse_labels is None else [*parts, self.coarse_labels]:
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What is known of a dataset without reading its images.

    ``holdout_size`` is the size of its validation set, 0 where it has none. ``notes`` are sentences on what the
    reader decided for the user, to be printed once before training; they decide nothing of what is learned.
    ``padding`` and ``flip`` are the default augmentation of its training images: how many pixels they may be shifted,
    and whether a mirrored image still belongs to its class. With ``margin`` training crops are cut out of larger
    images. ``mark`` says how the images differ from those of the official set that they stand for; it is empty for
    the official set and for sets without one, and a part of the fingerprint.
    """

    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    train_size: int
    test_size: int
    holdout_size: int = 0
    coarse_names: tuple[str, ...] = ()
    padding: int = 4
    flip: bool = True
    margin: bool = False
    notes: tuple[str, ...] = ()
    mark: str = ""

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """A loaded dataset: training set, test set and, where there is one, the validation set (``holdout``).

    The holdout is the dataset's own validation set, or was taken out of the training set on request.
    """

    info: DatasetInfo
    train: Dataset
    test: Dataset
    holdout: Dataset | None = None
    fingerprint: str = field(default="")


def batches_of(images: Images, size: int) -> Iterator[Tensor]:
    """The images in batches of ``size``, in order: uint8 ``[B, C, H, W]``."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
