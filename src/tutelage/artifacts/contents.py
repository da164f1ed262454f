"""Check what the files of a model contain: whoever forges a file forges the manifest that vouches for it, too.

Each kind of file has one reader here. It raises ``ValueError`` that names the value; its caller names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.evaluation import Measures
from tutelage.validation import checked, parse_json

Precision = Literal["fp32", "bf16"]
SETS = ("train", "test", "holdout")
"""The sets of images that a model is measured on."""

_CONFIG = {
    "place": int,
    "seed": int,
    "lineage_seed": int,
    "class_names": tuple[str, ...],
    "input": tuple[int, int, int],
    "data_fingerprint": str,
    "precision": Precision,
    "teachers": tuple[str, ...],
    "dependencies": Mapping[str, Any],
    "lineage.name": str,
    "lineage.data.name": str,
    "lineage.data.train_size": int | None,
}
_GENERATION = {
    "name": str,
    "model": str,
    "schedule.epochs": int,
    "teachers": tuple[int, ...],
}


def check_config(values: Mapping[str, Any]) -> None:
    """Check the values of a ``config.json`` that other parts of tutelage use.

    Errors: ``ValueError`` for a value that is missing, of another type, or beyond what it can be.
    """
    for path, kind in _CONFIG.items():
        checked(_at(values, path), kind, path)
    generations = checked(_at(values, "lineage.generations"), tuple[Any, ...], "lineage.generations")
    place = values["place"]
    if place < 0:
        raise ValueError(f"place is {place}: expected a whole number from 0 on")
    if place >= len(generations):
        raise ValueError(f"has no lineage.generations.{place}.model")
    own = f"lineage.generations.{place}"
    for path, kind in _GENERATION.items():
        checked(_at(generations[place], path, own), kind, f"{own}.{path}")
    checked(values.get("data_mark", ""), str, "data_mark")  # models of earlier versions lack these two
    checked(values.get("data_notes", []), tuple[str, ...], "data_notes")
    if not values["class_names"]:
        raise ValueError("class_names is empty")
    if min(values["input"]) < 1:
        raise ValueError(f"input is {list(values['input'])}: expected three sizes of 1 or more")
    if values["lineage_seed"] < 0:
        raise ValueError(f"lineage_seed is {values['lineage_seed']}: expected a whole number from 0 on")
    if (size := values["lineage"]["data"]["train_size"]) is not None and size < 1:
        raise ValueError(f"lineage.data.train_size is {size}: expected 1 or more")
    teachers = generations[place]["teachers"]
    if not all(0 <= teacher < place for teacher in teachers) or len(teachers) != len(values["teachers"]):
        raise ValueError(
            f"{own}.teachers is {str(list(teachers))[:80]}: expected the places of its teachers before it"
        )


def _at(values: Any, path: str, parent: str = "") -> Any:
    """The value at a path of keys.

    Errors: ``ValueError`` where there is none.
    """
    for key in path.split("."):
        if not isinstance(values, Mapping) or key not in values:
            raise ValueError(f"has no {f'{parent}.' if parent else ''}{path}")
        values = values[key]
    return values


def read_evaluation(values: Mapping[str, Any]) -> dict[str, Measures]:
    """The measures in an ``evaluation.json`` by set.

    Errors: ``ValueError`` for a set that is missing or unknown, and for a measure that cannot be.
    """
    for name in ("test", "train"):
        if name not in values:
            raise ValueError(f"has no {name}")
    for name in values:
        if name not in SETS:
            raise ValueError(f"has measures of {name[:80]!r}: expected {', '.join(SETS)}")
    return {name: Measures.from_json(values[name], name) for name in values}


def read_metrics(text: bytes) -> list[dict[str, float]]:
    """The metrics in a ``metrics.jsonl``, one epoch per line.

    Errors: those of :func:`check_epochs`, and ``ValueError`` for a line that is not JSON.
    """
    return check_epochs([parse_json(line, f"line {number}") for number, line in enumerate(text.splitlines(), 1)])


def check_epochs(lines: Any) -> list[dict[str, float]]:
    """The metrics of a training run, checked: finite numbers by name, of the epochs from 1 on.

    Errors: ``ValueError`` with the line.

    >>> check_epochs([{"epoch": 1, "loss": 0.5}])
    [{'epoch': 1, 'loss': 0.5}]
    >>> check_epochs([{"epoch": 1, "accuracy": 1e308}])
    Traceback (most recent call last):
    ...
    ValueError: line 1: accuracy is 1e+308: expected a share from 0 to 1
    """
    epochs: list[dict[str, float]] = []
    for number, line in enumerate(checked(lines, tuple[Any, ...], "metrics"), 1):
        values = checked(line, Mapping[str, Any], f"line {number}")
        for name, value in values.items():
            checked(value, float, f"line {number}: {name[:80]}")
            is_share = name == "accuracy" or name.endswith("/top1")
            if is_share and not 0 <= value <= 1:
                raise ValueError(f"line {number}: {name} is {value}: expected a share from 0 to 1")
        expected = (epochs[-1]["epoch"] + 1,) if epochs else (0, 1)
        if values.get("epoch") not in expected:
            raise ValueError(f"line {number} holds no metrics of epoch {expected[-1]:g}")
        epochs.append(dict(values))
    return epochs


def check_predictions(tensors: Mapping[str, Tensor], num_classes: int) -> None:
    """Check the logits and labels in a ``predictions.safetensors``.

    Errors: ``ValueError`` for a set that is missing or unknown, and those of :func:`check_logits` and
    :func:`check_labels`.
    """
    names = {"test", *(name.removesuffix("_labels") for name in tensors)}
    for name in sorted(names):
        if name not in ("test", "holdout"):
            raise ValueError(f"holds {name[:80]!r}: expected logits and labels of test and holdout")
        if name not in tensors or f"{name}_labels" not in tensors:
            raise ValueError(f"has no logits and labels of {name!r}")
        logits, labels = tensors[name], tensors[f"{name}_labels"]
        check_logits(logits, name, num_classes)
        check_labels(labels, f"{name}_labels", num_classes)
        if len(logits) != len(labels):
            raise ValueError(f"has {len(logits)} logits and {len(labels)} labels of {name!r}")


def check_logits(logits: Tensor, name: str, num_classes: int) -> None:
    """Check logits: ``[N, K]`` with N >= 1, of floating point with 16 to 64 bits, all finite.

    Errors: ``ValueError`` that begins with their name.

    >>> check_logits(torch.zeros(2, 3), "test", 4)
    Traceback (most recent call last):
    ...
    ValueError: test is float32 of shape [2, 3]: expected logits [N, 4] of 1 image or more
    """
    is_plain = logits.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if not is_plain or logits.ndim != 2 or logits.shape[1] != num_classes or not len(logits):
        raise ValueError(f"{name} is {_kind(logits)}: expected logits [N, {num_classes}] of 1 image or more")
    if count := int((~logits.isfinite()).sum()):
        raise ValueError(f"{name} has {count} logits that are not finite")


def check_labels(labels: Tensor, name: str, num_classes: int) -> None:
    """Check labels: int64 ``[N]`` with N >= 1, each from 0 to ``num_classes - 1``.

    Errors: ``ValueError`` that begins with their name.
    """
    if labels.dtype != torch.int64 or labels.ndim != 1 or not len(labels):
        raise ValueError(f"{name} is {_kind(labels)}: expected labels, int64 [N], of 1 image or more")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(f"{name} has {len(wrong)} labels that are not from 0 to {num_classes - 1}, first {wrong[0]}")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
