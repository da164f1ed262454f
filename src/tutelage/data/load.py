"""From the name of a dataset to its images."""

from __future__ import annotations

from pathlib import Path

from tutelage.data.cifar import load_cifar
from tutelage.data.dataset import DataConfig, DatasetInfo, Splits
from tutelage.data.digits import digits_facts, load_digits
from tutelage.data.folder import read_folder
from tutelage.data.layouts import LAYOUTS
from tutelage.data.npz import read_npz
from tutelage.data.splits import narrow, narrowed
from tutelage.engine import give_back_freed_memory
from tutelage.errors import unknown


def names() -> tuple[str, ...]:
    """The datasets that are known by name.

    >>> names()
    ('digits', 'cifar10', 'cifar100')
    """
    return ("digits", *LAYOUTS)


def load(data: DataConfig, root: Path) -> Splits:
    """Load what ``data`` names: a known set (kept below ``root``), else an ``.npz`` file, else a folder of images.

    Of the digits, ``train_size`` are trained on and all others are the test set; elsewhere the test set is the
    official one and ``train_size`` a part of the training set. ``test_size`` keeps a part of the test set.
    The ``ids`` are row numbers of the set as it was before any of that.

    Errors: ``ValueError`` for an unknown name, sizes that do not fit, and what is wrong with the files.

    >>> splits = load(DataConfig(name="digits", train_size=300, holdout=50), Path("unused"))
    >>> len(splits.train), len(splits.holdout), len(splits.test)
    (250, 50, 1497)
    """
    splits = _load(data, root)
    give_back_freed_memory()
    return splits


def _load(data: DataConfig, root: Path) -> Splits:
    if data.name == "digits":
        return narrow(load_digits(data.train_size), None, data.holdout, data.test_size)
    if data.name in LAYOUTS:
        facts(data, root)  # sizes that do not fit are reported before any image is read
        return narrow(load_cifar(data.name, root), data.train_size, data.holdout, data.test_size)
    return narrow(_read_path(data.name), data.train_size, data.holdout, data.test_size)


def facts(data: DataConfig, root: Path) -> DatasetInfo:
    """What is known of ``data`` once loaded; the sets known by name need not be on disk for it.

    Errors: those of :func:`load`.

    >>> facts(DataConfig(name="cifar100", holdout=5000), Path("unused")).train_size
    45000
    """
    if data.name == "digits":
        return narrowed(digits_facts(data.train_size), None, data.holdout, data.test_size)
    if data.name in LAYOUTS:
        return narrowed(LAYOUTS[data.name].facts, data.train_size, data.holdout, data.test_size)
    return load(data, root).facts


def _read_path(name: str) -> Splits:
    path = Path(name)
    try:
        is_npz, is_folder = path.suffix == ".npz" and path.is_file(), bool(name) and path.is_dir()
    except OSError:  # such as a name too long for a path
        is_npz = is_folder = False
    if is_npz:
        return read_npz(path)
    if is_folder:
        return read_folder(path)
    raise unknown("dataset", name, names(), hint="the path of an .npz file or of a folder of images does too")
