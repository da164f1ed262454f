"""Shards in WebDataset's format: tars in which the files of a sample have one name and different endings.

Source: https://github.com/webdataset/webdataset (``tariterators.base_plus_ext``, ``autodecode``)
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from tutelage.data.labels import MAX_CLASSES
from tutelage.data.listing import SETS, Listing, is_debris
from tutelage.data.members import tree_of
from tutelage.data.tar_source import TarMembers, TarSource, tar_members
from tutelage.storage import read_regular
from tutelage.validation import parse_json

IMAGES = frozenset(
    ["jpg", "jpeg", "jpe", "jfif", "png", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff", "webp"]
)
CLASSES = "classes.txt"
"""The file beside the shards that names the classes, one a line, in the order of their numbers."""
_SPLIT_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_MAX_LABEL, _MAX_TEXT = 2**16, 2**24


@dataclass(slots=True)
class _Sample:
    """The files of one sample, as rows of their tar."""

    images: list[int] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def samples_of(names: list[str]) -> tuple[dict[str, _Sample], int]:
    """Group files by their key, which is the name up to the first dot; and count what systems left behind."""
    samples: dict[str, _Sample] = {}
    passed_over = 0
    for row, name in enumerate(names):
        if any(map(is_debris, name.split("/"))):
            passed_over += 1
            continue
        parts = None if _META.match(name) else _SPLIT_NAME.fullmatch(name)
        ending = parts[2].lower() if parts else ""
        if parts and ending in IMAGES:
            samples.setdefault(parts[1], _Sample()).images.append(row)
        elif parts and ending in ("cls", "json"):
            samples.setdefault(parts[1], _Sample()).labels[ending] = row
    return samples, passed_over


def are_samples(samples: Mapping[str, _Sample]) -> bool:
    """Whether there are labels in files of their own; a ``.json`` without an image may be anything."""
    return any("cls" in each.labels or (each.images and each.labels) for each in samples.values())


def shards_in(folder: Path) -> dict[str, Path]:
    """The tars of a folder, and of its sub-folders that have the names of sets, where it holds nothing but these."""
    shards: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not is_debris(entry.name)), key=lambda entry: entry.name)
    for entry in visible:
        if entry.is_dir():
            if not _roles([entry.name]):
                return {}
            with os.scandir(entry.path) as inner:
                for each in inner:
                    if each.is_dir() and not is_debris(each.name):
                        return {}
                    if _is_tar(each):
                        shards[f"{entry.name}/{each.name}"] = Path(each.path)
        elif _is_tar(entry):
            shards[entry.name] = Path(entry.path)
    return dict(sorted(shards.items()))


def _is_tar(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(".tar") and not is_debris(entry.name) and entry.is_file()


def _roles(words: list[str]) -> set[str]:
    return {role for role, names in SETS.items() for word in words if word.lower() in names}


def shard_listing(root: Path, shards: Mapping[str, TarMembers]) -> tuple[Listing, TarSource]:
    """List the samples of shards by set and class; the source has their images, in the order of the listing.

    A shard belongs to the set that its folder or its name tells (``val/0.tar``, ``set-val-0.tar``), or else to the
    one that the folder of a sample in it tells. Classes are numbered in the order of their labels.

    Errors: ``ValueError`` for shards without samples, of several sets or of unclear ones; what is wrong with samples
    is in the listing.
    """
    listing = Listing(classes=(), sets={})
    entries: list[tuple[str, str, int, tuple[int, int, int]]] = []
    unclear: list[str] = []
    for number, (shard, members) in enumerate(shards.items()):
        try:
            tree_of(members.names)
        except ValueError as error:
            raise ValueError(f"{str(members.archive.path)!r} is refused: {error}") from None
        samples, passed_over = samples_of(members.names)
        listing.passed_over += passed_over
        if not are_samples(samples):
            raise ValueError(
                f"{str(members.archive.path)!r} has no samples: expected KEY.jpg with KEY.cls or KEY.json in each "
                "shard; class folders go into one archive"
            )
        before = f"{shard}/" if shard else ""
        of_shard = _roles(re.split(r"[^A-Za-z]+", shard))
        with members.archive.open() as file:
            for key, row, label in _labelled(members, samples, file, before, listing.faults):
                roles = of_shard or _roles(key.split("/")[:-1])
                if len(roles) > 1:
                    raise ValueError(f"{str(root / shard)!r} is named for the sets {' and '.join(sorted(roles))}")
                if not roles:
                    unclear.append(f"{before}{key}")
                offset, size = members.places[row].tolist()
                role = next(iter(roles), "train")
                entries.append((role, f"{before}{members.names[row]}", label, (number, offset, size)))
    roles_present = {role for role, *_ in entries}
    if 0 < len(unclear) < len(entries):
        raise ValueError(
            f"{str(root / unclear[0])!r} is of no set, and others are of one: name each shard train, val or test"
        )
    if entries and "train" not in roles_present:
        raise ValueError(f"{str(root)!r} has no shards for training: expected train-000000.tar, or train/000000.tar")
    if "holdout" in roles_present:
        if "test" not in roles_present:
            entries = [("test" if entry[0] == "holdout" else entry[0], *entry[1:]) for entry in entries]
        listing.notes.append(f"val is the {'validation' if 'test' in roles_present else 'test'} set")
    entries.sort(key=lambda entry: (list(SETS).index(entry[0]), entry[1]))
    _number(root, entries, listing)
    places = np.array([place for *_, place in entries], np.int64).reshape(len(entries), 3)
    archives = tuple(members.archive for members in shards.values())
    return listing, TarSource(root, [name for _, name, *_ in entries], archives, places)


def _labelled(
    members: TarMembers, samples: Mapping[str, _Sample], file: IO[bytes], before: str, faults: list[str]
) -> Iterator[tuple[str, int, int]]:
    """The key, image and label of each sample; what is wrong with others goes to ``faults``."""
    has_cls = any("cls" in each.labels for each in samples.values())
    for key, sample in samples.items():
        where = repr(f"{before}{key}")
        if not sample.images:
            if "cls" in sample.labels or not has_cls:
                faults.append(f"{where} has a label and no image: expected an image as {key}.jpg or {key}.png")
        elif len(sample.images) > 1:
            names = " and ".join(members.names[row] for row in sample.images)
            faults.append(f"{where} has {len(sample.images)} images, {names}: keep one of them")
        elif not sample.labels:
            faults.append(f"{where} has no label: expected {key}.cls, or {key}.json with a 'label'")
        else:
            kind = "cls" if "cls" in sample.labels else "json"
            offset, size = members.places[sample.labels[kind]].tolist()
            file.seek(offset)
            try:
                yield key, sample.images[0], _label(kind, file.read(min(size, _MAX_LABEL + 1)))
            except ValueError as error:
                faults.append(f"{f'{before}{key}.{kind}'!r} {error}")


def _label(kind: str, content: bytes) -> int:
    if len(content) > _MAX_LABEL:
        raise ValueError(f"has more than {_MAX_LABEL} bytes: expected a label")
    if kind == "cls":
        text = content.strip()
        if text.isdigit() and len(text) < 8 and int(text) < MAX_CLASSES:
            return int(text)
        raise ValueError(f"holds {text[:20].decode('latin-1')!r}: expected the number of a class")
    value = parse_json(content, "it")
    if not isinstance(value, dict) or "label" not in value:
        raise ValueError("has no 'label': expected the number of a class")
    label = value["label"]
    if type(label) is int and 0 <= label < MAX_CLASSES:
        return label
    raise ValueError(f"has the label {str(label)[:20]!r}: expected the number of a class")


def _number(root: Path, entries: list[tuple[str, str, int, tuple[int, int, int]]], listing: Listing) -> None:
    """Number the classes by the labels of the training set, and fill in the sets."""
    labels = sorted({label for role, _, label, _ in entries if role == "train"})
    places = {label: place for place, label in enumerate(labels)}
    names = _class_names(root)
    for role, name, label, _ in entries:
        if names is not None and label >= len(names):
            listing.faults.append(f"{name!r} has the label {label}, and {CLASSES} names {len(names)} classes")
        elif label not in places:
            listing.faults.append(f"{name!r} has the label {label}, and train has none")
        listing.sets.setdefault(role, []).append((name, places.get(label, 0)))
    listing.classes = tuple(str(label) if names is None or label >= len(names) else names[label] for label in labels)


def _class_names(root: Path) -> list[str] | None:
    """The names in ``classes.txt`` beside the shards, or None.

    Errors: ``ValueError`` for a file that is no text, or that names a class twice.
    """
    path = (root if root.is_dir() else root.parent) / CLASSES
    if not path.is_file():
        return None
    try:
        names = [line.strip() for line in read_regular(path, _MAX_TEXT).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is no text in UTF-8: {error}") from None
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise ValueError(f"{str(path)!r} has an empty line: expected the name of a class on each")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ValueError(f"{str(path)!r} names the class {twice[:80]!r} twice")
    return names


def members_of(shards: Mapping[str, Path]) -> dict[str, TarMembers]:
    """The files of each shard.

    Errors: those of :func:`tar_members`.
    """
    return {name: tar_members(path) for name, path in shards.items()}
