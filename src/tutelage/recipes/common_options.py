"""The ground every recipe stands on: which network, which images, how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tutelage.data import CropFlip, DataConfig, DatasetInfo, TurnedCropFlip
from tutelage.data.load import facts
from tutelage.errors import unknown
from tutelage.lineage import Generation, Lineage
from tutelage.methods.hinton import labels_only
from tutelage.models.build import constructor
from tutelage.objective import Objective
from tutelage.paths import data_folder
from tutelage.training import OneCycle, Schedule

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """What every recipe can be told.

    Args:
        model: The network: one of `tutelage list models`, package.module:function or file.py:function.
            By default resnet8 for the digits and resnet20 otherwise.
        data: The images: one of `tutelage list data`, an .npz file or a folder of images.
        train_size: How many training images to keep; all by default (300 of the digits).
        epochs: How often each training image is seen; 200 for the digits and 164 otherwise by default.
        batch_size: Images a step; 64 for the digits and 128 otherwise by default.
        lr: The highest learning rate; 0.1 by default.
        rotation: Turn training images by up to so many degrees either way; not at all by default.
        holdout: How many training images to set aside as a validation set.
        test_size: How many test images to keep; all by default, and what any result should be measured on.
    """

    model: str | None = None
    data: str = "digits"
    train_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    rotation: float = 0.0
    holdout: int = 0
    test_size: int | None = None

    def facts(self) -> DatasetInfo:
        """What is known of the images without reading them."""
        return facts(self.images(), data_folder())

    def images(self) -> DataConfig:
        """The description of the images."""
        return DataConfig(name=self.data, train_size=self.train_size, holdout=self.holdout, test_size=self.test_size)

    def views(self) -> CropFlip:
        """How training images are moved."""
        found = self.facts()
        if self.rotation:
            return TurnedCropFlip(padding=found.padding, flip=found.flip, degrees=self.rotation)
        return CropFlip(padding=found.padding, flip=found.flip)

    def network(self, chosen: str | None = None, larger: bool = False) -> str:
        """The network's name: ``chosen``, else this setting's, else the default, or one ``larger`` for a teacher.

        Errors: ``ValueError`` for a name that does not exist.
        """
        small, large = ("resnet8", "resnet20") if self.data == "digits" else ("resnet20", "resnet56")
        name = chosen or (large if larger else self.model or small)
        constructor(name)
        return name

    def schedule(self) -> Schedule:
        """How long and how fast: the paper's schedule for CIFAR, a short one for the digits."""
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
        """One generation in this setting."""
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
        """A lineage in this setting."""
        return Lineage(name=name, data=self.images(), views=self.views(), generations=generations)

    def taught(self, name: str, teacher: str | None, objective: Objective) -> Lineage:
        """The common lineage of two: a (by default larger) teacher trained on the labels, and its student."""
        return self.lineage(
            name,
            self.generation("teacher", labels_only(), model=self.network(teacher, larger=True)),
            self.generation("student", objective, teachers=(0,)),
        )


def chosen(kind: str, given: str, choices: Mapping[str, Choice]) -> Choice:
    """One of several by name.

    Errors: ``ValueError`` with the nearest names.

    >>> chosen("form", "paper", {"paper": 1, "official": 2})
    1
    """
    if given not in choices:
        raise unknown(kind, given, choices)
    return choices[given]


def later(generations: int) -> range:
    """The numbers of the generations after the first.

    Errors: ``ValueError`` for a negative count.

    >>> list(later(2))
    [1, 2]
    """
    if generations < 0:
        raise ValueError(f"generations must be at least 0, not {generations}")
    return range(1, generations + 1)
