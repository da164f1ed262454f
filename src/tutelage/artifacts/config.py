"""The ``config.json`` of a model: read, checked, and hashed to the address of the model that it describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.artifacts.contents import check_config
from tutelage.serialization import digest
from tutelage.validation import checked, parse_json

CONFIG = "config.json"
Shape = tuple[int, int, int]

_DIGITS = 24


def model_address(config: Mapping[str, Any]) -> str:
    """The address of the model that a configuration describes: the hash of everything that makes it.

    Nothing is imported and no other file is read: what lies outside of the lineage (the code of the network,
    pretrained weights) is in ``dependencies`` by its hash. Names are not part of the address, so equal generations of
    different lineages are the same model.

    Errors: ``KeyError``, ``IndexError`` and ``TypeError`` for a configuration that is not whole.
    """
    lineage = config["lineage"]
    generation = lineage["generations"][config["place"]]
    content = {
        **config["dependencies"],
        "model": generation["model"],
        "data": config["data_fingerprint"],
        "precision": config["precision"],
    }
    if generation["weights"] is None:
        content |= {
            "objective": generation["objective"],
            "schedule": generation["schedule"],
            "views": lineage["views"],
            "seed": config["seed"],
            "teachers": config["teachers"],
        }
        if generation["teacher_shares"]:
            content["teacher_shares"] = generation["teacher_shares"]
    return digest(content)[:_DIGITS]


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration in a model's folder, and check the types of what tutelage uses of it.

    Errors: ``storage.Damaged`` naming the file, and the field that is missing or not valid.
    """
    return _parse(storage.read_listed(folder, CONFIG, storage.MAX_JSON), folder / CONFIG)


def address_of(folder: Path) -> str:
    """The address of the model in a folder, computed from its configuration.

    A folder may have any name, but one that is the address of another model is refused: it is a copy.

    Errors: ``storage.Damaged`` naming the file.
    """
    name = folder.resolve().name
    if re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", name):
        check_address(folder, name)
    return _described(storage.read_listed(folder, CONFIG, storage.MAX_JSON), folder / CONFIG)


def check_address(folder: Path, address: str) -> None:
    """Check that the configuration in a folder describes the model of this address.

    Errors: ``storage.Damaged`` naming the file and both addresses.
    """
    described = _described(storage.read_listed(folder, CONFIG, storage.MAX_JSON), folder / CONFIG)
    if described != address:
        raise storage.Damaged(
            f"{folder / CONFIG} describes the model {described}, not {address}: it is another model's"
        )


@lru_cache(maxsize=1024)  # a model is opened for each of its files
def _described(data: bytes, path: Path) -> str:
    """The address of the model that the bytes of a configuration describe; ``path`` names them in errors."""
    config = _parse(data, path)
    try:
        return model_address(config)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise storage.Damaged(f"{path} does not describe a model: {type(error).__name__} {error}") from None


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    try:
        values: Mapping[str, Any] = checked(parse_json(data, "it"), Mapping[str, Any], "$")
        check_config(values)
    except ValueError as error:
        joint = " " if str(error).startswith("has ") else ": "
        raise storage.Damaged(f"{path}{joint}{error}") from None
    return dict(values)
