"""Tolerant teachers (arXiv 1805.05551, version 1): Table 1, and the runs behind Figure 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tutelage.experiments.spec import (
    LAST_EPOCH,
    NUMBER_OF_RUNS,
    Experiment,
    Link,
    Remark,
    Unavailable,
    experiment_study,
    missing_requirement,
    remarks,
    slug,
)
from tutelage.lineage import Lineage
from tutelage.published import PublishedCell, cells
from tutelage.recipes.baselines import baseline
from tutelage.recipes.born_again import born_again
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.tolerant import tolerant

PAPER = "1805.05551"
MODELS = {"DenseNet-100": "densenet_bc_100_12", "DenseNet-190": "densenet_bc_190_40"}
RESNET_DEPTHS = (20, 32, 44, 56, 110)
TEACHER_WEIGHTS = {"D(0.6, 0.6)": 0.6, "D(0.6, 0.7)": 0.7}
ENSEMBLE_SUFFIX = ", ensemble"

DENSENETS = (
    "whether the DenseNets are of the BC kind, and the growth of DenseNet-190; here BC and 40, as the baselines say",
    "what an ensemble averages, and whether generation 0 is in it; here probabilities, and it is",
)
QUOTED_BASELINE = Remark(
    text="the paper quotes its baseline from another repository and calls its own slightly worse", arms=("baseline",)
)


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of this paper."""
    for network in MODELS:
        yield _densenet(network)
    for depth in RESNET_DEPTHS:
        yield _resnet(depth)
    yield Unavailable(name="tolerant/table-2/resnet18", reason=missing_requirement(images="ILSVRC2012"))


def _tolerant_arms(options: CommonOptions) -> Iterator[Lineage]:
    for arm, weight in TEACHER_WEIGHTS.items():
        yield replace(tolerant(options, teacher_weight=weight), name=arm)


def _densenet(network: str) -> Experiment:
    """A network of Table 1."""
    name = f"tolerant/table-1/{slug(network)}"
    # The rest is the default schedule's: Nesterov momentum 0.9 and weight decay 1e-4, the paper's for both families.
    options = CommonOptions(model=MODELS[network], data="cifar100", epochs=300, batch_size=64, lr=0.1)
    printed = [cell for cell in cells(PAPER, "1") if cell.row.startswith(network)]
    return Experiment(
        name=name,
        description=f"{network} on CIFAR-100: plain, and five generations after a tolerant patriarch",
        study=experiment_study(name, [baseline(options), *_tolerant_arms(options)], reference="baseline"),
        links=tuple(_link(cell, cell.row.removeprefix(f"{network}, ")) for cell in printed),
        differences=(QUOTED_BASELINE,),
        unknowns=remarks(*DENSENETS, NUMBER_OF_RUNS, LAST_EPOCH),
    )


def _link(cell: PublishedCell, arm: str) -> Link:
    return Link(
        arm=arm.removesuffix(ENSEMBLE_SUFFIX),
        place=int(cell.column.removeprefix("gen ")),
        cell=cell,
        ensemble=arm.endswith(ENSEMBLE_SUFFIX),
    )


def _resnet(depth: int) -> Experiment:
    """A network of Figure 2, whose numbers were not found."""
    name = f"tolerant/figure-2/resnet-{depth}"
    options = CommonOptions(model=f"resnet{depth}", data="cifar100", epochs=164, batch_size=128, lr=0.1)
    strict = replace(born_again(options, generations=5, form="labels", teacher_weight=0.5), name="D(1.0, 0.5)")
    arms = [baseline(options), strict, *_tolerant_arms(options)]
    return Experiment(
        name=name,
        description=f"ResNet-{depth} on CIFAR-100: plain, born-again and tolerant, five generations each",
        study=experiment_study(name, arms, reference="baseline"),
        unknowns=remarks(
            "which weights the figure sweeps (the text says 0.5), and on which images; here 0.5 after a strict "
            "teacher, 0.6 and 0.7 after a tolerant one, as in Table 1, and CIFAR-100",
            NUMBER_OF_RUNS,
            LAST_EPOCH,
        ),
    )
