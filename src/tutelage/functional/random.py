"""Random numbers as a pure function of their keys: no generator, so no state that a restart could lose."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical shift; torch has only the arithmetic one


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def hash_ints(*keys: int | Tensor) -> Tensor:
    """Hash integers to one 64-bit integer that looks random.

    Formula: ``h = mix(h + golden + key)`` from left to right, ``mix`` the finalizer of splitmix64, all modulo 2^64.

    Shapes: each key an ``int`` or an int64 tensor; the result int64 in their broadcast shape.

    >>> hash_ints(0, torch.arange(3)).tolist() == [hash_ints(0, i).item() for i in range(3)]
    True
    >>> hash_ints(1, 2).item() == hash_ints(2, 1).item()
    False

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    tensors = [torch.tensor(_signed(key)) if isinstance(key, int) else key for key in keys]
    return reduce(lambda h, key: _mix(h + _GOLDEN + key), tensors, torch.zeros((), dtype=torch.int64))


def uniform(*keys: int | Tensor) -> Tensor:
    """Uniform numbers in ``[0, 1)``, float64, one for each broadcast element of the keys.

    >>> draws = uniform(7, torch.arange(10_000))
    >>> bool(draws.min() >= 0), bool(draws.max() < 1), round(draws.mean().item(), 2)
    (True, True, 0.5)

    Source: the upper 53 bits of :func:`hash_ints`.
    """
    return _shift(hash_ints(*keys), 11).to(torch.float64) * 2.0**-53


def permutation(length: int, *keys: int) -> Tensor:
    """A uniformly random permutation of ``range(length)``, int64 ``[length]``.

    >>> sorted(permutation(5, 1, 2).tolist())
    [0, 1, 2, 3, 4]

    Source: the order of ``length`` hashes; equal hashes keep their order.
    """
    return torch.argsort(hash_ints(*keys, torch.arange(length)), stable=True)
