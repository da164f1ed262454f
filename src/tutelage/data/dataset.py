"""The values of the data package: a dataset's configuration, its description, and its images in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from tutelage.data.normalization import Normalization


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which images to train and test on; the part of a configuration that names them.

    ``name`` is a dataset known to tutelage (``digits``, ``cifar10``, ``cifar100``), the path of an ``.npz`` file, or
    the path of a folder of images. ``train_size`` and ``test_size`` keep that many training and test images, with the
    class shares of the whole; ``holdout`` takes that many out of the training set as a validation set, unless the
    dataset has a validation set of its own.

    >>> DataConfig(name="digits", train_size=300)
    DataConfig(name='digits', train_size=300, holdout=0, test_size=None)
    """

    name: str = "digits"
    train_size: int | None = None
    holdout: int = 0
    test_size: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: cached_property keeps its value in __dict__
class Dataset:
    """Images with their labels, held in memory and never modified: what is measured of them is measured once.

    Shapes: ``images`` uint8 ``[N, C, H, W]``; ``labels`` int64 ``[N]``; ``ids`` int64 ``[N]``, the number of each
    image in the set it was taken from, so that a subset sees the same views as the whole; ``coarse_labels`` int64
    ``[N]`` where the dataset has superclasses.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    coarse_labels: Tensor | None = None

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
            images=self.images[rows],
            labels=self.labels[rows],
            ids=self.ids[rows],
            coarse_labels=None if self.coarse_labels is None else self.coarse_labels[rows],
        )

    @cached_property
    def normalization(self) -> Normalization:
        """The mean and standard deviation of each channel."""
        return Normalization.of(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, images, labels and ids."""
        digest = hashlib.sha256()
        parts = [self.images, self.labels, self.ids]
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
    and whether a mirrored image still belongs to its class.
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
    notes: tuple[str, ...] = ()

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
