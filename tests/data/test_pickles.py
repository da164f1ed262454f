from __future__ import annotations

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.pickles import MAX_OPERATIONS, read_pickle

# {'data': array([[1, 2], [3, 4]], uint8), 'fine_labels': [0, 5]} as Python 2 with NumPy 1 wrote it, like CIFAR.
PYTHON_2 = (
    b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
    b"U\x01b\x87Rq\x04(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNNJ\xff\xff"
    b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\x03\x04tbU\x0bfine_labelsq\x07]q\x08(K\x00K\x05eu."
)


def test_python_2_pickle_is_read() -> None:
    entries = read_pickle(PYTHON_2, "batch")
    assert list(entries) == ["data", "fine_labels"]
    np.testing.assert_array_equal(entries["data"], np.array([[1, 2], [3, 4]], np.uint8))
    assert entries["fine_labels"] == [0, 5]


def test_the_reference_reader_agrees() -> None:
    expected = pickle.loads(PYTHON_2, encoding="latin1")
    np.testing.assert_array_equal(read_pickle(PYTHON_2, "batch")["data"], expected["data"])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_today_are_read(protocol: int, order: str) -> None:
    pixels = np.asarray(np.arange(12, dtype=np.uint8).reshape(3, 4), order=order)  # type: ignore[call-overload]
    value = {"data": pixels, b"labels": [0, 255, 70_000, -1], "name": "é", "shared": ["a", "a"], "none": (None, True)}
    entries = read_pickle(pickle.dumps(value, protocol=protocol), "batch")
    np.testing.assert_array_equal(entries["data"], pixels)
    assert entries["labels"] == [0, 255, 70_000, -1]
    assert (entries["name"], entries["shared"], entries["none"]) == ("é", ["a", "a"], (None, True))


@pytest.mark.fault(28)
def test_no_payload_runs(payloads: dict[str, bytes]) -> None:
    assert len(payloads) > 50
    for name, payload in payloads.items():
        with pytest.raises(ValueError, match="batch: ") as caught:
            read_pickle(payload, "batch")
        assert caught.value.__cause__ is None, name


@pytest.mark.fault(28)
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_refused_name_is_told(protocol: int) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    with pytest.raises(ValueError, match=r"names posix\.system"):
        read_pickle(pickle.dumps(Evil(), protocol=protocol), "batch")


@pytest.mark.fault(28)
def test_names_of_an_array_cannot_be_called_otherwise() -> None:
    encode = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R."
    with pytest.raises(ValueError, match="calls something that is not part of an array"):
        read_pickle(encode, "batch")
    with pytest.raises(ValueError, match="sets the state of something"):
        read_pickle(b"\x80\x02cnumpy\nndarray\n(X\x01\x00\x00\x00atb.", "batch")
    with pytest.raises(ValueError, match=r"names numpy\.load"):
        read_pickle(b"\x80\x02cnumpy\nload\n.", "batch")


@pytest.mark.parametrize("value", [np.zeros(3), np.array([None]), np.array(["a"]), np.zeros(2, "u1,u1")])
def test_arrays_of_anything_but_bytes_are_refused(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="batch: "):
        read_pickle(pickle.dumps({"data": value}, protocol=2), "batch")


@pytest.mark.parametrize("shape", [(2**40, 2**40), (3, 3), (-1, 4), (-2, -2), (1, 1, 1, 1, 4), ("a",)])
def test_a_shape_that_does_not_fit_is_refused(shape: tuple[object, ...]) -> None:
    good = pickle.dumps((2, 2), protocol=2)[2:-3]
    assert good == b"K\x02K\x02\x86"
    bad = pickle.dumps([*shape], protocol=4)
    items = bad[bad.index(b"(") + 1 : -2] if len(shape) > 1 else b"X\x01\x00\x00\x00a"
    spoiled = PYTHON_2.replace(b"(K\x01K\x02K\x02\x86", b"(K\x01(" + items.replace(b"\x94", b"") + b"t")
    with pytest.raises(ValueError, match="batch: damaged pickle"):
        read_pickle(spoiled, "batch")


def test_damage_is_refused_at_every_length() -> None:
    for length in range(len(PYTHON_2)):
        with pytest.raises(ValueError, match="batch: "):
            read_pickle(PYTHON_2[:length], "batch")


@pytest.mark.parametrize("value", [[1], "text", 3, None])
def test_only_a_dictionary_is_taken(value: object) -> None:
    with pytest.raises(ValueError, match="expected a pickled dictionary"):
        read_pickle(pickle.dumps(value, protocol=2), "batch")


def peak_of_refusing(data: bytes, message: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read_pickle(data, "batch")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.fault(27, 28)
def test_absurd_pickles_cost_little_memory() -> None:
    memo = b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"]."  # the C unpickler would allocate 64 GB for this
    assert peak_of_refusing(memo, "damaged") < 2**20
    declared = b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc."
    assert peak_of_refusing(declared, "damaged") < 2**20
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x01"
    copies = b"\x80\x02]q\x00(" + text + b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R" * 1000 + b"e."
    assert peak_of_refusing(copies, "uses a string of 1000000 characters twice") < 2**24


@pytest.mark.fault(27, 28)
def test_nested_tuples_as_key_end_at_once() -> None:
    # Hashing this key would take 2^60 steps, hashing the deep one would overflow the stack of the interpreter.
    wide = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."
    deep = b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s."
    for data in (wide, deep):
        with pytest.raises(ValueError, match="expected a str, not a tuple"):
            read_pickle(data, "batch")


@pytest.mark.fault(28)
@pytest.mark.parametrize("inner", [b")" + b"q\x00h\x00\x86" * 60, b"]" + b"q\x00h\x00a", b")" + b"\x85" * 100_000])
def test_absurd_values_where_texts_belong(inner: bytes) -> None:
    for data in (inner + b"U\x01a\x93.", b"U\x01a" + inner + b"\x93.", b"cnumpy\ndtype\n" + inner + b"\x85R."):
        with pytest.raises(ValueError, match="damaged pickle"):
            read_pickle(b"\x80\x02" + data, "batch")


@pytest.mark.fault(27)
def test_the_number_of_operations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OPERATIONS <= 2_000_000
    monkeypatch.setattr("tutelage.data.pickles.MAX_OPERATIONS", 1000)
    assert read_pickle(b"\x80\x02}U\x01a](" + b"]" * 900 + b"es.", "batch")["a"] == [[]] * 900
    with pytest.raises(ValueError, match="more than 1000 operations"):
        read_pickle(b"\x80\x02}U\x01a](" + b"]" * 1001 + b"es.", "batch")


OPERATIONS = [
    b"(",
    b"]",
    b"}",
    b")",
    b"N",
    b"K\x01",
    b"U\x01a",
    b"a",
    b"e",
    b"s",
    b"u",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
]
OPERATIONS += [b"q\x00", b"h\x00", b"\x94", b"R", b"b", b"\x93", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"U\x02u1"]
OPERATIONS += [b"cnumpy.core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n", b"X\x06\x00\x00\x00latin1"]


@pytest.mark.fault(28)
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(OPERATIONS), max_size=40))
def test_any_sequence_of_allowed_operations_is_data_or_an_error(operations: list[bytes]) -> None:
    try:
        result = read_pickle(b"\x80\x02" + b"".join(operations) + b".", "batch")
    except ValueError as error:
        assert str(error).startswith("batch: ")  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(key, str) for key in result)


@pytest.mark.fault(28)
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PYTHON_2) - 1), st.integers(0, 255))
def test_any_changed_byte_is_data_or_an_error(position: int, value: int) -> None:
    changed = PYTHON_2[:position] + bytes([value]) + PYTHON_2[position + 1 :]
    try:
        result = read_pickle(changed, "batch")
    except ValueError as error:
        assert str(error).startswith("batch: ")  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(key, str) for key in result)
