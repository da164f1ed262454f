"""Pretrained weights: their digest, their metadata, and the normalization and input size that they expect."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.metadata import KEY, ModelMetadata, from_config, load_json, parse_text
from tutelage.data import DatasetInfo, Normalization
from tutelage.models.weights import check_weights_path

WEIGHTS = "weights.safetensors"


def read_metadata(weights: str | None) -> ModelMetadata | None:
    """The metadata in a model folder or in a file that ``tutelage export`` wrote; None for any other weights.

    Errors: ``ValueError`` naming the file, for metadata that is not valid.
    """
    path = Path(weights or "")
    if weights is None or not path.exists():
        return None
    if path.is_dir():
        config = path / "config.json"
        if not config.exists():
            return None
        return from_config(load_json(storage.read_regular(config), str(config)), str(config))
    check_weights_path(path)
    text = storage.read_tensor_notes(path).get(KEY) if path.suffix == ".safetensors" else None
    return None if text is None else parse_text(text, str(path))


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
