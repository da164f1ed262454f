from __future__ import annotations

import gzip
import shutil
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tutelage.data import DataConfig, decode_cache, idx
from tutelage.data.idx import FILES, is_idx, read_idx
from tutelage.data.load import dataset_info, load

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "train_images": RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8),
    "train_labels": (np.arange(30) % 10).astype(np.uint8),
    "test_images": RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "test_labels": (np.arange(20) % 10).astype(np.uint8),
}
IMAGES, LABELS = FILES["train_images"], FILES["train_labels"]


def packed(values: np.ndarray, kind: int = 8) -> bytes:
    """An IDX file of these values."""
    return bytes((0, 0, kind, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def make_idx(folder: Path, name: Callable[[str], str] = str, **changes: np.ndarray) -> Path:
    """Write the four files under the names that ``name`` makes of theirs, gzipped where that ends in ``.gz``."""
    folder.mkdir(parents=True, exist_ok=True)
    for array, values in (ARRAYS | changes).items():
        path, content = folder / name(FILES[array]), packed(values)
        path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return folder


def refused(folder: Path, message: str) -> str:
    """The one line with which a set is refused, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            read_idx(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_four_files_are_read(tmp_path: Path) -> None:
    splits = read_idx(make_idx(tmp_path / "set"))
    info = splits.info
    assert (info.channels, info.height, info.width, info.train_size, info.test_size) == (1, 28, 28, 30, 20)
    assert info.class_names == tuple("0123456789")
    assert (info.padding, info.flip, info.holdout_size, splits.holdout) == (4, False, 0, None)
    np.testing.assert_array_equal(splits.train.images[:, 0].numpy(), ARRAYS["train_images"])
    np.testing.assert_array_equal(splits.test.images[:, 0].numpy(), ARRAYS["test_images"])
    assert splits.train.labels.tolist() == ARRAYS["train_labels"].tolist()
    assert splits.test.labels.tolist() == ARRAYS["test_labels"].tolist()


NAMES: dict[str, Callable[[str], str]] = {
    "as they are": str,
    "a dot": lambda name: name.replace("-idx", ".idx"),
    "gzip": lambda name: f"{name}.gz",
    "a dot, gzip": lambda name: f"{name.replace('-idx', '.idx')}.gz",
    "some of each": lambda name: f"{name}.gz" if "images" in name else name.replace("-idx", ".idx"),
}


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"])
@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_and_place_is_the_same_set(name: str, place: str, tmp_path: Path) -> None:
    expected = read_idx(make_idx(tmp_path / "plain")).fingerprint
    make_idx(tmp_path / "root" / place, NAMES[name])
    assert is_idx(tmp_path / "root")
    assert load(DataConfig(name=str(tmp_path / "root")), tmp_path).fingerprint == expected


def test_unpacked_files_are_preferred_and_folders_passed_over(tmp_path: Path) -> None:
    """As torchvision leaves them, with the archives beside; and as Kaggle does, with folders of the same name."""
    both = make_idx(tmp_path / "both")
    expected = read_idx(both).fingerprint
    for name in FILES.values():
        (both / f"{name}.gz").write_bytes(b"not read")
    assert read_idx(both).fingerprint == expected
    kaggle = make_idx(tmp_path / "kaggle", NAMES["a dot"])
    for name in FILES.values():
        (kaggle / name).mkdir()
    assert read_idx(kaggle).fingerprint == expected


def test_parts_of_a_set_are_those_of_any_other(tmp_path: Path) -> None:
    config = DataConfig(name=str(make_idx(tmp_path / "set")), train_size=25, holdout=5, test_size=12)
    splits = load(config, tmp_path)
    assert splits.holdout is not None
    assert (len(splits.train), len(splits.holdout), len(splits.test)) == (20, 5, 12)
    assert dataset_info(config, tmp_path) == splits.info


def test_other_sizes_and_fewer_classes_are_read(tmp_path: Path) -> None:
    small = {name: values[:, :9, :7] for name, values in ARRAYS.items() if "images" in name}
    two = {name: values % 2 for name, values in ARRAYS.items() if "labels" in name}
    info = read_idx(make_idx(tmp_path, **small, **two)).info
    assert (info.height, info.width, info.class_names) == (9, 7, ("0", "1"))


@pytest.mark.parametrize(
    "missing", [{"train_images"}, {"train_labels", "test_labels"}, {"train_labels", "test_images", "test_labels"}]
)
def test_missing_files_are_named(missing: set[str], tmp_path: Path) -> None:
    make_idx(tmp_path / "set", NAMES["gzip"])
    for array in missing:
        (tmp_path / "set" / f"{FILES[array]}.gz").unlink()
    names = ", ".join(name for array, name in FILES.items() if array in missing)
    refused(tmp_path / "set", f"set' cannot be used: it lacks {names} \\(each may end in .gz\\)$")


def test_several_sets_below_one_root(tmp_path: Path) -> None:
    for name in ("MNIST", "KMNIST"):
        make_idx(tmp_path / name / "raw")
    message = refused(tmp_path, "it contains several sets; choose ")
    assert message.endswith(f"choose '{tmp_path / 'MNIST' / 'raw'}' or '{tmp_path / 'KMNIST' / 'raw'}'")
    assert read_idx(tmp_path / "MNIST").info.train_size == 30


@pytest.mark.parametrize("place", ["", "raw", "EMNIST/raw"])
@pytest.mark.parametrize("part", ["letters", "balanced", "mnist"])
def test_emnist_is_refused_by_name(place: str, part: str, tmp_path: Path) -> None:
    spell = {"t10k": "test"}
    make_idx(
        tmp_path / place, lambda name: f"emnist-{part}-{spell.get(name[:4], 'train')}{name[name.index('-') :]}.gz"
    )
    assert is_idx(tmp_path)
    refused(tmp_path, f"emnist-{part}-test-images-idx3-ubyte.gz' cannot be used: EMNIST is not supported")


def test_folders_of_images_are_no_idx(tmp_path: Path) -> None:
    (tmp_path / "train" / IMAGES).mkdir(parents=True)
    assert not is_idx(tmp_path)
    assert not is_idx(tmp_path / "train")
    assert not is_idx(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=f"nowhere' cannot be used: it lacks {IMAGES}"):
        read_idx(tmp_path / "nowhere")


def shaped(*shape: int, content: bytes = b"") -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + content


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it begins with nothing, not with 00000803, as unsigned bytes in 3 dimensions do"),
    "two bytes": (b"\0\0", "it begins with 0000, not with 00000803"),
    "labels": (packed(ARRAYS["train_labels"]), "it begins with 00000801, not with 00000803"),
    "floats": (packed(ARRAYS["train_images"], kind=0x0D), "it begins with 00000d03, not with 00000803"),
    "a web page": (b"<!DOCTYPE html>", "it begins with 3c21444f, not with 00000803"),
    "half a header": (shaped(30, 28, 28)[:9], "it ends within its header"),
    "2^96 bytes": (shaped(*[2**32 - 1] * 3, content=bytes(99)), r"it declares the shape \[4294967295, "),
    "1 GiB": (shaped(2**20, 32, 32, content=bytes(99)), r"it declares the shape \[1048576, 32, 32\]"),
    "no images": (shaped(0, 28, 28), r"train_images: expected the shape .* with no dimension 0"),
    "no height": (shaped(30, 0, 28), r"train_images: expected the shape .* with no dimension 0"),
}


@pytest.mark.fault(27, 29)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_cannot_be_is_refused_unread(name: str, suffix: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    make_idx(tmp_path / "set", lambda name: name + suffix)
    path = tmp_path / "set" / f"{IMAGES}{suffix}"
    path.write_bytes(gzip.compress(content, mtime=0) if suffix else content)
    place = "set" if "train_images:" in message else path.name
    refused(tmp_path / "set", f"{place}' cannot be used: {message}")


@pytest.mark.fault(27, 29)
@pytest.mark.parametrize("more", [1, 29, 2**16])
def test_a_plain_file_has_the_size_that_it_declares(more: int, tmp_path: Path) -> None:
    path = make_idx(tmp_path / "set") / LABELS
    content = path.read_bytes()
    path.write_bytes(content + bytes(more))
    refused(tmp_path / "set", rf"{LABELS}' .* the shape \[30\], a file of 38 bytes, but has {38 + more}$")
    path.write_bytes(content[: -min(more, 30)])
    refused(tmp_path / "set", rf"{LABELS}' .* a file of 38 bytes, but has {38 - min(more, 30)}$")


GZIPPED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "not gzip": (lambda content: content, "incorrect header check"),
    "truncated": (lambda content: gzip.compress(content, mtime=0)[:-9], "it is truncated"),
    "another checksum": (lambda content: gzip.compress(content, mtime=0)[:-8] + bytes(8), "incorrect data check"),
    "a bit": (
        lambda content: gzip.compress(content[:-1] + b"\1", mtime=0)[:-8] + end(content),
        "incorrect data check",
    ),
    "less": (lambda content: gzip.compress(content[:-5], mtime=0), "declares 23536 bytes, but it has 23531"),
    "one more": (lambda content: gzip.compress(content + b"\0", mtime=0), "more bytes than its header declares"),
    "64 MiB more": (
        lambda content: gzip.compress(content, mtime=0) + gzip.compress(bytes(2**26), mtime=0),
        "more bytes than its header declares",
    ),
    "empty streams": (
        lambda content: gzip.compress(b"", mtime=0) * 2000,
        "it consists of more than 1000 compressed streams",
    ),
}


def end(content: bytes) -> bytes:
    return struct.pack("<II", zlib.crc32(content), len(content))


@pytest.mark.fault(27, 29)
@pytest.mark.parametrize("name", GZIPPED)
def test_gzip_is_read_to_what_is_declared_and_no_further(name: str, tmp_path: Path) -> None:
    change, message = GZIPPED[name]
    path = make_idx(tmp_path / "set", NAMES["gzip"]) / f"{IMAGES}.gz"
    path.write_bytes(change(packed(ARRAYS["train_images"])))
    refused(tmp_path / "set", f"{path.name}' cannot be used: .*{message}")


def test_streams_that_follow_each_other_are_one_file(tmp_path: Path) -> None:
    path = make_idx(tmp_path / "set", NAMES["gzip"]) / f"{IMAGES}.gz"
    expected, content = read_idx(path.parent).fingerprint, packed(ARRAYS["train_images"])
    path.write_bytes(b"".join(gzip.compress(part, mtime=0) for part in (content[:7], content[7:500], content[500:])))
    assert read_idx(path.parent).fingerprint == expected


@pytest.mark.fault(27)
def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_idx(tmp_path / "set")
    assert idx.MAX_BYTES <= 2**32
    monkeypatch.setattr(idx, "MAX_BYTES", 30_000)
    refused(tmp_path / "set", r"set' cannot be used: its arrays have 39250 bytes; at most 30000 are kept in memory")


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    folder = make_idx(tmp_path / "set", NAMES["gzip"])
    (folder / f"{IMAGES}.gz").write_bytes(b"damaged")
    (folder / f"{LABELS}.gz").unlink()
    (folder / f"{FILES['test_images']}.gz").unlink()
    (folder / FILES["test_images"]).symlink_to("nowhere")
    (folder / f"{FILES['test_labels']}.gz").write_bytes(gzip.compress(shaped(2**31)))
    message = refused(folder, f"it lacks {LABELS} ")
    assert message.count("cannot be used: ") == 4
    for name in (f"{IMAGES}.gz", FILES["test_images"], f"{FILES['test_labels']}.gz"):
        assert f"{name}' cannot be used: " in message


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": ARRAYS["train_labels"][:29]}, "30 train_images, but 29 train_labels"),
        ({"test_labels": np.full(20, 10, np.uint8)}, "test_labels: 20 of 20 labels are not from 0 to 9: 10 at row 0"),
        ({"train_labels": ARRAYS["train_labels"] + 1}, "train_labels: they go up to 10 but none is 0"),
        (
            {"test_images": ARRAYS["test_images"][:, :27]},
            r"train_images and test_images differ: .* and \[1, 27, 28\]",
        ),
    ],
)
def test_files_that_do_not_fit_each_other(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    refused(make_idx(tmp_path / "set", **changes), f"set' cannot be used: {message}")


def test_files_are_decoded_once_and_again_when_they_change(tmp_path: Path) -> None:
    decode_cache.datasets.clear()
    make_idx(tmp_path / "root" / "MNIST" / "raw")
    config = DataConfig(name=str(tmp_path / "root"))
    first = load(config, tmp_path)
    assert load(config, tmp_path) is first
    make_idx(tmp_path / "other", train_images=ARRAYS["train_images"][::-1])
    shutil.copy(tmp_path / "other" / IMAGES, tmp_path / "root" / "MNIST" / "raw" / IMAGES)
    assert load(config, tmp_path).fingerprint != first.fingerprint
    decode_cache.datasets.clear()
