"""Tolerant teachers (arXiv 1805.05551, version 1): Table 1, and the runs behind Figure 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tutelage.experiments.spec import (
    LAST_EPOCH,
    ONE_RUN,
    Experiment,
    LeftOut,
    Link,
    Remark,
    lacking,
    remarks,
    slug,
    study,
)
from tutelage.published import Cell, cells
from tutelage.recipes.baselines import baseline
from tutelage.recipes.born_again import born_again
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.tolerant import tolerant

PAPER = "1805.05551"
NETWORKS = {"DenseNet-100": "densenet_bc_100_12", "DenseNet-190": "densenet_bc_190_40"}
DEPTHS = (20, 32, 44, 56, 110)
WEIGHTS = {"D(0.6, 0.6)": 0.6, "D(0.6, 0.7)": 0.7}
ENSEMBLE = ", ensemble"

DENSENETS = (
    "momentum and weight decay of the DenseNets; here those of the ResNets, 0.9 (Nesterov) and 1e-4",
    "whether the DenseNets are of the BC kind, and the growth of DenseNet-190; here BC and 40, as the baselines say",
    "what an ensemble averages, and whether generation 0 is in it; here probabilities, and it is",
)
QUOTED = Remark(
    text="the paper quotes its baseline from another repository and calls its own slightly worse", arms=("baseline",)
)


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of this paper."""
    for network in NETWORKS:
        yield _densenet(network)
    for depth in DEPTHS:
        yield _figure(depth)
    yield LeftOut(name="tolerant/table-2/resnet18", reason=lacking(images="ILSVRC2012"))


def _densenet(network: str) -> Experiment:
    name = f"tolerant/table-1/{slug(network)}"
    setting = CommonOptions(model=NETWORKS[network], data="cifar100", epochs=300, batch_size=64, lr=0.1)
    lineages = [
        baseline(setting),
        *(replace(tolerant(setting, teacher_weight=weight), name=arm) for arm, weight in WEIGHTS.items()),
    ]
    printed = [cell for cell in cells(PAPER, "1") if cell.row.startswith(network)]
    return Experiment(
        name=name,
        about=f"{network} on CIFAR-100: plain, and five generations after a tolerant patriarch",
        study=study(name, lineages, reference="baseline"),
        links=tuple(_link(cell, cell.row.removeprefix(f"{network}, ")) for cell in printed),
        differs=(QUOTED,),
        unknown=remarks(*DENSENETS, ONE_RUN, LAST_EPOCH),
    )


def _link(cell: Cell, arm: str) -> Link:
    return Link(
        arm=arm.removesuffix(ENSEMBLE),
        place=int(cell.column.removeprefix("gen ")),
        cell=cell,
        ensemble=arm.endswith(ENSEMBLE),
    )


def _figure(depth: int) -> Experiment:
    name = f"tolerant/figure-2/resnet-{depth}"
    setting = CommonOptions(model=f"resnet{depth}", data="cifar100", epochs=164, batch_size=128, lr=0.1)
    strict = replace(born_again(setting, generations=5, form="labels", teacher_weight=0.5), name="D(1.0, 0.5)")
    lineages = [
        baseline(setting),
        strict,
        *(replace(tolerant(setting, teacher_weight=weight), name=arm) for arm, weight in WEIGHTS.items()),
    ]
    return Experiment(
        name=name,
        about=f"ResNet-{depth} on CIFAR-100: plain, born-again and tolerant, five generations each",
        study=study(name, lineages, reference="baseline"),
        unknown=remarks(
            "which weights the figure sweeps, and on which images; here 0.6 and 0.7, as the text says, and CIFAR-100",
            ONE_RUN,
            LAST_EPOCH,
        ),
    )
