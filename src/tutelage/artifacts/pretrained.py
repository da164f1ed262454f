"""Pretrained weights: read and checked, with the normalization and the input size that they expect."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tutelage import storage
from tutelage.artifacts.config import CONFIG, address_of
from tutelage.artifacts.metadata import KEY, ModelMetadata, from_config, load_json, parse_text
from tutelage.artifacts.seal import open_sealed, tensor_parts
from tutelage.data import DatasetInfo, Normalization
from tutelage.models.weights import check_weights_path, read_weights

WEIGHTS = "weights.safetensors"


def read_metadata(weights: str | None) -> ModelMetadata | None:
    """The metadata in a model folder or in a file that ``tutelage export`` wrote; None for any other weights.

    Errors: ``ValueError`` naming the file, for metadata that is not valid.
    """
    path = Path(weights or "")
    if weights is None or not path.exists():
        return None
    if path.is_dir():
        config = path / CONFIG
        if not config.exists():
            return None
        return from_config(load_json(storage.read_regular(config), str(config)), str(config))
    check_weights_path(path)
    text = _embedded(path)
    return None if text is None else parse_text(text, str(path))


def read_pretrained(path: Path) -> dict[str, Tensor]:
    """Read pretrained weights, see :func:`tutelage.models.weights.read_weights`, if they are what they say.

    Errors: ``ValueError`` naming the file; ``storage.Damaged`` for an exported file that was altered, and for the
    folder of a model under the address of another one.
    """
    if path.is_dir() and (path / CONFIG).is_file():
        address_of(path)
    elif path.is_file() and (text := _embedded(path)) is not None:
        open_sealed(text, tensor_parts(path.read_bytes()), str(path))
    return read_weights(path)


def normalization_for(metadata: ModelMetadata, weights: str, info: DatasetInfo) -> Normalization:
    """The normalization and input size with which pretrained weights expect the images of a dataset.

    Errors: ``ValueError`` naming ``weights``, for images with another number of channels, and for images that would
    have to be resized to a size that is not square.
    """
    if metadata.channels != info.channels:
        raise ValueError(
            f"the network of {weights} was trained on images of {metadata.channels} channels, the data has "
            f"{info.channels}"
        )
    same_size = (metadata.height, metadata.width) == (info.height, info.width)
    if metadata.normalization.size is not None or same_size:
        return metadata.normalization
    if metadata.height != metadata.width:
        raise ValueError(
            f"the network of {weights} was trained on images of {metadata.height} x {metadata.width}, the data's are "
            f"{info.height} x {info.width}, and images can only be resized to squares"
        )
    return replace(metadata.normalization, size=metadata.height)


def weights_digest(path: Path) -> str:
    """The SHA-256 of weights: computed for a file, read from the manifest for a model folder.

    Errors: ``ValueError`` for weights that are not there, and for a folder that is not a model's.
    """
    check_weights_path(path)
    if path.is_dir():
        return str(storage.read_manifest(path)["files"].get(WEIGHTS, {}).get("sha256"))
    with storage.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _embedded(path: Path) -> str | None:
    """The metadata that ``tutelage export`` wrote into a file, if it did."""
    return storage.read_tensor_notes(path).get(KEY) if path.suffix == ".safetensors" else None
