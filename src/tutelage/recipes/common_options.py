"""The options that every recipe has: which network, which images, how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tutelage.data import CropFlip, DataConfig, DatasetInfo, MarginCrop, Rotated, Views
from tutelage.data.load import array_names, dataset_info
from tutelage.data.preparation import Resize
from tutelage.errors import unknown
from tutelage.lineage import Generation, Lineage
from tutelage.methods.hinton import labels_only
from tutelage.models.build import constructor, input_size
from tutelage.objective import Objective
from tutelage.paths import data_folder
from tutelage.training import OneCycle, Schedule

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """The options that every recipe has, and the parts of a lineage that follow from them.

    Args:
        model: The network: one of `tutelage list models`, package.module:function or file.py:function.
            By default resnet8 for the digits and resnet20 otherwise.
        data: The images: one of `tutelage list data`, an .npz file, or a folder, .tar or .zip of images.
        train_size: The number of training images to use; all by default (300 of the digits).
        epochs: The number of passes over the training images; by default 200 for the digits and 164 otherwise.
        batch_size: Images per step; by default 64 for the digits and 128 otherwise.
        lr: The highest learning rate; 0.1 by default.
        image_size: The side of the square that a network is shown of image files, in pixels. By default files that
            all are one square of at most 64 keep their size; networks for small images get 64, others the largest
            of 32, 64, 96, 128, 160 and 224 that half of the files have.
        resize: How image files become that size: shorter (its shorter side, then crops), squash (both sides, the
            aspect is lost) or letterbox (its longer side, on black).
        crop_padding: Pixels of black border from which training crops are cut; by default 4, 1 for images below 24
            pixels, and none where crops are cut out of larger images. 0 with --no-flip shows such images as they are.
        skip_broken: Go on without image files that cannot be read or decoded; their number is recorded.
        flip: Show training images mirrored half of the time; by default unless all images are gray.
        rotation: Rotate training images by up to this many degrees either way; 0 by default.
        holdout: The number of training images to set aside as a validation set.
        test_size: The number of test images to use; all by default, as any result to be reported needs.
    """

    model: str | None = None
    data: str = "digits"
    train_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    image_size: int | None = None
    resize: Resize = "shorter"
    crop_padding: int | None = None
    skip_broken: bool = False
    flip: bool | None = None
    rotation: float = 0.0
    holdout: int = 0
    test_size: int | None = None

    def dataset_info(self) -> DatasetInfo:
        """What is known of the dataset without reading its images."""
        return dataset_info(self.data_config(), data_folder())

    def data_config(self, networks: tuple[str, ...] = ()) -> DataConfig:
        """Which images are used for what; files are prepared at the largest size that a network is made for."""
        return DataConfig(
            name=self.data,
            train_size=self.train_size,
            holdout=self.holdout,
            test_size=self.test_size,
            image_size=self.image_size,
            resize=self.resize,
            network_size=None if self.data in array_names() else _largest(networks or (self.network(),)),
            skip_broken=self.skip_broken,
        )

    def views(self, info: DatasetInfo) -> Views:
        """The augmentation of training images."""
        padding = info.padding if self.crop_padding is None else self.crop_padding
        flip = info.flip if self.flip is None else self.flip
        views: Views = (MarginCrop if info.margin else CropFlip)(padding=padding, flip=flip)
        return Rotated(of=views, degrees=self.rotation) if self.rotation else views

    def network(self, name: str | None = None, larger: bool = False) -> str:
        """The name of a network: ``name``, else ``model``, else the default; if ``larger``, the default of a teacher.

        Errors: ``ValueError`` for a network that does not exist.
        """
        small, large = ("resnet8", "resnet20") if self.data == "digits" else ("resnet20", "resnet56")
        network = name or (large if larger else self.model or small)
        constructor(network)
        return network

    def schedule(self) -> Schedule:
        """The schedule of arXiv 1805.05551 for CIFAR, or a short one for the digits, with the options' values."""
        digits = Schedule(epochs=200, batch_size=64, decay=OneCycle(), weight_decay=5e-4)
        base = digits if self.data == "digits" else Schedule()
        return replace(
            base,
            epochs=base.epochs if self.epochs is None else self.epochs,
            batch_size=base.batch_size if self.batch_size is None else self.batch_size,
            lr=base.lr if self.lr is None else self.lr,
        )

    def generation(
        self,
        name: str,
        objective: Objective,
        *,
        teachers: tuple[int, ...] = (),
        model: str | None = None,
        schedule: Schedule | None = None,
        teacher_shares: tuple[float, ...] = (),
        weights: str | None = None,
    ) -> Generation:
        """A generation, with the network and the schedule of these options unless others are passed."""
        return Generation(
            name=name,
            model=self.network(model),
            objective=objective,
            schedule=schedule or self.schedule(),
            teachers=teachers,
            teacher_shares=teacher_shares,
            weights=weights,
        )

    def lineage(self, name: str, *generations: Generation) -> Lineage:
        """A lineage of these generations, on the images of these options."""
        data = self.data_config(tuple(generation.model for generation in generations))
        views = self.views(dataset_info(data, data_folder()))
        return Lineage(name=name, data=data, views=views, generations=generations)

    def teacher_student(self, name: str, teacher: str | None, objective: Objective) -> Lineage:
        """A lineage of two: a teacher trained on the labels (by default a larger network), and its student."""
        return self.lineage(
            name,
            self.generation("teacher", labels_only(), model=self.network(teacher, larger=True)),
            self.generation("student", objective, teachers=(0,)),
        )


def _largest(networks: tuple[str, ...]) -> int | None:
    sizes = [size for size in map(input_size, networks) if size is not None]
    return max(sizes, default=None)


def choose(kind: str, name: str, choices: Mapping[str, Choice]) -> Choice:
    """One of several choices, by name; ``kind`` is what the error calls them.

    Errors: ``ValueError`` with the nearest names.

    >>> choose("form", "paper", {"paper": 1, "official": 2})
    1
    """
    if name not in choices:
        raise unknown(kind, name, choices)
    return choices[name]


def later_generations(count: int) -> range:
    """The places of ``count`` generations after the first.

    Errors: ``ValueError`` for a negative count.

    >>> list(later_generations(2))
    [1, 2]
    """
    if count < 0:
        raise ValueError(f"generations must be at least 0, not {count}")
    return range(1, count + 1)
