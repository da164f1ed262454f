"""The ``model.json`` of an exported folder: the model's metadata, and the size and SHA-256 of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.artifacts.metadata import ModelMetadata, load_json, parse
from tutelage.storage import Damaged, read_regular

MODEL_JSON = "model.json"
CARD_FILE = "README.md"
INCOMPLETE = ".incomplete"
"""A file that is in the folder of an export until all others are."""


class FileEntry(NamedTuple):
    """The size in bytes and the SHA-256 that ``model.json`` lists for a file."""

    size: int
    sha256: str


def read_model_json(path: Path) -> tuple[dict[str, FileEntry], ModelMetadata]:
    """Read an export's ``model.json``: the entry of each file, and the metadata.
    Errors: ``storage.Damaged`` naming the file and what is wrong in it.
    """
    value = load_json(read_regular(path), str(path))
    metadata = parse(value, str(path))
    try:
        files: Mapping[str, Any] = value["files"]
        if any("/" in name or name.startswith(".") for name in files):
            raise ValueError("a name leads outside its folder")
        return {name: FileEntry(int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}, metadata
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path} does not list its files: {type(error).__name__} {error}") from None


def check_complete(folder: Path) -> None:
    """Check that no export to a folder was interrupted and not repeated.

    Errors: ``storage.Damaged``.
    """
    if (folder / INCOMPLETE).is_file():
        raise Damaged(f"{folder} is not complete: an export to it was interrupted, repeat it")


def check_bytes(data: bytes, entry: FileEntry, path: Path) -> None:
    """Check a file's bytes against its entry in ``model.json``.

    Errors: ``storage.Damaged`` with the expected and the actual size or SHA-256.

    >>> check_bytes(b"abcd", FileEntry(3, "..."), Path("model.onnx"))
    Traceback (most recent call last):
    ...
    tutelage.storage.errors.Damaged: model.onnx was altered: it has 4 bytes, model.json says 3
    """
    if len(data) != entry.size:
        raise Damaged(f"{path} was altered: it has {len(data)} bytes, {MODEL_JSON} says {entry.size}")
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry.sha256:
        raise Damaged(
            f"{path} was altered: it has SHA-256 {sha256[:12]}..., {MODEL_JSON} says {entry.sha256[:12]}..."
        )
