"""Validate labels and class names that come from the user, before anything is trained on them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MAX_CLASSES = 1_000_000  # the limit where the number of classes is not known


def as_array(values: object) -> np.ndarray:
    """Convert a tensor, an array or nested lists to a NumPy array, without a copy where possible.

    >>> as_array(torch.tensor([1, 2]))
    array([1, 2])
    """
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def checked_labels(labels: object, where: str, num_classes: int = MAX_CLASSES) -> Tensor:
    """Return labels as int64 ``[N]`` after checking that each is from 0 to ``num_classes - 1``.

    A column ``[N, 1]``, as in the files of MedMNIST, is one label per image too.

    Errors: ``ValueError`` prefixed with ``where``, with the number of wrong labels and the first of them. (-100,
    which torch's losses silently ignore, is an error like any other negative label.)

    >>> checked_labels([0, 2, 1], "train_labels", num_classes=3)
    tensor([0, 2, 1])
    >>> checked_labels([[0], [2], [1]], "train_labels", num_classes=3)
    tensor([0, 2, 1])
    >>> checked_labels([0, 3, -100], "train_labels", num_classes=3)
    Traceback (most recent call last):
    ...
    ValueError: train_labels: 2 of 3 labels are not from 0 to 2: 3 at row 1, -100 at row 2
    """
    values = as_array(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        several = ": several columns are several labels per image; one-hot rows become numbers by argmax(1)"
        raise ValueError(
            f"{where}: expected one label per image, shape [N] or [N, 1], not shape {list(values.shape)}"
            f"{several if values.ndim == 2 else ''}"
        )
    if values.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels must be integers, not {values.dtype}: {_examples(values, range(3))}")
    wrong = np.flatnonzero((values < 0) | (values >= num_classes))
    if wrong.size:
        raise ValueError(
            f"{where}: {wrong.size} of {values.size} labels are not from 0 to {num_classes - 1}: "
            f"{_examples(values, wrong[:3])}"
        )
    return torch.from_numpy(values.astype(np.int64))


def _examples(values: np.ndarray, rows: range | np.ndarray) -> str:
    return ", ".join(f"{values[row]} at row {row}" for row in rows if row < values.size)


def encodable(name: str) -> str:
    r"""Make a file or class name encodable as UTF-8: a character that is not becomes an escape sequence.

    >>> encodable("caf\u00e9"), encodable("caf\udce9")
    ('café', 'caf\\udce9')
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
