"""CIFAR-10 and CIFAR-100: imported from their official archives, stored as tensors with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from tutelage import storage
from tutelage.data.archive import MAX_TOTAL, read_members, read_unpacked
from tutelage.data.dataset import Dataset, Splits
from tutelage.data.download import fetch
from tutelage.data.labels import checked_labels, encodable
from tutelage.data.layouts import Layout, layout_of
from tutelage.data.locate import Origin, locate, nearby, other_dataset
from tutelage.data.pickles import read_pickle
from tutelage.data.splits import make_splits

_FILE = "data.safetensors"
_WAIT = 3600.0  # seconds to wait for another process that imports the same dataset


def import_archive(name: str, path: Path, root: Path) -> Path:
    """Import a dataset from its official archive, or from the folder unpacked from it; returns the dataset's folder.

    ``path`` may also be a folder that holds one of them (see :func:`tutelage.data.locate.locate`). Any archive whose
    content passes the checks is accepted; whether its checksum is the official one is recorded.

    Errors: ``ValueError`` for an unknown name, a missing or damaged archive, or content that is not this dataset.
    An earlier import is left unchanged.
    """
    return import_source(name, locate(name, path), root)


def import_source(name: str, source: Origin, root: Path) -> Path:
    """Import a dataset from what :func:`tutelage.data.locate.locate` returned, as :func:`import_archive` does."""
    layout, folder, path = layout_of(name), root / name, source.path
    if path.is_dir():
        with storage.lock(folder, wait=_WAIT), _advice(name, source):
            members = read_unpacked(path, _members(layout), where=str(path))
            return _store(
                layout, members, folder, {"file": encodable(path.resolve().name), "sha256": None, "official": False}
            )
    with storage.open_regular(path) as file, storage.lock(folder, wait=_WAIT), _advice(name, source):
        return _import_stream(layout, file, path.name, folder)


@contextlib.contextmanager
def _advice(name: str, source: Origin) -> Iterator[None]:
    """Add to a refusal what lies beside the source, or which other dataset it is, or how to get the official one."""
    try:
        yield
    except ValueError as error:
        official = f"`tutelage data get {name}` downloads the official archive"
        raise ValueError(f"{error}; {source.remark or other_dataset(name, source.path) or official}") from None


def download(name: str, root: Path) -> Path:
    """Download a dataset from its official site unless an intact copy exists; returns the dataset's folder.

    When several processes call this at once, one downloads and the others wait for it.

    Errors: ``ConnectionError`` when the download fails, with advice; ``ValueError`` when the downloaded file is not
    the official one.
    """
    layout, folder = layout_of(name), root / name
    with storage.lock(folder, wait=_WAIT):
        if storage.is_finished(folder):
            with contextlib.suppress(ValueError):
                _verify(name, root)
                return folder
        try:
            with fetch(layout.url, layout.md5, folder, limit=MAX_TOTAL) as file:
                return _import_stream(layout, file, layout.archive, folder)
        except ConnectionError as error:
            advice = f"get the file some other way and run `tutelage data import {name} FILE`"
            raise ConnectionError(f"{error}; {advice}") from None


def check(name: str, root: Path) -> str:
    """Verify an imported dataset against its checksum; returns one line that describes it.

    Errors: ``ValueError`` when it was not imported, or has changed since.
    """
    info, source = layout_of(name).info, _verify(name, root)["note"]["source"]
    origin = "the official archive" if source["official"] else "its checksum is not the official one"
    return (
        f"{name}: {info.train_size} training and {info.test_size} test images, unchanged since they were imported "
        f"from {source['file']} ({origin})"
    )


def load_cifar(name: str, root: Path) -> Splits:
    """Load the whole of an imported dataset, after verifying its checksum.

    Errors: ``ValueError`` when it was not imported, or has changed since.
    """
    layout = layout_of(name)
    _verify(name, root)
    path = root / name / _FILE
    tensors = storage.read_tensors(path)
    if _types_and_shapes(tensors) != _types_and_shapes(_empty_tensors(layout, "meta")):
        raise storage.Damaged(f"{path} does not hold {name}: import {name} again")
    for kind, classes in (("labels", layout.info.class_names), ("coarse_labels", layout.info.coarse_names)):
        for key in (key for key in tensors if key in (f"train_{kind}", f"test_{kind}")):
            checked_labels(tensors[key], f"{path}: {key}", len(classes))
    return make_splits(layout.info, _dataset(tensors, "train"), _dataset(tensors, "test"))


def _types_and_shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {key: (tensor.dtype, tensor.shape) for key, tensor in tensors.items()}


def _dataset(tensors: dict[str, Tensor], split: str) -> Dataset:
    labels = tensors[f"{split}_labels"]
    return Dataset(
        images=tensors[f"{split}_images"],
        labels=labels,
        ids=torch.arange(len(labels)),
        coarse_labels=tensors.get(f"{split}_coarse_labels"),
    )


def _verify(name: str, root: Path) -> dict[str, Any]:
    if not storage.is_finished(root / name):
        if place := nearby(name):
            command = f"tutelage data import {name} {shlex.quote(place)}"
            raise ValueError(f"{name} is not in {root}, but {place!r} holds it: run `{command}`")
        raise ValueError(
            f"{name} is not in {root}: run `tutelage data get {name}`, or `tutelage data import {name} FILE` "
            "if you have its archive"
        )
    try:
        manifest = storage.verify(root / name)
        source = manifest["note"].get("source")
        has_source = isinstance(source, dict) and {"file", "official"} <= source.keys()
        if manifest["note"].get("name") != name or _FILE not in manifest["files"] or not has_source:
            raise storage.Damaged(f"{root / name} was not created by importing {name}")
    except storage.Damaged as error:
        raise storage.Damaged(f"{error}; import {name} again") from None
    return manifest


def _members(layout: Layout) -> list[str]:
    return [f"{layout.folder}/{file}" for file in layout.files]


def _import_stream(layout: Layout, stream: IO[bytes], label: str, folder: Path) -> Path:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    while block := stream.read(1 << 20):
        md5.update(block)
        sha256.update(block)
    stream.seek(0)
    source = {"file": encodable(label), "sha256": sha256.hexdigest(), "official": md5.hexdigest() == layout.md5}
    return _store(layout, read_members(stream, _members(layout), where=label), folder, source)


def _store(layout: Layout, members: Iterable[tuple[str, bytes]], folder: Path, source: dict[str, Any]) -> Path:
    tensors = _empty_tensors(layout)
    for member, content in members:
        entries, file = read_pickle(content, where=member), PurePosixPath(member).name
        if file == layout.meta:
            _check_names(layout, entries, member)
        else:
            _fill(tensors, layout, file, entries, member)
    info = layout.info
    note = {
        "name": folder.name,
        "train": info.train_size,
        "test": info.test_size,
        "class_names": info.class_names,
        "coarse_names": info.coarse_names,
        "source": source,
    }
    storage.commit(folder, {_FILE: storage.tensor_bytes(tensors)}, note=note)
    return folder


def _empty_tensors(layout: Layout, device: str = "cpu") -> dict[str, Tensor]:
    info, tensors = layout.info, {}
    for split, size in (("train", info.train_size), ("test", info.test_size)):
        shape = (size, info.channels, info.height, info.width)
        tensors[f"{split}_images"] = torch.zeros(shape, dtype=torch.uint8, device=device)
        for kind in ("labels", "coarse_labels") if layout.coarse else ("labels",):
            tensors[f"{split}_{kind}"] = torch.zeros(size, dtype=torch.int64, device=device)
    return tensors


def _check_names(layout: Layout, entries: dict[str, object], where: str) -> None:
    pairs = [(layout.label_names, layout.info.class_names), (layout.coarse_names, layout.info.coarse_names)]
    for entry, expected in pairs:
        values = entries.get(entry)
        are_texts = isinstance(values, list) and all(isinstance(value, str) for value in values)
        if entry and not (are_texts and values == list(expected)):
            raise ValueError(f"{where}: its {entry} are not the {len(expected)} official ones in their order")


def _fill(tensors: dict[str, Tensor], layout: Layout, file: str, entries: dict[str, object], where: str) -> None:
    split, files = ("train", layout.train) if file in layout.train else ("test", layout.test)
    images = tensors[f"{split}_images"]
    size = len(images) // len(files)
    start = files.index(file) * size
    pixels = entries.get("data")
    expected = (size, images[0].numel())
    if not isinstance(pixels, np.ndarray) or pixels.shape != expected:
        raise ValueError(f"{where}: expected uint8 images of shape {list(expected)}, not {_describe(pixels)}")
    images[start : start + size].view(expected).numpy()[:] = pixels
    label_entries = [
        (layout.labels, layout.info.class_names, "labels"),
        (layout.coarse, layout.info.coarse_names, "coarse_labels"),
    ]
    for entry, classes, kind in label_entries:
        if not entry:
            continue
        values = entries.get(entry)
        if not isinstance(values, list) or len(values) != size or not all(type(value) is int for value in values):
            raise ValueError(f"{where}: expected {size} integers as {entry}, not {_describe(values)}")
        tensors[f"{split}_{kind}"][start : start + size] = checked_labels(values, f"{where}: {entry}", len(classes))


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    if isinstance(value, list):
        return f"a list of {len(value)} ({', '.join(sorted({type(item).__name__ for item in value}))})"
    return "nothing" if value is None else type(value).__name__
