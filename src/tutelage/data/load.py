"""Load a dataset by its name or path."""

from __future__ import annotations

from pathlib import Path

from tutelage.data.cifar import load_cifar
from tutelage.data.dataset import DataConfig, DatasetInfo, Splits
from tutelage.data.decode_cache import decode_once
from tutelage.data.digits import digits_info, load_digits
from tutelage.data.folder import read_folder
from tutelage.data.layouts import LAYOUTS
from tutelage.data.locate import import_advice
from tutelage.data.npz import read_npz
from tutelage.data.splits import subset_info, subset_splits
from tutelage.engine import release_freed_memory
from tutelage.errors import unknown


def dataset_names() -> tuple[str, ...]:
    """The datasets known by name.

    >>> dataset_names()
    ('digits', 'cifar10', 'cifar100')
    """
    return ("digits", *LAYOUTS)


def load(config: DataConfig, root: Path) -> Splits:
    """Load a dataset: one known by name (stored below ``root``), else an ``.npz`` file, else a folder of images.

    Of the digits, ``train_size`` are the training set and all others the test set; every other dataset has a fixed
    test set, and ``train_size`` keeps a part of its training set. ``test_size`` keeps a part of the test set. The
    ``ids`` are row numbers of the dataset as it was before that.

    Files and folders are decoded once per process as long as they stay unchanged (see ``decode_cache``), and their
    tensors are shared: do not modify them.

    Errors: ``ValueError`` for an unknown name, sizes that do not fit, and files that cannot be used.

    >>> splits = load(DataConfig(name="digits", train_size=300, holdout=50), Path("unused"))
    >>> len(splits.train), len(splits.holdout), len(splits.test)
    (250, 50, 1497)
    """
    splits = _load(config, root)
    release_freed_memory()
    return splits


def _load(config: DataConfig, root: Path) -> Splits:
    if config.name == "digits":
        return subset_splits(load_digits(config.train_size), None, config.holdout, config.test_size)
    if config.name in LAYOUTS:
        dataset_info(config, root)  # report sizes that do not fit before reading any image
        return subset_splits(load_cifar(config.name, root), config.train_size, config.holdout, config.test_size)
    return subset_splits(_read_path(config.name), config.train_size, config.holdout, config.test_size)


def dataset_info(config: DataConfig, root: Path) -> DatasetInfo:
    """Describe the dataset that :func:`load` would return; datasets known by name need not be on disk.

    Errors: those of :func:`load`.

    >>> dataset_info(DataConfig(name="cifar100", holdout=5000), Path("unused")).train_size
    45000
    """
    if config.name == "digits":
        return subset_info(digits_info(config.train_size), None, config.holdout, config.test_size)
    if config.name in LAYOUTS:
        return subset_info(LAYOUTS[config.name].info, config.train_size, config.holdout, config.test_size)
    return subset_info(_read_path(config.name).info, config.train_size, config.holdout, config.test_size)


def _read_path(name: str) -> Splits:
    path = Path(name)
    try:
        is_npz, is_folder = path.suffix == ".npz" and path.is_file(), bool(name) and path.is_dir()
    except OSError:  # for instance a name too long for a path
        is_npz = is_folder = False
    if is_npz:
        return decode_once(path, read_npz)
    if name and (advice := import_advice(path)):
        raise ValueError(advice)
    if is_folder:
        return decode_once(path, read_folder)
    raise unknown("dataset", name, dataset_names(), hint="or give the path of an .npz file or of a folder of images")
