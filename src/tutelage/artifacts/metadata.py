"""The metadata of a model: its input, classes and origin. One parser for model folders and exported files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tutelage.data import Normalization
from tutelage.data.preparation import Preparation
from tutelage.storage import Damaged
from tutelage.validation import checked, parse_json

FORMAT = 1
KEY = "tutelage"
"""The key of the metadata in a safetensors header and an ONNX file, and its name in the extra files of a .pt2."""
MAX_PIXELS = 2048
"""The most channels, rows or columns that are accepted, since the metadata may come from a stranger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """The input, the classes and the origin of a model.

    An exported program takes float32 images ``[N, channels, height, width]`` with values from 0 to 1, normalizes them
    and returns logits ``[N, K]``. ``about`` is plain JSON for people to read. ``preparation`` says how the image
    files that it was trained on became such images; None where these were arrays.

    Errors: ``ValueError`` naming the field that is not valid.

    >>> ModelMetadata(model="resnet8", channels=1, height=8, width=8, normalization=Normalization((0.5,), (0.0,)),
    ...          class_names=("cat",))
    Traceback (most recent call last):
    ...
    ValueError: normalization.std is (0.0,): expected 1 positive numbers
    """

    model: str
    channels: int
    height: int
    width: int
    normalization: Normalization
    class_names: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model is {_short(self.model)}: expected the name of a network")
        for name in ("channels", "height", "width"):
            size = getattr(self, name)
            if not _is_size(size):
                raise ValueError(f"input.{name} is {_short(size)}: expected a whole number from 1 to {MAX_PIXELS}")
        inner = self.normalization.size
        if inner is not None and not _is_size(inner):
            raise ValueError(f"normalization.size is {_short(inner)}: expected null or 1 to {MAX_PIXELS}")
        mean, std = self.normalization.mean, self.normalization.std
        if not _numbers(mean, self.channels):
            raise ValueError(f"normalization.mean is {_short(mean)}: expected {self.channels} finite numbers")
        if not _numbers(std, self.channels) or min(std) <= 0:
            raise ValueError(f"normalization.std is {_short(std)}: expected {self.channels} positive numbers")
        names = self.class_names
        if not (isinstance(names, tuple) and names and all(isinstance(name, str) for name in names)):
            raise ValueError(f"class_names is {_short(names)}: expected a list of names")
        if not isinstance(self.about, dict):
            raise ValueError(f"about is {_short(self.about)}: expected an object")

    def to_json(self) -> dict[str, Any]:
        """The metadata as plain JSON; :func:`parse` reads it back."""
        return {
            "format": FORMAT,
            "model": self.model,
            "input": {
                "name": "images",
                "dtype": "float32",
                "layout": "NCHW",
                "range": [0, 1],
                "channels": self.channels,
                "height": self.height,
                "width": self.width,
                "files": self.preparation and asdict(self.preparation),
            },
            "output": {"name": "logits", "dtype": "float32"},
            "normalization": {
                "mean": list(self.normalization.mean),
                "std": list(self.normalization.std),
                "size": self.normalization.size,
            },
            "class_names": list(self.class_names),
            "about": self.about,
        }

    def text(self) -> str:
        """The metadata as one line of JSON."""
        return json.dumps(self.to_json(), sort_keys=True, allow_nan=False)


def parse(value: Any, where: str) -> ModelMetadata:
    """Check metadata from an untrusted file; ``where`` names it in errors.

    Errors: ``storage.Damaged`` naming the file and the field.

    >>> whole = ModelMetadata(model="resnet8", channels=1, height=8, width=8, class_names=("cat", "dog"),
    ...                  normalization=Normalization((0.5,), (0.25,)))
    >>> parse(whole.to_json(), "model.json") == whole
    True
    >>> parse({"format": 1}, "model.json")
    Traceback (most recent call last):
    ...
    tutelage.storage.errors.Damaged: model.json is not model metadata of tutelage: it has no 'input'
    """
    try:
        version = value["format"]
        if version != FORMAT:
            raise ValueError(f"it has format {_short(version)}, this version of tutelage reads format {FORMAT}")
        size = value["input"]
        return ModelMetadata(
            model=value["model"],
            channels=size["channels"],
            height=size["height"],
            width=size["width"],
            normalization=read_normalization(value["normalization"]),
            class_names=_names(value["class_names"]),
            about=value["about"],
            preparation=read_preparation(size.get("files"), size["channels"]),
        )
    except KeyError as error:
        raise Damaged(f"{where} is not model metadata of tutelage: it has no {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"{where} is not model metadata of tutelage: {error}") from None


def from_config(config: Mapping[str, Any], where: str, about: dict[str, Any] | None = None) -> ModelMetadata:
    """The metadata in the ``config.json`` of a trained model; ``where`` names the file in errors.

    Errors: ``storage.Damaged`` naming the file and the field.
    """
    try:
        channels, height, width = config["input"]
        place = checked(config["place"], int, "place")
        if place < 0:
            raise ValueError(f"place is {place}: expected a whole number from 0 on")
        return ModelMetadata(
            model=config["lineage"]["generations"][place]["model"],
            channels=channels,
            height=height,
            width=width,
            normalization=read_normalization(config["normalization"]),
            class_names=_names(config["class_names"]),
            about=about or {},
            preparation=read_preparation(config.get("files"), channels),
        )
    except ValueError as error:
        raise Damaged(f"{where} does not describe a model: {error}") from None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Damaged(f"{where} does not describe a model: {type(error).__name__} {error}") from None


def read_normalization(value: Any) -> Normalization:
    """Read a normalization from JSON; :class:`ModelMetadata` checks its values.

    >>> read_normalization({"mean": [0.5], "std": [0.25], "size": 224})
    Normalization(mean=(0.5,), std=(0.25,), size=224)
    """
    return Normalization(tuple(value["mean"]), tuple(value["std"]), value.get("size"))


def read_preparation(value: Any, channels: int) -> Preparation | None:
    """Read a preparation from JSON, of an untrusted file.

    Errors: ``ValueError`` naming the field.
    """
    if value is None:
        return None
    fields = checked(value, Mapping[str, Any], "input.files")
    for name in ("size", "channels", "side", "white"):
        if not _is_size(fields[name]):
            raise ValueError(f"input.files.{name} is {_short(fields[name])}: expected 1 to {MAX_PIXELS}")
    if fields["channels"] != channels or fields["side"] < fields["size"]:
        raise ValueError(f"input.files is {_short(value)}: it does not match the input")
    names = ("size", "channels", "resize", "side", "white")
    return Preparation(**{name: fields[name] for name in names})


def parse_text(text: str | bytes, where: str) -> ModelMetadata:
    """Read metadata from JSON text.

    Errors: ``storage.Damaged`` naming the file.
    """
    return parse(load_json(text, where), where)


def load_json(text: str | bytes, where: str) -> Any:
    """Read JSON from an untrusted file.

    Errors: ``storage.Damaged`` naming the file.
    """
    try:
        return parse_json(text, where)
    except ValueError as error:
        raise Damaged(str(error)) from None


def _names(value: Any) -> tuple[str, ...]:
    """The names of classes; a text would be read as one class for each letter."""
    if not isinstance(value, list):
        raise ValueError(f"class_names is {_short(value)}: expected a list of names")
    return tuple(value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PIXELS


def _numbers(values: Any, count: int) -> bool:
    return len(values) == count and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
