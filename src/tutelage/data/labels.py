"""Labels and class names from outside, checked before anything is trained on them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MAX_CLASSES = 1_000_000  # where nothing says how many there are


def array(values: object) -> np.ndarray:
    """A NumPy array of a tensor, an array or nested lists; not copied where it need not be.

    >>> array(torch.tensor([1, 2]))
    array([1, 2])
    """
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def checked_labels(labels: object, where: str, num_classes: int = MAX_CLASSES) -> Tensor:
    """Labels as int64 ``[N]``, each from 0 to ``num_classes - 1``.

    Errors: ``ValueError`` with ``where``, how many labels are wrong and the first of them. (-100 is what torch's
    losses skip without a word, so it is refused like any other negative label.)

    >>> checked_labels([0, 2, 1], "train_labels", num_classes=3)
    tensor([0, 2, 1])
    >>> checked_labels([0, 3, -100], "train_labels", num_classes=3)
    Traceback (most recent call last):
    ...
    ValueError: train_labels: 2 of 3 labels are not from 0 to 2: 3 at row 1, -100 at row 2
    """
    values = array(labels)
    if values.ndim != 1:
        raise ValueError(f"{where}: expected one label per image, shape [N], not shape {list(values.shape)}")
    if values.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels must be integers, not {values.dtype}: {_listed(values, range(3))}")
    wrong = np.flatnonzero((values < 0) | (values >= num_classes))
    if wrong.size:
        raise ValueError(
            f"{where}: {wrong.size} of {values.size} labels are not from 0 to {num_classes - 1}: "
            f"{_listed(values, wrong[:3])}"
        )
    return torch.from_numpy(values.astype(np.int64))


def _listed(values: np.ndarray, rows: range | np.ndarray) -> str:
    return ", ".join(f"{values[row]} at row {row}" for row in rows if row < values.size)


def text(name: str) -> str:
    r"""A name from outside as text that can be written as UTF-8: what cannot becomes an escape.

    >>> text("caf\u00e9"), text("caf\udce9")
    ('café', 'caf\\udce9')
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
