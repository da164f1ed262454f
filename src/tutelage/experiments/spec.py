"""What an experiment is, and what its files share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tutelage.data.load import names as data_names
from tutelage.lineage import Generation, Lineage
from tutelage.models.build import names as model_names
from tutelage.published import Cell
from tutelage.study import Study
from tutelage.training import Schedule

ONE_RUN = "how many runs a printed number is the mean of; here as many as seeds are asked for, one by default"
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
LAST_EPOCH = "which epoch a printed number is of; here the last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A result and the printed number it belongs beside: generation ``place`` of an arm, in the cell's metric.

    With ``ensemble``, the mean of the probabilities of generations 0 to ``place``.
    """

    arm: str
    place: int
    cell: Cell
    ensemble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence about some arms of an experiment, about all of them by default."""

    text: str
    arms: tuple[str, ...] = ()

    def about(self, arm: str) -> bool:
        """Whether it speaks of this arm."""
        return not self.arms or arm in self.arms


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An experiment, or an arm of one, that tutelage cannot run, and what it would need."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A study as a paper ran it, and the numbers the paper printed.

    ``differs`` says where the study departs from the paper even at full length; ``unknown`` what is not known of the
    paper's runs, with what is done here; ``left_out`` which of the table's arms tutelage does not have.
    """

    name: str
    about: str
    study: Study
    links: tuple[Link, ...] = ()
    differs: tuple[Remark, ...] = ()
    unknown: tuple[Remark, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __post_init__(self) -> None:
        sizes = {lineage.name: len(lineage.generations) for lineage in self.study.lineages}
        for link in self.links:
            assert 0 <= link.place < sizes[link.arm], link
        for remark in (*self.differs, *self.unknown):
            assert set(remark.arms) <= set(sizes), remark


def remarks(*said: str | Remark) -> tuple[Remark, ...]:
    """Sentences about all arms, beside remarks about some."""
    return tuple(Remark(text=one) if isinstance(one, str) else one for one in said)


def among(names: Sequence[str], *said: tuple[str, Sequence[str]]) -> tuple[Remark, ...]:
    """Sentences, each about those of its arms that are among ``names``; none about nobody.

    >>> [remark.arms for remark in among(("KD", "AB"), ("first", ("AB", "FSP")), ("second", ("FSP",)))]
    [('AB',)]
    """
    found = ((text, tuple(one for one in arms if one in names)) for text, arms in said)
    return tuple(Remark(text=text, arms=arms) for text, arms in found if arms)


def study(name: str, arms: Iterable[Lineage], seeds: Sequence[int] = (0,), reference: str | None = None) -> Study:
    """An experiment's study, which carries its name."""
    return Study(lineages=tuple(arms), seeds=tuple(seeds), reference=reference, title=name.replace("/", " "))


def arm(name: str, lineage: Lineage, schedule: Callable[[Generation], Schedule]) -> Lineage:
    """A lineage under an arm's name, each generation on its own schedule."""
    generations = tuple(replace(one, schedule=schedule(one)) for one in lineage.generations)
    return replace(lineage, name=name, generations=generations)


def slug(text: str) -> str:
    """Text as a part of an experiment's name.

    >>> slug("ResNet18, plain CNN"), slug("6 to 8, Tiny-ImageNet")
    ('resnet18-plain-cnn', '6-to-8-tiny-imagenet')
    """
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")


def lacking(*, networks: Iterable[str] = (), images: str = "") -> str:
    """What of this tutelage does not have, as a reason; nothing where it has all of it.

    >>> lacking(networks=("resnet20", "wrn_16_8"))
    'it needs the network wrn_16_8, which tutelage does not have'
    >>> lacking(networks=("resnet20",), images="cifar100")
    ''
    """
    if images and images not in data_names():
        *first, last = data_names()
        return f"it needs the images of {images}; tutelage has {', '.join(first)} and {last}"
    missing = [name for name in networks if name not in model_names()]
    if missing:
        return f"it needs the network {' and '.join(missing)}, which tutelage does not have"
    return ""
