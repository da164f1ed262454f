"""What an exported model promises: what goes in, what comes out, how it was made. It travels inside every format."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from tutelage.data import Normalization
from tutelage.storage import Damaged
from tutelage.validation import parse_json

FORMAT = 1
KEY = "tutelage"
"""The name of the contract in a safetensors header, in the metadata of an ONNX file, in the extra files of a .pt2."""
MAX_PIXELS = 2048
"""The most channels, rows or columns a contract may ask for: it may come from a stranger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The input, the classes and the origin of an exported model.

    The exported programs take float32 images ``[N, channels, height, width]`` with values from 0 to 1 and return
    logits ``[N, K]``; the normalization happens inside. ``about`` is plain JSON for people to read.

    Errors: ``ValueError`` naming the field that cannot be.

    >>> Contract(model="resnet8", channels=1, height=8, width=8, normalization=Normalization((0.5,), (0.0,)),
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
        """The contract as plain JSON; :func:`parse` reads it back."""
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
        """The contract as one line of JSON, as it stands inside the exported files."""
        return json.dumps(self.to_json(), sort_keys=True, allow_nan=False)


def parse(value: Any, where: str) -> Contract:
    """Read a contract that came from outside; ``where`` names the file in errors.

    Errors: ``storage.Damaged`` naming the file and the field.

    >>> whole = Contract(model="resnet8", channels=1, height=8, width=8, class_names=("cat", "dog"),
    ...                  normalization=Normalization((0.5,), (0.25,)))
    >>> parse(whole.to_json(), "model.json") == whole
    True
    >>> parse({"format": 1}, "model.json")
    Traceback (most recent call last):
    ...
    tutelage.storage.errors.Damaged: model.json is not a contract of tutelage: it has no 'input'
    """
    try:
        version = value["format"]
        if version != FORMAT:
            raise ValueError(f"it has format {_short(version)}, this version of tutelage reads format {FORMAT}")
        given = value["input"]
        return Contract(
            model=value["model"],
            channels=given["channels"],
            height=given["height"],
            width=given["width"],
            normalization=read_normalization(value["normalization"]),
            class_names=tuple(value["class_names"]),
            about=value["about"],
        )
    except KeyError as error:
        raise Damaged(f"{where} is not a contract of tutelage: it has no {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"{where} is not a contract of tutelage: {error}") from None


def read_normalization(value: Any) -> Normalization:
    """Read the JSON of a normalization; :class:`Contract` checks what it says.

    >>> read_normalization({"mean": [0.5], "std": [0.25], "size": 224})
    Normalization(mean=(0.5,), std=(0.25,), size=224)
    """
    return Normalization(tuple(value["mean"]), tuple(value["std"]), value.get("size"))


def parse_text(text: str | bytes, where: str) -> Contract:
    """Read a contract from its JSON text.

    Errors: ``storage.Damaged`` naming the file.
    """
    return parse(load_json(text, where), where)


def load_json(text: str | bytes, where: str) -> Any:
    """Read JSON that came from outside.

    Errors: ``storage.Damaged`` naming the file.
    """
    try:
        return parse_json(text, where)
    except ValueError as error:
        raise Damaged(str(error)) from None


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PIXELS


def _numbers(values: Any, count: int) -> bool:
    return len(values) == count and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
