"""The layout of the official archives of CIFAR-10 and CIFAR-100: file names, entries and checksums."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.data.dataset import DatasetInfo
from tutelage.data.official import OFFICIAL
from tutelage.errors import unknown

_SITE = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a dataset's parts are in its official archive; ``labels`` and ``coarse`` are entries of its pickles."""

    info: DatasetInfo
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    label_names: str
    coarse: str = ""
    coarse_names: str = ""
    url: str
    md5: str

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, without the folder."""
        return (self.meta, *self.train, *self.test)

    @property
    def archive(self) -> str:
        """The name of its official archive."""
        return self.url.rpartition("/")[2]


_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""


def _info(names: str, coarse_names: str = "") -> DatasetInfo:
    return DatasetInfo(
        class_names=tuple(names.split()),
        coarse_names=tuple(coarse_names.split()),
        channels=3,
        height=32,
        width=32,
        train_size=50_000,
        test_size=10_000,
    )


LAYOUTS = {
    "cifar10": Layout(
        info=_info("airplane automobile bird cat deer dog frog horse ship truck"),
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test=("test_batch",),
        meta="batches.meta",
        labels="labels",
        label_names="label_names",
        url=_SITE + "cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Layout(
        info=_info(_FINE, _COARSE),
        folder="cifar-100-python",
        train=("train",),
        test=("test",),
        meta="meta",
        labels="fine_labels",
        label_names="fine_label_names",
        coarse="coarse_labels",
        coarse_names="coarse_label_names",
        url=_SITE + "cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
    ),
}


def layout_of(name: str) -> Layout:
    """The layout of a dataset.

    Errors: ``ValueError`` for a name without one.

    >>> layout_of("cifar100").archive
    'cifar-100-python.tar.gz'
    """
    if name not in LAYOUTS:
        raise unknown("dataset", name, (*LAYOUTS, *OFFICIAL), hint="these are the datasets that can be imported")
    return LAYOUTS[name]
