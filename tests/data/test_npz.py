from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tutelage.data import npz
from tutelage.data.npz import from_arrays, read_npz

GOOD: dict[str, Any] = {
    "train_images": np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4),
    "train_labels": np.array([0, 1, 2, 0, 1, 2]),
    "test_images": np.zeros((3, 5, 4), np.uint8),
    "test_labels": np.array([2, 0, 1], np.uint8),
}


def save(path: Path, **changes: Any) -> Path:
    np.savez_compressed(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "<script>alert(1)</script>\n"])
    splits = read_npz(save(tmp_path / "set.npz", class_names=names, weights=np.zeros(3)))
    assert splits.info.class_names == ("cat", "dog", "<script>alert(1)</script>\n")
    info = splits.info
    assert (info.channels, info.height, info.width, info.train_size, info.test_size) == (1, 5, 4, 6, 3)
    assert (info.padding, info.flip) == (1, info.channels == 3)
    np.testing.assert_array_equal(splits.train.images[:, 0].numpy(), GOOD["train_images"])
    assert splits.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert splits.test.labels.dtype == torch.int64
    assert splits.test.ids.tolist() == [0, 1, 2]
    assert splits.fingerprint == read_npz(save(tmp_path / "again.npz", class_names=names)).fingerprint


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_form_that_numpy_writes_is_read(version: tuple[int, int], order: Any, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name, value in GOOD.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(value, order=order), version=version)
    assert read_npz(path).fingerprint == from_arrays(**GOOD).fingerprint


def test_big_endian_labels_are_read() -> None:
    swapped = from_arrays(**GOOD | {"train_labels": GOOD["train_labels"].astype(">i2")})
    assert swapped.fingerprint == from_arrays(**GOOD).fingerprint


def test_tensors_and_lists_are_taken_too() -> None:
    tensors: dict[str, Any] = {key: torch.from_numpy(value) for key, value in GOOD.items()}
    lists = GOOD | {"train_labels": [0, 1, 2, 0, 1, 2], "test_labels": (2, 0, 1)}
    assert from_arrays(**tensors).fingerprint == from_arrays(**lists).fingerprint == from_arrays(**GOOD).fingerprint


def test_read_only_arrays_are_taken() -> None:
    images = GOOD["train_images"].copy()
    images.flags.writeable = False
    assert from_arrays(**GOOD | {"train_images": images}).fingerprint == from_arrays(**GOOD).fingerprint


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(2, 5), st.sampled_from([1, 3]), st.integers(4, 7), st.integers(4, 7)))
)
def test_channels_are_found_wherever_they_are(images: np.ndarray) -> None:
    labels = np.arange(len(images)) % 2
    first = from_arrays(images, labels, images, labels)
    last = from_arrays(images.transpose(0, 2, 3, 1), labels, images, labels)
    assert first.fingerprint == last.fingerprint
    np.testing.assert_array_equal(last.train.images.numpy(), images)
    if images.shape[1] == 1:
        assert from_arrays(images[:, 0], labels, images, labels).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 3, 8, 3), r"of \[6, 3, 8, 3\] both could be"),
        ((6, 1, 8, 3), "both could be"),
        ((6, 8, 8, 4), r"of \[6, 8, 8, 4\] neither is"),
        ((6, 8, 3, 8), "neither is"),
        ((6, 8), r"not \[6, 8\]"),
        ((6, 1, 8, 8, 3), r"not \[6, 1, 8, 8, 3\]"),
        ((0, 8, 8), r"not \[0, 8, 8\]"),
        ((6, 0, 8), r"not \[6, 0, 8\]"),
    ],
)
def test_shapes_that_are_no_images(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"train_images: .*{message}"):
        from_arrays(**GOOD | {"train_images": np.zeros(shape, np.uint8)})


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((6, 5, 4))}, "train_images: expected uint8 pixels from 0 to 255, not float64"),
        ({"test_images": np.zeros((3, 5, 4), np.int64)}, "test_images: expected uint8 .* not int64"),
        ({"train_labels": [0, 1]}, "6 train_images, but 2 train_labels"),
        (
            {"train_labels": [0, 1, -100, 0, -1, 2]},
            "2 of 6 labels are not from 0 to 999999: -100 at row 2, -1 at row 4",
        ),
        ({"train_labels": [0.0, 0.5, 1, 2, 0, 1]}, "must be integers, not float64: 0.0 at row 0, 0.5 at row 1"),
        ({"train_labels": torch.rand(6).bool()}, "train_labels: labels must be integers, not bool"),
        ({"train_labels": list("abcabc")}, "train_labels: labels must be integers, not <U1: a at row 0"),
        (
            {"train_labels": np.eye(6, dtype=int)},
            r"train_labels: expected one label per image, .* not shape \[6, 6\]",
        ),
        ({"train_labels": [0, 1, 3, 0, 1, 3]}, "they go up to 3 but none is 2; pass class_names if that is intended"),
        ({"train_labels": [1, 2, 1, 2, 1, 2]}, "they go up to 2 but none is 0"),
        (
            {"train_labels": np.array([2**63] * 6, np.uint64)},
            "6 of 6 labels are not from 0 to 999999: 9223372036854775808",
        ),
        ({"train_labels": [0] * 6, "test_labels": [0] * 3}, "expected 2 or more classes, not 1"),
        ({"test_labels": [0, 1, 3]}, "test_labels: 1 of 3 labels are not from 0 to 2: 3 at row 2"),
        ({"test_labels": [0, -100, 1]}, "test_labels: 1 of 3 labels are not from 0 to 2: -100 at row 1"),
        ({"class_names": ["a", "b"]}, "train_labels: 2 of 6 labels are not from 0 to 1: 2 at row 2, 2 at row 5"),
        ({"class_names": ["a"]}, "class_names: expected a list of 2 or more texts, not <U1 of shape"),
        ({"class_names": [1, 2, 3]}, "class_names: expected a list of 2 or more texts, not int64"),
        ({"class_names": "abc"}, r"class_names: expected .* of shape \[\]"),
        ({"test_images": np.zeros((3, 4, 5), np.uint8)}, r"differ: \[C, H, W\] is \[1, 5, 4\] and \[1, 4, 5\]"),
        ({"test_images": np.zeros((3, 5, 4, 3), np.uint8)}, r"\[1, 5, 4\] and \[3, 5, 4\]"),
        ({"test_images": np.zeros((0, 5, 4), np.uint8), "test_labels": []}, "test_images: .*with no dimension 0"),
    ],
)
def test_arrays_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(**GOOD | changes)


def test_class_names_allow_a_class_without_images() -> None:
    splits = from_arrays(**GOOD | {"class_names": ["a", "b", "c", "not yet"]})
    assert splits.info.num_classes == 4


def test_class_names_that_are_bytes_become_text() -> None:
    names = np.array([b"caf\xc3\xa9", b"caf\xe9", b"c"])
    assert from_arrays(**GOOD | {"class_names": names}).info.class_names == ("café", "caf\\udce9", "c")


@pytest.mark.parametrize(("side", "padding"), [(23, 1), (24, 4), (32, 4)])
def test_padding_follows_the_size(side: int, padding: int) -> None:
    images = np.zeros((2, side, side), np.uint8)
    assert from_arrays(images, [0, 1], images, [0, 1]).info.padding == padding


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", test_labels=None, test_images=None)
    with pytest.raises(
        ValueError, match=r"set.npz' cannot be used: it lacks test_images, test_labels; it contains train_i"
    ):
        read_npz(path)


@pytest.mark.fault(28)
def test_python_objects_are_refused_unread(tmp_path: Path) -> None:
    marker = tmp_path / "pwned"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(marker)!r}, 'w').close()",)

    for name in (*GOOD, "class_names"):
        path = save(tmp_path / f"{name}.npz", **{name: np.array([Evil(), 1], dtype=object)})
        with pytest.raises(ValueError, match=f"{name}.npy contains Python objects, which are refused"):
            read_npz(path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more", pytest.param(None, id="npy")])
def test_other_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    if content is None:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.npz' cannot be used: File is not a zip file"):
        read_npz(path)


def test_damage_is_found_or_harmless(tmp_path: Path) -> None:
    content = save(tmp_path / "set.npz").read_bytes()
    expected = from_arrays(**GOOD).fingerprint
    path, refused = tmp_path / "bad.npz", 0
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        path.write_bytes(bytes(changed))
        try:
            fingerprint = read_npz(path).fingerprint
        except ValueError as error:
            assert "bad.npz' cannot be used" in str(error)  # noqa: PT017 - dates in the zip may change freely
            refused += 1
        else:
            assert fingerprint == expected
    assert refused > 0.5 * len(content) / 3
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cannot be used"):
            read_npz(path)


def npy(shape: tuple[int, ...], content: bytes, descr: str = "|u1") -> bytes:
    header = str({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def bomb(path: Path, member: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in GOOD.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(value))
            file.writestr(f"{name}.npy", member if name == "train_images" else buffer.getvalue())
    return path


def peak_of_refusing(path: Path, message: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read_npz(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.fault(27)
@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**62, 4), (0, -1), (-6, -20), (10**30,)])
def test_a_shape_that_the_file_does_not_hold_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = bomb(tmp_path / "set.npz", npy(shape, bytes(120)))
    assert peak_of_refusing(path, "declares the shape .* which does not match its size") < 2**21


@pytest.mark.fault(27)
def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert npz.MAX_BYTES <= 2**32
    monkeypatch.setattr(npz, "MAX_BYTES", 2**20)
    path = bomb(tmp_path / "set.npz", npy((2**22,), bytes(2**22)))
    assert path.stat().st_size < 20_000
    assert peak_of_refusing(path, r"arrays have \d+ bytes; at most 1048576 are kept") < 2**21


@pytest.mark.fault(27)
def test_a_bomb_that_declares_less_is_refused(tmp_path: Path) -> None:
    content = bytearray(bomb(tmp_path / "set.npz", npy((2**24,), bytes(2**24))).read_bytes())
    size = struct.pack("<I", len(npy((2**24,), b"")) + 2**24)
    lie = npy((600,), b"")
    shorter = bytes(content).replace(size, struct.pack("<I", len(lie) + 600))
    assert shorter != bytes(content)
    path = tmp_path / "lie.npz"
    path.write_bytes(shorter)
    assert peak_of_refusing(path, "cannot be used") < 2**22


@pytest.mark.fault(27)
def test_a_long_header_is_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "set.npz", npy((1,) * 15_000, b"a"))
    assert peak_of_refusing(path, "cannot be used") < 2**22


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "header", [b"{", b"{'descr': '|u1', (", b"{'descr': '|u1'}", b"\xff\n", b"'" * 99, b"(" * 500]
)
def test_headers_that_are_none(header: bytes, tmp_path: Path) -> None:
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(120)
    assert peak_of_refusing(bomb(tmp_path / "set.npz", member), r"set\.npz' cannot be used: ") < 2**22


@pytest.mark.fault(27)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", [0x110000, 2**31, 2**32 - 1])
def test_characters_that_are_none(order: str, code: int, tmp_path: Path) -> None:
    """NumPy makes texts of them, or fails as no reader should."""
    names = np.frombuffer(struct.pack(f"{order}6I", 97, 98, 99, code, 100, 101), dtype=f"{order}U2")
    with pytest.raises(ValueError, match="class_names: they contain an invalid character"):
        read_npz(save(tmp_path / "set.npz", class_names=names))
    good = np.frombuffer(struct.pack(f"{order}6I", 97, 98, 99, 0x1F600, 100, 101), dtype=f"{order}U2")
    assert read_npz(save(tmp_path / "set.npz", class_names=good)).info.class_names == ("ab", "c\U0001f600", "de")


@pytest.mark.fault(27)
def test_other_compressions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        for name in GOOD:
            file.writestr(f"{name}.npy", b"")
    with pytest.raises(ValueError, match=r"train_images\.npy is compressed by a method that NumPy does not use"):
        read_npz(path)


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dog", "cat"], "classes 0 and 2 are both named 'cat'"),
        (["", ""], "classes 0 and 1 are both named ''"),
        ([b"\xe9", b"\xe9"], "classes 0 and 1 are both named"),
        (["a"] * 100_000, "classes 0 and 1 are both named 'a'"),
    ],
)
def test_two_classes_of_one_name(names: list[str], message: str, tmp_path: Path) -> None:
    pixels, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    arrays = {"train_images": pixels, "train_labels": labels, "test_images": pixels, "test_labels": labels}
    np.savez(tmp_path / "set.npz", **arrays, class_names=np.array(names))
    with pytest.raises(ValueError, match=rf"set\.npz' cannot be used: class_names: {message}"):
        read_npz(tmp_path / "set.npz")
    with pytest.raises(ValueError, match=message):
        from_arrays(**arrays, class_names=names if isinstance(names[0], str) else np.array(names))
