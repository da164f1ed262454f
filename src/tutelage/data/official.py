"""ILSVRC2012, Tiny ImageNet and CINIC-10: what the official sets contain, and where to get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.data.dataset import DataConfig, DatasetInfo
from tutelage.data.file_splits import prepared_info
from tutelage.data.preparation import OWN_SIZE, Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """An official set: images by set, its classes, the size of its images, and where to get it.

    ``size`` is that of all files where they are small squares, else the one that networks are usually shown.
    """

    title: str
    sizes: Mapping[str, int]
    num_classes: int
    class_names: tuple[str, ...] = ()
    """Empty where they are the numbers of WordNet."""
    size: int
    source: str

    @property
    def nouns(self) -> dict[str, str]:
        """What its authors call each set: the validation set is the test set where that has no labels."""
        test = "test" if "holdout" in self.sizes else "validation"
        return {"train": "training", "holdout": "validation", "test": test}


OFFICIAL: Mapping[str, Official] = {
    "ilsvrc2012": Official(
        title="ILSVRC2012",
        sizes={"train": 1_281_167, "test": 50_000},
        num_classes=1000,
        size=224,
        source="https://image-net.org gives it out after registration (ILSVRC2012_img_train.tar with a tar for each "
        "class, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz)",
    ),
    "tiny-imagenet": Official(
        title="Tiny ImageNet-200",
        sizes={"train": 100_000, "test": 10_000},
        num_classes=200,
        size=64,
        source="it is at http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    "cinic10": Official(
        title="CINIC-10",
        sizes={"train": 90_000, "holdout": 90_000, "test": 90_000},
        num_classes=10,
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        size=32,
        source="it is at https://datashare.ed.ac.uk/handle/10283/3192",
    ),
}


def mark(name: str, sizes: Mapping[str, int], num_classes: int) -> str:
    """How the counts of a set differ from the official ones, in one sentence; empty where they do not.

    >>> mark("ilsvrc2012", {"train": 1000, "test": 50_000}, 1000)
    '1,000 of 1,281,167 training images: not ILSVRC2012'
    >>> mark("cinic10", {"train": 90_000, "holdout": 100, "test": 90_001}, 10)
    '100 of 90,000 validation images: not CINIC-10 (90,001 instead of 90,000 test images)'
    >>> mark("tiny-imagenet", {"train": 100_000, "test": 10_000}, 200)
    ''
    """
    official = OFFICIAL[name]
    counts = [(sizes.get(role, 0), size, f"{official.nouns[role]} images") for role, size in official.sizes.items()]
    counts.append((num_classes, official.num_classes, "classes"))
    first, *others = [
        f"{count:,} {'of' if count < expected else 'instead of'} {expected:,} {noun}"
        for count, expected, noun in counts
        if count != expected
    ] or [""]
    rest = f" ({', '.join(others)})" if others else ""
    return f"{first}: not {official.title}{rest}" if first else ""


def official_info(name: str, config: DataConfig) -> DatasetInfo:
    """Describe an official set that is not on this machine; the names of its classes may be unknown then.

    >>> info = official_info("ilsvrc2012", DataConfig(name="ilsvrc2012"))
    >>> info.train_size, info.num_classes, info.height, info.margin
    (1281167, 1000, 224, True)
    """
    official = OFFICIAL[name]
    own = official.size if official.size <= OWN_SIZE else None
    size = config.image_size or own or config.network_size or official.size
    preparation = Preparation(size=size, channels=3, resize=config.resize, side=size if size == own else 0)
    names = official.class_names or tuple(f"class {number + 1}" for number in range(official.num_classes))
    return prepared_info(preparation, names, official.sizes)
