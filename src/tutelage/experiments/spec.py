"""The types that describe an experiment, and the helpers that the papers' files share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tutelage.data.load import array_names
from tutelage.lineage import Generation, Lineage
from tutelage.models.build import names as model_names
from tutelage.published import PublishedCell
from tutelage.study import Study
from tutelage.training import Schedule

NUMBER_OF_RUNS = "how many runs a printed number averages; here as many as there are seeds, one by default"
DATASET_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
LAST_EPOCH = "which epoch a printed number is from; here the last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A printed number and the result that stands beside it: generation ``place`` of an arm, in the cell's metric.

    With ``ensemble``, the result is the mean of the probabilities of generations 0 to ``place``.
    """

    arm: str
    place: int
    cell: PublishedCell
    ensemble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence about some arms of an experiment; about all of them if ``arms`` is empty."""

    text: str
    arms: tuple[str, ...] = ()

    def concerns(self, arm: str) -> bool:
        """Whether the remark is about this arm."""
        return not self.arms or arm in self.arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """An experiment, or an arm of one, that tutelage cannot run, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A study as a paper ran it, with the numbers that the paper printed.

    ``differences`` are the ways in which the study departs from the paper even at full length; ``unknowns`` are what
    is not known of the paper's runs, each with the choice made here; ``unavailable_arms`` are the arms of the table
    that tutelage cannot train.
    """

    name: str
    description: str
    study: Study
    links: tuple[Link, ...] = ()
    differences: tuple[Remark, ...] = ()
    unknowns: tuple[Remark, ...] = ()
    unavailable_arms: tuple[Unavailable, ...] = ()

    def __post_init__(self) -> None:
        lengths = {lineage.name: len(lineage.generations) for lineage in self.study.lineages}
        for link in self.links:
            assert 0 <= link.place < lengths[link.arm], link
        for remark in (*self.differences, *self.unknowns):
            assert set(remark.arms) <= set(lengths), remark


def remarks(*entries: str | Remark) -> tuple[Remark, ...]:
    """Remarks from sentences about all arms, and from remarks as they are.

    >>> [remark.arms for remark in remarks("first", Remark(text="second", arms=("KD",)))]
    [(), ('KD',)]
    """
    return tuple(Remark(text=entry) if isinstance(entry, str) else entry for entry in entries)


def remarks_about(arms: Sequence[str], *entries: tuple[str, Sequence[str]]) -> tuple[Remark, ...]:
    """Remarks from sentences and the arms they concern, as far as these are among ``arms``.

    A sentence that concerns none of the arms is dropped.

    >>> [remark.arms for remark in remarks_about(("KD", "AB"), ("first", ("AB", "FSP")), ("second", ("FSP",)))]
    [('AB',)]
    """
    present = ((text, tuple(arm for arm in concerned if arm in arms)) for text, concerned in entries)
    return tuple(Remark(text=text, arms=concerned) for text, concerned in present if concerned)


def experiment_study(
    name: str, arms: Iterable[Lineage], seeds: Sequence[int] = (0,), reference: str | None = None
) -> Study:
    """The study of an experiment, titled with the experiment's name."""
    return Study(lineages=tuple(arms), seeds=tuple(seeds), reference=reference, title=name.replace("/", " "))


def scheduled_arm(name: str, lineage: Lineage, schedule: Callable[[Generation], Schedule]) -> Lineage:
    """A lineage under the arm's name, with the schedule that ``schedule`` returns for each generation."""
    generations = tuple(replace(generation, schedule=schedule(generation)) for generation in lineage.generations)
    return replace(lineage, name=name, generations=generations)


def slug(text: str) -> str:
    """Text as a part of an experiment's name: lower case, digits, hyphens and underscores.

    >>> slug("ResNet18, plain CNN"), slug("6 to 8, Tiny-ImageNet")
    ('resnet18-plain-cnn', '6-to-8-tiny-imagenet')
    """
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")


def missing_requirement(*, networks: Iterable[str] = (), images: str = "") -> str:
    """The reason why tutelage cannot run something with these networks and images; empty if it can.

    >>> missing_requirement(networks=("resnet20", "wrn_16_8"))
    'it needs the network wrn_16_8, which tutelage does not have'
    >>> missing_requirement(networks=("resnet20",), images="cifar100")
    ''
    """
    if images and images not in array_names():
        *first, last = array_names()
        return f"it needs the images of {images}; experiments use {', '.join(first)} and {last}"
    missing = [name for name in networks if name not in model_names()]
    if missing:
        return f"it needs the network {' and '.join(missing)}, which tutelage does not have"
    return ""
