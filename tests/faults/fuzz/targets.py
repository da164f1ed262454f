"""The targets: every reader of bytes that a stranger may have written, with seeds that reach deep into it.

A checksum stops nearly every mutation before the code behind it, and whoever forges a file forges its checksum too.
So the first byte of an input says whether the rest is the file itself, or a part that is put into a file with valid
checksums.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import torch
from PIL import Image

from tests.data.archives import class_folders, samples, tar_of, zip_of
from tests.data.folders import read_image
from tests.data.official_sets import write_meta
from tutelage import serialization, storage
from tutelage.artifacts.config import model_address
from tutelage.artifacts.metadata import parse, parse_text
from tutelage.artifacts.model import Model
from tutelage.data.archive import read_members
from tutelage.data.archives import examine_images
from tutelage.data.decode import FORMATS
from tutelage.data.idx import FILES, read_idx
from tutelage.data.npz import ARRAYS, read_npz
from tutelage.data.official_classes import WNID, ClassTable, read_annotations, read_ground_truth, read_solution
from tutelage.data.pickles import read_pickle
from tutelage.evaluation import measure
from tutelage.models.weights import read_weights
from tutelage.recipes import call
from tutelage.recipes.study_spec import read_study
from tutelage.study import Study
from tutelage.study.files import StudyRecord
from tutelage.teachers.blocks import seal
from tutelage.teachers.logit_store import LogitStore
from tutelage.validation import parse_json

Read = Callable[[bytes], object]


class Target(NamedTuple):
    """A reader that may raise nothing but ``ValueError``, and inputs to start from."""

    read: Read
    seeds: list[bytes]


def archive(folder: Path) -> Target:
    """``.tar.gz``: the file itself, or a tar whose header checksums are corrected."""
    members = {"set/train", "set/meta"}

    def tar(*entries: tuple[str, bytes, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            for name, content, kind in entries:
                info = tarfile.TarInfo(name)
                info.size, info.type, info.linkname = len(content), kind, "set/train"
                file.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    good = tar(("set/train", b"train" * 20, tarfile.REGTYPE), ("set/meta", b"meta", tarfile.REGTYPE))
    link = tar(("set/train", b"", tarfile.SYMTYPE), ("../meta", b"meta", tarfile.REGTYPE))
    pax = tar(("set/" + "n" * 200, b"", tarfile.REGTYPE), ("set/train", b"", tarfile.GNUTYPE_SPARSE))

    def read(data: bytes) -> None:
        content = data[1:] if data[:1] < b"\x40" else gzip.compress(_with_checksums(data[1:]), 0, mtime=0)
        for name, _ in read_members(io.BytesIO(content), members, "set.tar.gz"):
            assert name in members

    return Target(read, [b"\0" + gzip.compress(good), *(b"\xff" + seed for seed in (good, link, pax))])


def zips(folder: Path) -> Target:
    """Zips of class folders: as they are; what is listed can be read, or is refused."""
    path = folder / "set.zip"
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        files = class_folders(images=2) | {"a/x.txt": b"x" * 300}
        seeds.append(zip_of(path, files if method else class_folders(images=2), method).read_bytes())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = examine_images(path, None).source
        assert all(not name.startswith("/") and ".." not in name.split("/") for name in source.names)

    return Target(read, seeds)


def tars(folder: Path) -> Target:
    """Tars of class folders and shards: as they are, or with corrected checksums of their headers."""
    path = folder / "set.tar"
    link = ("a/link.png", b"", tarfile.SYMTYPE)
    long_names = {f"a/{'n' * 120}{row}.png": content for row, content in enumerate(class_folders(images=1).values())}
    contents = [
        tar_of(path, class_folders(images=2)).read_bytes(),
        tar_of(path, class_folders(images=1) | long_names).read_bytes(),
        tar_of(path, class_folders(images=2), link).read_bytes(),
        tar_of(path, samples(6)).read_bytes(),
        tar_of(path, {name.replace(".cls", ".json"): b'{"label": 1}' for name in samples(6)}).read_bytes(),
    ]

    def read(data: bytes) -> None:
        path.write_bytes(data[1:] if data[:1] < b"\x40" else _with_checksums(data[1:]))
        source = examine_images(path, None).source
        assert all(not name.startswith("/") and ".." not in name.split("/") for name in source.names)

    return Target(read, [first + content for first in (b"\0", b"\xff") for content in contents])


def _with_checksums(data: bytes) -> bytes:
    tar, place = bytearray(data), 0
    while place + 512 <= len(tar) and any(tar[place : place + 512]):
        tar[place + 148 : place + 156] = b" " * 8
        tar[place + 148 : place + 155] = b"%06o\0" % sum(tar[place : place + 512])
        size = 0
        with suppress(ValueError):
            size = int(bytes(tar[place + 124 : place + 135]).rstrip(b" \0") or b"0", 8)
        place += 512 + (size + 511) // 512 * 512
    return bytes(tar)


def pickles(folder: Path) -> Target:
    """The pickles in CIFAR's archives."""
    entries = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "fine_labels": [0, 5], b"names": ["é", None]}

    def read(data: bytes) -> None:
        values = read_pickle(data, "batch")
        assert all(isinstance(key, str) for key in values)

    return Target(read, [pickle.dumps(entries, protocol=protocol) for protocol in (2, 3, 4)])


def npz(folder: Path) -> Target:
    """``.npz``: the file itself, or one array in a valid zip."""
    images, labels = np.zeros((4, 5, 5), np.uint8), np.array([0, 1, 0, 1])
    arrays = {name: array for pair in ARRAYS.values() for name, array in zip(pair, (images, labels), strict=True)}
    members = {name: _npy(array) for name, array in (arrays | {"class_names": np.array(["a", "b"])}).items()}
    names, path = list(members), folder / "set.npz"

    def packed(changed: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in (members | changed).items():
                file.writestr(f"{name}.npy", content)
        return buffer.getvalue()

    def read(data: bytes) -> None:
        place = (data or b"\0")[0]
        path.write_bytes(data[1:] if place >= len(names) else packed({names[place]: data[1:]}))
        splits = read_npz(path)
        assert int(splits.train.labels.max()) < splits.info.num_classes

    seeds = [bytes([place]) + content for place, content in enumerate(members.values())]
    return Target(read, [*seeds, b"\xff" + packed({})])


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def idx(folder: Path) -> Target:
    """IDX: one of four files, as it is, as a gzip file, or in a valid gzip."""
    shape = bytes((0, 0, 8, 3, *(0, 0, 0, 4), *(0, 0, 0, 5), *(0, 0, 0, 5)))
    images, labels = shape + bytes(range(100)), bytes((0, 0, 8, 1, *(0, 0, 0, 4), 0, 1, 0, 1))
    valid = {name: images if "images" in name else labels for name in FILES.values()}
    names = list(valid)
    for name, content in valid.items():
        (folder / name).write_bytes(content)

    def read(data: bytes) -> None:
        place = (data or b"\0")[0]
        name, packed = names[place % len(names)], place >= 0x80
        path = folder / f"{name}.gz" if packed else folder / name
        (folder / name).unlink()
        try:
            path.write_bytes(gzip.compress(data[1:], 0, mtime=0) if packed and place & 4 else data[1:])
            splits = read_idx(folder)
            assert int(splits.train.labels.max()) < splits.info.num_classes
        finally:
            path.unlink()
            (folder / name).write_bytes(valid[name])

    seeds = [bytes([place + first]) + valid[name] for first in (0, 0x84) for place, name in enumerate(names)]
    return Target(read, [*seeds, *(bytes([0x80 + place]) + gzip.compress(valid[names[place]]) for place in (0, 1))])


def official_tables(folder: Path) -> Target:
    """Tables beside official sets: the file is named by the first byte, ``meta.mat`` without its compression too."""
    write_meta(folder / "packed.mat")
    values = scipy.io.loadmat(folder / "packed.mat", variable_names=["synsets"])
    scipy.io.savemat(folder / "meta.mat", {"synsets": values["synsets"]})
    meta = (folder / "meta.mat").read_bytes()
    path, valid = folder / "table", folder / "meta.mat"

    def read(data: bytes) -> None:
        path.write_bytes(data[1:])
        readers: list[Callable[[], ClassTable]] = [
            lambda: read_annotations(path),
            lambda: read_solution(path),
            lambda: read_ground_truth(path, valid, 3),
            lambda: read_ground_truth(valid, path, 3),
        ]
        table = readers[(data or b"\0")[0] % 4]()
        assert all(not wnid or WNID.fullmatch(wnid) for wnid in table.classes.values())

    texts = (
        b"1.JPEG\tn01440764\t0\t0\t9\t9\n",
        b"ImageId,PredictionString\nval_1,n01440764 1 2 3 4 \n",
        b"1\n2\n3\n",
    )
    seeds = [bytes([place]) + text for place, text in enumerate(texts)]
    return Target(read, [*seeds, b"\3" + meta, b"\3" + (folder / "packed.mat").read_bytes()])


def safetensors(folder: Path) -> Target:
    """Weights as safetensors: the file itself, or a header followed by zeros."""
    weights = {"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.int64)}
    file, path = storage.tensor_bytes(weights), folder / "weights.safetensors"
    length = int.from_bytes(file[:8], "little")

    def read(data: bytes) -> None:
        framed = struct.pack("<Q", len(data[1:])) + data[1:] + bytes(56)
        path.write_bytes(data[1:] if data[:1] < b"\x40" else framed)
        for value in read_weights(path).values():
            assert value.isfinite().all()

    return Target(read, [b"\0" + file, b"\xff" + file[8 : 8 + length]])


def state_dicts(folder: Path) -> Target:
    """Weights of ``torch.save``: files in the new and old format, or a pickle in a valid archive."""
    weights = {"model": {"module.a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.int64)}, "epoch": 3}
    new, old, path = io.BytesIO(), io.BytesIO(), folder / "weights.pt"
    torch.save(weights, new)
    torch.save(weights, old, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(new) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    pickled = next(name for name in parts if name.endswith("data.pkl"))

    def read(data: bytes) -> None:
        if data[:1] < b"\x40":
            path.write_bytes(data[1:])
        else:
            with zipfile.ZipFile(path, "w") as file:
                for name, content in (parts | {pickled: data[1:]}).items():
                    file.writestr(name, content)
        for value in read_weights(path).values():
            assert value.isfinite().all()

    return Target(read, [b"\0" + new.getvalue(), b"\0" + old.getvalue(), b"\xff" + parts[pickled]])


def json_values(folder: Path) -> Target:
    """Configurations and model metadata as JSON."""
    study = serialization.to_json(_written())
    metadata = {
        "format": 1,
        "model": "resnet8",
        "input": {"channels": 1, "height": 8, "width": 8},
        "normalization": {"mean": [0.5], "std": [0.25], "size": None},
        "class_names": ["a", "b"],
        "about": {},
    }

    def read(data: bytes) -> None:
        with suppress(ValueError):
            parse_text(data, "model.json")
        value = parse_json(data, "a.json")
        with suppress(ValueError):
            parse(value, "model.json")
        config = serialization.from_json(value)
        serialization.digest(config)

    seeds = (study, metadata, {"function": "functional:soften"})
    return Target(read, [json.dumps(seed).encode() for seed in seeds])


def _written() -> StudyRecord:
    study = Study(lineages=(call("distill", epochs=2, temperature=2.0), call("baseline", epochs=2)))
    return StudyRecord(study=study, precision="fp32", fingerprints=("f", "f"), num_classes=(10, 10))


def toml(folder: Path) -> Target:
    """Studies as TOML files."""
    path = folder / "study.toml"
    os.chdir(folder)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        serialization.digest(read_study(path)[0])

    seeds = (
        'arms = ["baseline", {recipe = "label_smoothing", smoothing = 0.2}]\nepochs = 2\nseeds = [0, 1]',
        '[[arms]]\nrecipe = "tolerant"\nprimary = 0.6\nk = [5, 4]\ngenerations = 2\n[[arms]]\nrecipe = "baseline"',
        'name = "n"\nreference = "baseline"\nmeter = true\nmodel = "resnet8"\narms = ["baseline"]',
    )
    return Target(read, [seed.encode() for seed in seeds])


def stored(folder: Path) -> Target:
    """The files of a finished model, in a folder with a valid manifest."""
    labels, study = torch.arange(6) % 3, serialization.to_json(_written().study.lineages[1])
    logits = torch.eye(3)[labels]
    made_of = {
        "place": 0,
        "seed": 0,
        "lineage_seed": 0,
        "lineage": study,
        "dependencies": {"source": "tutelage", "numerics": 1},
        "class_names": ["a", "b", "c"],
        "input": [1, 8, 8],
        "data_fingerprint": "f",
        "data_notes": [],
        "precision": "fp32",
        "teachers": [],
        "normalization": {"is": "data:Normalization", "mean": [0.5], "std": [0.2], "size": None},
    }
    files = {
        "config.json": storage.json_bytes(made_of),
        "evaluation.json": storage.json_bytes(
            {name: measure(logits, labels).to_json() for name in ("test", "train")}
        ),
        "metrics.jsonl": b'{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n',
        "predictions.safetensors": storage.tensor_bytes({"test": logits, "test_labels": labels}),
        storage.MANIFEST: b"",
    }
    names, model = list(files), Model(address=model_address(made_of), folder=folder / "model")
    parts = (model.normalization, model.evaluation, model.metrics, model.predictions, model.verify)
    readers: dict[str, Callable[[], object]] = dict(zip(names, parts, strict=True))
    storage.commit(model.folder, {name: content for name, content in files.items() if content})
    files[storage.MANIFEST] = (model.folder / storage.MANIFEST).read_bytes()

    def read(data: bytes) -> None:
        name = names[(data or b"\0")[0] % len(names)]
        with _unsynced():
            storage.commit(model.folder, {n: data[1:] if n == name else files[n] for n in names[:-1]})
        if name == storage.MANIFEST:
            (model.folder / name).write_bytes(data[1:])
        readers[name]()

    return Target(read, [bytes([place]) + content for place, content in enumerate(files.values())])


def blocks(folder: Path) -> Target:
    """The blocks of a teacher's store: as they are, or with a valid seal."""
    made_of, shape = {"teacher": "a"}, {"size": 40, "num_classes": 3}
    keys, logits = torch.tensor([3, 7, 39]), torch.arange(9.0).reshape(3, 3)
    with LogitStore(folder, made_of, **shape) as store:
        store.write(keys, logits)
    (path,) = store.folder.glob("*.block")
    valid_block, rows = path.read_bytes(), (store.folder / "rows").read_bytes()
    path.unlink()

    def read(data: bytes) -> None:
        sealed, start, count, packed = data[:1] >= b"\x40", *struct.unpack("<BB", data[1:3].ljust(2, b"\0")), data[3:]
        for old_block in store.folder.glob("*.block*"):
            old_block.unlink()
        block = store.folder / f"{start:012d}-{count}.block"
        block_rows = rows[start * 6 :][: count * 6]
        block.write_bytes((seal(block.name, packed, block_rows) if sealed else b"") + packed)
        opened = LogitStore(folder, made_of, **shape, warn=lambda _: None)
        _, present = opened.read(opened.keys)
        assert present.all()

    head = struct.pack("<BB", 0, 3)
    return Target(read, [b"\0" + head + valid_block, b"\xff" + head + valid_block[32:]])


def images(folder: Path) -> Target:
    """Image files of every supported format."""
    path, seeds = folder / "image", []
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for kind in FORMATS:
        for mode in ("RGB", "P"):
            buffer = io.BytesIO()
            with suppress(OSError):  # the format has no palette
                Image.fromarray(noise).convert(mode).save(buffer, format=kind)
                seeds.append(buffer.getvalue())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert read_image(path, 3, 8).shape == (3, 8, 8)

    return Target(read, seeds)


@contextmanager
def _unsynced() -> Iterator[None]:
    """Disable ``os.fsync``, which would take most of the time."""
    sync: Any = os.fsync
    os.fsync = lambda _: None
    try:
        yield
    finally:
        os.fsync = sync


TARGETS: dict[str, Callable[[Path], Target]] = {
    target.__name__: target
    for target in (
        archive,
        zips,
        tars,
        pickles,
        npz,
        idx,
        official_tables,
        safetensors,
        state_dicts,
        json_values,
        toml,
        stored,
        blocks,
        images,
    )
}
