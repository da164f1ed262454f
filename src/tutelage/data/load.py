"""Load a dataset by its name or path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tutelage.data.archives import examine_images, holds_files
from tutelage.data.cifar import load_cifar
from tutelage.data.dataset import DataConfig, DatasetInfo, Splits
from tutelage.data.decode_cache import FileCache, datasets
from tutelage.data.digits import digits_info, load_digits
from tutelage.data.file_splits import folder_info, folder_splits, preparation_of
from tutelage.data.folder import Photographs
from tutelage.data.idx import is_idx, read_idx
from tutelage.data.layouts import LAYOUTS
from tutelage.data.locate import import_advice
from tutelage.data.npz import read_npz
from tutelage.data.official import OFFICIAL, official_info
from tutelage.data.official_listing import table_state
from tutelage.data.official_place import Place, recognized
from tutelage.data.official_store import examine_place, imported, is_imported
from tutelage.data.pixel_map import Reading
from tutelage.data.splits import subset_info, subset_splits
from tutelage.engine import release_freed_memory
from tutelage.errors import unknown
from tutelage.progress import Progress, report

MAPS, INDEXES = "prepared", "indexes"
"""The folders, below that of the datasets, of what image files were prepared to and of what is known of them."""
_listings: FileCache[Photographs] = FileCache(4)


def dataset_names() -> tuple[str, ...]:
    """The datasets known by name.

    >>> dataset_names()
    ('digits', 'cifar10', 'cifar100', 'ilsvrc2012', 'tiny-imagenet', 'cinic10')
    """
    return (*array_names(), *OFFICIAL)


def array_names() -> tuple[str, ...]:
    """The datasets known by name whose images all have the size that they are stored in."""
    return ("digits", *LAYOUTS)


def load(config: DataConfig, root: Path, reading: Reading = Reading()) -> Splits:
    """Load a set: one known by name (stored below ``root``), a file of arrays, or image files in a folder or archive.

    Of the digits, ``train_size`` are the training set and all others the test set; every other dataset has a fixed
    test set, and ``train_size`` keeps a part of its training set. ``test_size`` keeps a part of the test set. The
    ``ids`` are row numbers of the dataset as it was before that.

    Files and folders are read once per process as long as they stay unchanged (see ``decode_cache``), and their
    tensors are shared: do not modify them. What image files are prepared to is kept below ``root``.

    Errors: ``ValueError`` for an unknown name, sizes that do not fit, and files that cannot be used.

    >>> splits = load(DataConfig(name="digits", train_size=300, holdout=50), Path("unused"))
    >>> len(splits.train), len(splits.holdout), len(splits.test)
    (250, 50, 1497)
    """
    splits = _load(config, root, reading)
    release_freed_memory()
    return splits


def _load(config: DataConfig, root: Path, reading: Reading) -> Splits:
    if config.name == "digits":
        return subset_splits(load_digits(config.train_size), None, config.holdout, config.test_size)
    if config.name in LAYOUTS:
        dataset_info(config, root)  # report sizes that do not fit before reading any image
        return subset_splits(load_cifar(config.name, root), config.train_size, config.holdout, config.test_size)
    return subset_splits(_read_path(config, root, reading), config.train_size, config.holdout, config.test_size)


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
    if config.name in OFFICIAL and not is_imported(config.name, root):
        return subset_info(official_info(config.name, config), config.train_size, config.holdout, config.test_size)
    return subset_info(_path_info(config, root), config.train_size, config.holdout, config.test_size)


def _read_path(config: DataConfig, root: Path, reading: Reading) -> Splits:
    path, read_arrays = _path(config, root)
    if read_arrays is not None:
        return datasets.once(path, read_arrays)

    def read(path: Path) -> Splits:
        photographs = _photographs(config, path, root, reading.progress)
        preparation = preparation_of(photographs, config)
        return folder_splits(photographs, preparation, root / MAPS, reading)

    official = config.name if config.name in OFFICIAL else ""
    shown = f"{official} {config.image_size} {config.resize} {config.network_size} {config.skip_broken}"
    return datasets.once(path, read, f"{shown} {reading.store} {reading.workers}")


def _path_info(config: DataConfig, root: Path) -> DatasetInfo:
    path, read_arrays = _path(config, root)
    if read_arrays is not None:
        return datasets.once(path, read_arrays).info
    photographs = _photographs(config, path, root, Reading().progress)
    return folder_info(photographs, preparation_of(photographs, config))


def read_for_check(config: DataConfig, root: Path) -> Splits | Photographs:
    """Read a file of arrays, or examine all image files again, and decode them: what is broken is left out.

    Errors: those of :func:`load`, except for files that cannot be read or decoded.
    """
    path, read_arrays = _path(replace(config, skip_broken=False), root)
    return read_arrays(path) if read_arrays else _examined(config, path, root, report, again=True)


def _photographs(config: DataConfig, path: Path, root: Path, progress: Progress) -> Photographs:
    place = _place(config, path, root)
    key = f"{config.skip_broken} {place.name} {table_state(place)}" if place else f"{config.skip_broken}"
    return _listings.once(path, lambda path: _examined(config, path, root, progress), key)


def _examined(config: DataConfig, path: Path, root: Path, progress: Progress, again: bool = False) -> Photographs:
    place, index = _place(config, path, root), root / INDEXES
    if place is not None:
        return examine_place(place, index, progress, config.skip_broken, again)
    return examine_images(path, index, progress, config.skip_broken, again)


def _place(config: DataConfig, path: Path, root: Path) -> Place | None:
    """The official dataset that a configuration names or whose layout a folder has; else None."""
    return imported(config.name, root) if config.name in OFFICIAL else recognized(path) if path.is_dir() else None


def _path(config: DataConfig, root: Path) -> tuple[Path, Callable[[Path], Splits] | None]:
    """The file or folder that a configuration names, and its reader if it holds arrays; None for image files."""
    name = config.name
    if name in OFFICIAL:
        return imported(name, root).root, None
    path = Path(name)
    try:
        is_npz, has_images = path.suffix == ".npz" and path.is_file(), bool(name) and holds_files(path)
    except OSError:  # for instance a name too long for a path
        is_npz = has_images = False
    if name and not is_npz and (advice := import_advice(path)):
        raise ValueError(advice)
    if not (is_npz or has_images):
        hint = "or give the path of an .npz file or of a folder of images, or of a .zip or .tar of them"
        raise unknown("dataset", name, dataset_names(), hint=hint)
    read = read_npz if is_npz else read_idx if path.is_dir() and is_idx(path) else None
    if read is not None and config.image_size is not None:
        raise ValueError(f"image_size is for image files; the arrays of {name!r} keep their size")
    if read is not None and config.skip_broken:
        raise ValueError(f"skip_broken is for image files; {name!r} is one of arrays, which is whole or broken")
    place = recognized(path) if read is None and path.is_dir() else None
    return place.root if place else path, read
