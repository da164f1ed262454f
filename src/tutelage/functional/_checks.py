"""Checks of shapes and plain numbers. None reads a tensor's values, so none makes the host wait for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def shape(tensor: Tensor) -> str:
    """Write a shape for an error message.

    >>> shape(torch.zeros(2, 3))
    '[2, 3]'
    """
    return str(list(tensor.shape))


def check_matrix(name: str, tensor: Tensor) -> None:
    """Refuse anything but ``[B, K]``.

    >>> check_matrix("logits", torch.zeros(2, 3))
    """
    if tensor.dim() != 2:
        raise ValueError(f"{name} must be [B, K], got {shape(tensor)}")


def check_alike(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse two tensors of different shapes, which would broadcast, or fail far from the cause.

    >>> check_alike("a", torch.zeros(2, 3), "b", torch.ones(2, 3))
    """
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} {shape(tensor)} and {other_name} {shape(other)} must have the same shape (nothing broadcasts)"
        )


def check_pair(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse anything but two ``[B, K]`` of the same shape.

    >>> check_pair("a", torch.zeros(2, 3), "b", torch.ones(2, 3))
    """
    check_alike(name, tensor, other_name, other)
    check_matrix(name, tensor)


def check_labels(labels: Tensor, rows: Tensor | None = None) -> None:
    """Refuse anything but class indices ``[B]``; with ``rows``, one for each of them.

    >>> check_labels(torch.tensor([0, 2]), torch.zeros(2, 3))
    """
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"labels must be class indices (integers), got {labels.dtype}")
    if labels.dim() != 1:
        raise ValueError(f"labels must be class indices [B], got {shape(labels)}")
    if rows is not None and labels.shape[0] != rows.shape[0]:
        raise ValueError(f"labels {shape(labels)} and rows {shape(rows)} must agree in their first dimension")


def check_classes(num_classes: int, least: int = 1) -> None:
    """Refuse a number of classes below ``least``.

    >>> check_classes(10)
    """
    if num_classes < least:
        raise ValueError(f"num_classes must be at least {least}, got {num_classes}")


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside ``[low, high]`` (NaN is outside).

    >>> check_between("smoothing", 0.1, 0.0, 1.0)
    """
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")


def check_positive(name: str, value: float) -> None:
    """Refuse anything but a finite number above zero.

    >>> check_positive("temperature", 4.0)
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def check_features(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse anything but two ``[B, ...]`` of one batch; the other dimensions may differ.

    >>> check_features("a", torch.zeros(2, 3), "b", torch.ones(2, 5, 4, 4))
    """
    for each, features in ((name, tensor), (other_name, other)):
        if features.dim() < 2:
            raise ValueError(f"{each} must be [B, ...] with at least two dimensions, got {shape(features)}")
    if tensor.shape[0] != other.shape[0]:
        raise ValueError(f"{name} {shape(tensor)} and {other_name} {shape(other)} must be of one batch")


def check_maps(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse anything but two ``[B, C, H, W]`` with the same B, H and W; the channels may differ.

    >>> check_maps("a", torch.zeros(2, 3, 4, 4), "b", torch.ones(2, 5, 4, 4))
    """
    for each, maps in ((name, tensor), (other_name, other)):
        if maps.dim() != 4:
            raise ValueError(f"{each} must be [B, C, H, W], got {shape(maps)}")
    if tensor.shape[0] != other.shape[0] or tensor.shape[2:] != other.shape[2:]:
        raise ValueError(
            f"{name} {shape(tensor)} and {other_name} {shape(other)} must have the same B, H and W; "
            "pool the larger map to the smaller first"
        )
