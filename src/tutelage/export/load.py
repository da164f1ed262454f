"""Load an exported model, whoever wrote it, and classify image files with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tutelage.artifacts.metadata import ModelMetadata
from tutelage.data.decode import read_image
from tutelage.data.preparation import Preparation
from tutelage.export.find import find_model
from tutelage.export.formats import FILE_NAMES
from tutelage.export.model_json import INCOMPLETE, MODEL_JSON, check_bytes, check_complete, read_model_json
from tutelage.export.network import build_network, imports_user_code
from tutelage.export.origin import export_metadata
from tutelage.export.read import SUFFIXES, Program, embedded_metadata, load_program, one_line
from tutelage.storage import Damaged

MAX_BATCH_VALUES = 1 << 24
"""The most pixel values in one batch of images."""
MAX_BATCH_IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A model ready for use: its metadata, and its program from images to logits.

    Shapes: ``program`` takes float32 ``[N, C, H, W]`` with values from 0 to 1 and returns float32 ``[N, K]``.
    """

    metadata: ModelMetadata
    program: Program


def load_model(name: str, runs: Path, *, trust: bool = False) -> LoadedModel:
    """Load an exported file or folder, or a model that :func:`tutelage.export.find_model` finds.

    Errors: ``ValueError`` for a model that does not exist, needs ``trust`` or lacks a package; ``storage.Damaged``
    for files that were altered.
    """
    path = Path(name)
    if path.suffix in SUFFIXES:
        return load_file(path, trust=trust)
    if any((path / file).is_file() for file in (MODEL_JSON, INCOMPLETE)):
        return load_folder(path, trust=trust)
    source = find_model(name, runs)
    metadata = export_metadata(source)
    where = str(source.model.folder)
    program = build_network(metadata, source.model.weights(), where, trust=trust or source.trusted)
    return _checked(metadata, program, where)


def load_folder(folder: Path, *, trust: bool = False) -> LoadedModel:
    """Load an exported folder from its first file that needs neither trust nor a package that is not installed.

    Errors: those of :func:`load_model`.
    """
    check_complete(folder)
    entries, metadata = read_model_json(folder / MODEL_JSON)
    files = [
        (FILE_NAMES["safetensors"], trust or not imports_user_code(metadata.model)),
        (FILE_NAMES["onnx"], all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))),
        (FILE_NAMES["torch"], trust),
    ]
    listed = [(name, usable) for name, usable in files if name in entries]
    if not listed:
        raise Damaged(f"{folder / MODEL_JSON} lists none of {', '.join(name for name, _ in files)}")
    # Where none is usable, loading the first one says what it needs.
    name = next((name for name, usable in listed if usable), listed[0][0])
    return load_file(folder / name, trust=trust)


def load_file(path: Path, *, trust: bool = False) -> LoadedModel:
    """Load one exported file with the metadata inside it.

    A ``model.json`` beside the file that lists it must agree with it: in size, SHA-256 and metadata.

    Errors: those of :func:`load_model`.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{str(path)!r} is not an exported file: expected one that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    data = path.read_bytes()  # read once, so that the bytes that are used are the bytes that were checked
    listed_metadata = None
    if (path.parent / MODEL_JSON).is_file():
        entries, metadata = read_model_json(path.parent / MODEL_JSON)
        if path.name in entries:
            check_bytes(data, entries[path.name], path)
            listed_metadata = metadata.to_json()
    metadata = embedded_metadata(data, path)
    inside = metadata.to_json()
    if listed_metadata is not None and listed_metadata != inside:
        differing = ", ".join(name for name in inside if inside[name] != listed_metadata[name])
        raise Damaged(f"{path} and the {MODEL_JSON} beside it do not agree on {differing}: one of them was altered")
    return _checked(metadata, load_program(data, path, metadata, trust=trust), str(path))


def _checked(metadata: ModelMetadata, program: Program, where: str) -> LoadedModel:
    """A model whose program checks what it returns; on one black image it was tried already."""

    @torch.no_grad()
    def checked_program(images: Tensor) -> Tensor:
        try:
            logits = program(images)
        except MemoryError:
            raise
        except Exception as error:  # a stranger's program can raise anything
            raise Damaged(f"{where} does not accept the images that its metadata names: {one_line(error)}") from None
        if logits.shape != (len(images), len(metadata.class_names)) or logits.dtype != torch.float32:
            count = "one image" if len(images) == 1 else f"{len(images)} images"
            raise Damaged(
                f"{where} returns {logits.dtype} logits of shape {list(logits.shape)} for {count}; "
                f"its metadata names {len(metadata.class_names)} classes"
            )
        return logits

    black = torch.zeros(1, metadata.channels, metadata.height, metadata.width)
    if not checked_program(black).isfinite().all():
        raise Damaged(f"{where} gives scores that are not finite numbers for a black image")
    return LoadedModel(metadata=metadata, program=checked_program)


@torch.no_grad()
def classify(
    model: LoadedModel, paths: Sequence[Path], top: int = 5
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """The ``top`` best classes of each image file with their probabilities, best first.

    Images are prepared as those that the model was trained on; where these were no files, they are turned upright
    and their middle square is resized.

    Errors: ``ValueError`` for a ``top`` below 1, a model whose images are not gray or RGB squares, a file that is no
    image, is damaged or has too many pixels, and an image for which the model gives scores that are not finite.
    """
    metadata = model.metadata
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    if metadata.channels not in (1, 3) or metadata.height != metadata.width:
        raise ValueError(
            f"this model takes images of {metadata.channels} channels and {metadata.height} x {metadata.width} "
            "pixels: image files can only be read as gray or RGB squares"
        )
    preparation = metadata.preparation or Preparation(
        size=metadata.height, channels=metadata.channels, side=metadata.height
    )
    values_per_image = metadata.channels * metadata.height * metadata.width
    batch_size = max(1, min(MAX_BATCH_IMAGES, MAX_BATCH_VALUES // values_per_image))
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        pixels = torch.stack([read_image(path, preparation) for path in batch])
        logits = model.program(pixels.float() / 255)
        for path, scores in zip(batch, logits, strict=True):
            if not scores.isfinite().all():
                raise ValueError(f"the model gives scores that are not finite numbers for {str(path)!r}")
        probs = logits.softmax(1)
        best = probs.topk(min(top, probs.shape[1]), dim=1)
        for path, best_probs, labels in zip(batch, best.values.tolist(), best.indices.tolist(), strict=True):
            names = [metadata.class_names[label] for label in labels]
            yield path, list(zip(names, best_probs, strict=True))
