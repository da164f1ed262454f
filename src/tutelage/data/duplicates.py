"""Images that a set holds more than once: known by the digests of their files, or found among arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

SETS = {"train": "training", "holdout": "validation", "test": "test"}
"""What messages call the sets."""
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Copies:
    """The images of a set that have the same bytes: of each its set, its row there and its label."""

    places: tuple[tuple[str, int, int], ...]

    def count(self, role: str) -> int:
        """How many of them are in one set."""
        return sum(each == role for each, _, _ in self.places)

    @property
    def disagree(self) -> bool:
        """Whether their labels differ."""
        return len({label for _, _, label in self.places}) > 1


def copies(digests: Mapping[str, np.ndarray], labels: Mapping[str, Tensor]) -> list[Copies]:
    """Group the images that have equal digests; images without a copy are in no group.

    Shapes: per set ``digests`` uint8 ``[N, bytes]``, bytes a multiple of 8, and ``labels`` int64 ``[N]``.

    >>> import torch
    >>> digests = {"train": np.eye(3, 8, dtype=np.uint8), "test": np.eye(1, 8, dtype=np.uint8)}
    >>> copies(digests, {"train": torch.arange(3), "test": torch.tensor([2])})[0].places
    (('train', 0, 0), ('test', 0, 2))
    """
    roles = list(digests)
    keys = np.concatenate([np.ascontiguousarray(digests[role]).view(np.uint64) for role in roles])
    owners = np.repeat(np.arange(len(roles)), [len(digests[role]) for role in roles])
    rows = np.concatenate([np.arange(len(digests[role])) for role in roles])
    every_label = np.concatenate([labels[role].numpy() for role in roles])
    groups = [
        Copies(tuple((roles[owners[at]], int(rows[at]), int(every_label[at])) for at in group))
        for group in _equal_rows(keys)
    ]
    return sorted(groups, key=lambda group: (roles.index(group.places[0][0]), group.places[0][1]))


def array_copies(images: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> list[Copies]:
    """Group the images in memory that have equal pixels, see :func:`copies`.

    A sum of the words of each image, weighted by random odd numbers, is ten times cheaper than a digest; only images
    that share a sum with another are digested.

    Shapes: per set ``images`` uint8 ``[N, C, H, W]`` and ``labels`` int64 ``[N]``.
    """
    sums = {role: _sums(part.contiguous().numpy().reshape(len(part), -1)) for role, part in images.items()}
    _, places, counts = np.unique(np.concatenate(list(sums.values())), return_inverse=True, return_counts=True)
    repeated = np.split(counts[places] > 1, np.cumsum([len(each) for each in sums.values()])[:-1])
    keys = {role: np.stack([each, np.zeros_like(each)], 1).view(np.uint8) for role, each in sums.items()}
    for (role, part), flags in zip(images.items(), repeated, strict=True):
        for row in np.flatnonzero(flags).tolist():
            digest = hashlib.blake2b(part[row].contiguous().numpy().data, digest_size=8).digest()
            keys[role][row, 8:] = np.frombuffer(digest, np.uint8)
    return copies(keys, labels)


def _sums(rows: np.ndarray) -> np.ndarray:
    words = rows.shape[1] // 8
    weights = np.random.default_rng(0).integers(0, 2**63, words + rows.shape[1] % 8, dtype=np.uint64) * 2 + 1
    sums = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        head = np.ascontiguousarray(block[:, : 8 * words]).view(np.uint64)
        tail = block[:, 8 * words :].astype(np.uint64)
        sums[start : start + _BLOCK] = head @ weights[:words] + tail @ weights[words:]
    return sums


def _equal_rows(keys: np.ndarray) -> list[list[int]]:
    """The groups of equal rows of uint64 ``[N, words]``, each ascending."""
    order = np.argsort(keys[:, 0], kind="stable")
    first = keys[order, 0]
    same = first[1:] == first[:-1]
    candidates = np.sort(order[np.concatenate([same, [False]]) | np.concatenate([[False], same])])
    groups: dict[bytes, list[int]] = {}
    for row in candidates.tolist():
        groups.setdefault(keys[row].tobytes(), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def summary(groups: Sequence[Copies], noun: str = "files") -> str:
    """One line on images that are there more than once; empty where there are none.

    A leak comes first: images that are in the training set and in one that is to measure it.

    >>> summary([Copies((("train", 0, 1), ("train", 4, 1), ("test", 2, 0)))])
    'equal files: 1 of the test set in the training set too (a leak); 1 repeated within a set; 1 under several labels'
    """
    leaks = {role: sum(group.count(role) for group in groups if group.count("train")) for role in ("test", "holdout")}
    parts = [f"{n:,} of the {SETS[role]} set in the training set too (a leak)" for role, n in leaks.items() if n]
    if shared := sum(group.count("holdout") for group in groups if group.count("test")):
        parts.append(f"{shared:,} of the validation set in the test set too")
    if repeated := sum(max(0, group.count(role) - 1) for group in groups for role in SETS):
        parts.append(f"{repeated:,} repeated within a set")
    if unclear := sum(group.disagree for group in groups):
        parts.append(f"{unclear:,} under several labels")
    return f"equal {noun}: {'; '.join(parts)}" if parts else ""
