"""Random numbers as functions of their keys, against a second implementation in Python's integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.functional import hash_ints, permutation, uniform

from .inputs import repeatable

MASK = 2**64 - 1
keys = st.integers(-(2**63), 2**64 - 1)


def splitmix(state: int) -> int:
    x = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def reference(*numbers: int) -> int:
    h = 0
    for number in numbers:
        h = splitmix(h + 0x9E3779B97F4A7C15 + number & MASK)
    return h


def test_first_numbers_of_splitmix64() -> None:
    # the published sequence of seed 0: the state grows by the golden number before each output
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    golden = 0x9E3779B97F4A7C15
    assert [int(hash_ints(i * golden).item()) & MASK for i in range(3)] == published


@repeatable
@given(st.lists(keys, min_size=1, max_size=4))
def test_hash_is_the_reference(numbers: list[int]) -> None:
    assert int(hash_ints(*numbers).item()) & MASK == reference(*numbers)


@repeatable
@given(keys, st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_hash_of_a_tensor_is_elementwise(key: int, numbers: list[int]) -> None:
    hashed = hash_ints(key, torch.tensor(numbers))
    assert [h & MASK for h in hashed.tolist()] == [reference(key, number) for number in numbers]


def test_keys_broadcast() -> None:
    rows, columns = torch.arange(3)[:, None], torch.arange(4)
    hashed = hash_ints(5, rows, columns)
    assert hashed.shape == (3, 4)
    assert hashed[2, 3].item() == hash_ints(5, 2, 3).item()


@repeatable
@given(keys)
def test_uniform_is_the_upper_bits(key: int) -> None:
    assert uniform(key).item() == (reference(key) >> 11) / 2**53


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_uniform_fills_its_bins_evenly(seed: int) -> None:
    draws, bins = 64_000, 64
    counts = torch.histc(uniform(seed, torch.arange(draws)), bins, 0.0, 1.0)
    expected = draws / bins
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert 24 < chi_square < 126  # 63 degrees of freedom, standard deviation 11.2


def test_consecutive_keys_are_uncorrelated() -> None:
    draws = uniform(3, torch.arange(100_000))
    assert abs(torch.corrcoef(torch.stack([draws[:-1], draws[1:]]))[0, 1].item()) < 0.015


@repeatable
@given(st.integers(0, 200), keys)
def test_permutation_is_a_permutation(length: int, key: int) -> None:
    order = permutation(length, key)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(length))
    assert torch.equal(order, permutation(length, key))


def test_permutations_are_even() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for key in range(3000):
        order = tuple(permutation(3, key).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 500) < 100 for count in counts.values())  # standard deviation 20.4


def test_keys_matter_in_their_order() -> None:
    assert not torch.equal(permutation(50, 1, 2), permutation(50, 2, 1))
