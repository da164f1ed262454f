"""What weights from outside say of themselves: the classes they know, the images they were trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.data import DatasetInfo, Normalization
from tutelage.validation import checked, parse_json

_CONTRACT = "tutelage"  # the entry of a safetensors header in which an exported model describes itself
_MOST = 2048  # channels, rows or columns that a description may ask for: it may be a stranger's


class Given(NamedTuple):
    """The classes that weights know, in order, and the ``(C, H, W)`` and normalization they were trained with."""

    class_names: tuple[str, ...]
    normalization: Normalization
    shape: tuple[int, int, int]


def described(weights: str | None) -> Given | None:
    """What the folder of a model or a file that ``tutelage export`` wrote says; None for any other file of weights.

    Errors: ``ValueError`` naming the file, for a description that cannot be one.
    """
    path = Path(weights or "")
    if weights is None or not path.exists():
        return None
    try:
        text = _in_folder(path) if path.is_dir() else _in_file(path)
        return None if text is None else _read(parse_json(text, "its description"))
    except (ValueError, KeyError, TypeError) as error:
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise ValueError(f"what {path} says of its network cannot be used: {reason}") from None


def fitting(given: Given, weights: str, facts: DatasetInfo) -> Normalization:
    """How images of this dataset must come to a network with given weights: normalized and as large as it knows them.

    Errors: ``ValueError`` naming ``weights``, for images of other channels, or where theirs were not square.
    """
    channels, height, width = given.shape
    if channels != facts.channels:
        raise ValueError(
            f"the network of {weights} was trained on images of {channels} channels, the data has {facts.channels}"
        )
    if given.normalization.size is not None or (height, width) == (facts.height, facts.width):
        return given.normalization
    if height != width:
        raise ValueError(
            f"the network of {weights} was trained on images of {height} x {width}, the data's are {facts.height} x "
            f"{facts.width}, and only square ones can be made"
        )
    return replace(given.normalization, size=height)


def _in_folder(path: Path) -> bytes | None:
    file = path / "config.json"
    return file.read_bytes() if file.is_file() else None


def _in_file(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(_CONTRACT)
    except SafetensorError as error:
        raise ValueError(f"it is not safetensors: {error}") from None


def _read(found: Any) -> Given:
    size, told = found["input"], found["normalization"]
    if isinstance(size, dict):
        size = [size[name] for name in ("channels", "height", "width")]
    shape = checked(size, tuple[int, int, int], "input")
    mean, std = (checked(told[name], tuple[float, ...], f"normalization.{name}") for name in ("mean", "std"))
    inner = checked(told.get("size"), int | None, "normalization.size")
    if not len(mean) == len(std) == shape[0]:
        raise ValueError(f"it normalizes {len(mean)} and {len(std)} channels, its images have {shape[0]}")
    if min(std) <= 0:
        raise ValueError(f"normalization.std: expected numbers above 0, not {list(std)}")
    if not all(1 <= each <= _MOST for each in (*shape, inner or 1)):
        raise ValueError(f"input: expected numbers from 1 to {_MOST}, not {list(shape)} and {inner}")
    return Given(
        checked(found["class_names"], tuple[str, ...], "class_names"), Normalization(mean, std, inner), shape
    )
