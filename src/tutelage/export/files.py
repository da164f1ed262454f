"""The ``model.json`` of an exported folder: its contract, and the size and SHA-256 of each file. Written last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.artifacts.metadata import Contract, load_json, parse
from tutelage.storage import Damaged

MODEL_JSON = "model.json"
CARD = "README.md"


class Entry(NamedTuple):
    """What a file must be."""

    size: int
    sha256: str


def read_model_json(path: Path) -> tuple[dict[str, Entry], Contract]:
    """Read an export's ``model.json``: what it says of each file, and the contract.

    Errors: ``storage.Damaged`` naming the file and what is wrong in it.
    """
    value = load_json(path.read_bytes(), str(path))
    contract = parse(value, str(path))
    try:
        files: Mapping[str, Any] = value["files"]
        if any("/" in name or name.startswith(".") for name in files):
            raise ValueError("a name leads outside its folder")
        return {name: Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}, contract
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path} does not list its files: {type(error).__name__} {error}") from None


def check_bytes(data: bytes, entry: Entry, path: Path) -> None:
    """Compare a file's bytes with what ``model.json`` says of them.

    Errors: ``storage.Damaged`` with what was expected and what is there.

    >>> check_bytes(b"abcd", Entry(3, "..."), Path("model.onnx"))
    Traceback (most recent call last):
    ...
    tutelage.storage.errors.Damaged: model.onnx was altered: it has 4 bytes, model.json says 3
    """
    if len(data) != entry.size:
        raise Damaged(f"{path} was altered: it has {len(data)} bytes, {MODEL_JSON} says {entry.size}")
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise Damaged(f"{path} was altered: it has SHA-256 {found[:12]}..., {MODEL_JSON} says {entry.sha256[:12]}...")
