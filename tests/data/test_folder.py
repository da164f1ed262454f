from __future__ import annotations

import io
import os
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.folders import read_folder, read_image
from tutelage.data import pixel_map

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path: Path, color: Any = RED, size: tuple[int, int] = (32, 32), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


def make(root: Path, **count: int) -> Path:
    """A folder with ``count`` images of each class; all pixels of an image have its number as their value."""
    for label, (name, number) in enumerate(count.items()):
        for row in range(number):
            save(root / name / f"{row:03d}.png", (row, label, 0))
    return root


def test_classes_in_folders(tmp_path: Path) -> None:
    splits = read_folder(make(tmp_path, dog=10, cat=20, bee=5))
    info = splits.info
    assert info.class_names == ("bee", "cat", "dog")
    assert (info.channels, info.height, info.width, info.padding, info.flip) == (3, 32, 32, 4, True)
    assert (info.train_size, info.test_size) == (len(splits.train), len(splits.test)) == (28, 7)
    assert splits.test.labels.bincount().tolist() == [1, 4, 2]
    ids = torch.cat([splits.train.ids, splits.test.ids])
    assert torch.equal(ids.sort().values, torch.arange(35))
    starts, order = torch.tensor([0, 5, 25]), torch.tensor([2, 1, 0])
    for part in (splits.train, splits.test):
        assert torch.equal(part.images[:, 0, 0, 0], (part.ids - starts[part.labels]).to(torch.uint8))
        assert torch.equal(part.images[:, 1, 5, 5], order[part.labels].to(torch.uint8))
    assert read_folder(tmp_path).fingerprint == splits.fingerprint


def test_folders_for_training_and_test(tmp_path: Path) -> None:
    make(tmp_path / "train", a=3, b=2)
    make(tmp_path / "test", a=1, b=4)
    (tmp_path / "README.txt").write_text("not an image, and not in a class")
    splits = read_folder(tmp_path)
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 0, 0, 1, 1], [0, 1, 1, 1, 1])
    assert splits.test.images[:, 0, 0, 0].tolist() == [0, 0, 1, 2, 3]
    assert (splits.train.ids.tolist(), splits.test.ids.tolist()) == ([*range(5)], [*range(5)])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert read_folder(make(tmp_path, train=5, bus=5)).info.class_names == ("bus", "train")


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, a=3, b=3)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"junk")
    (tmp_path / ".git").mkdir()
    splits = read_folder(tmp_path)
    assert (splits.info.train_size, splits.info.test_size) == (5, 1)


@pytest.mark.parametrize("kind", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "ppm", "PNG"])
def test_kinds_of_files(kind: str, tmp_path: Path) -> None:
    image = read_image(save(tmp_path / f"x.{kind}", GREEN), channels=3, size=32)
    assert (image.to(torch.int64) - torch.tensor(GREEN)[:, None, None]).abs().max() <= 4


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 100, [100]),
        ("1", 1, [255]),
        ("LA", (100, 255), [100]),
        (
            "LA",
            (100, 0),
            [255],
        ),  # composed on white
        ("I;16", 25_700, [100]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 51), [206, 208, 210]),
        ("P", 0, [0, 0, 0]),
    ],
)
def test_modes_become_gray_or_rgb(mode: str, color: Any, expected: list[int], tmp_path: Path) -> None:
    for name in "ab":
        for row in range(3):
            save(tmp_path / name / f"{row}.png", color, mode=mode)
    splits = read_folder(tmp_path)
    assert splits.info.channels == len(expected)
    assert splits.train.images[0, :, 7, 9].tolist() == expected


def test_one_color_image_makes_all_of_them_rgb(tmp_path: Path) -> None:
    for row in range(5):
        save(tmp_path / "a" / f"{row}.png", 50, mode="L")
    save(tmp_path / "b" / "0.png", RED)
    splits = read_folder(tmp_path)
    assert splits.info.channels == 3
    assert splits.train.images[0, :, 0, 0].tolist() == [50, 50, 50]


def test_a_palette_with_transparency_is_read(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *BLUE])
    image.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    assert read_image(tmp_path / "x.png", channels=3, size=8)[:, 0, 0].tolist() == [127, 127, 255]


def test_one_square_size_is_kept_and_others_become_64(tmp_path: Path) -> None:
    for name in "ab":
        for row in range(3):
            save(tmp_path / "same" / name / f"{row}.png", size=(20, 20))
            save(tmp_path / "wide" / name / f"{row}.png", size=(40, 20))
            save(tmp_path / "mixed" / name / f"{row}.png", size=(20 + row, 20 + row))
    for kind, size, padding in (("same", 20, 1), ("wide", 64, 0), ("mixed", 64, 0)):
        info = read_folder(tmp_path / kind).info
        assert (info.height, info.width, info.padding) == (size, size, padding)
        assert info.margin == (padding == 0)  # crops are cut out of larger images


def test_the_middle_of_the_longer_side_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), RED)
    image.paste(GREEN, (100, 0, 200, 100))
    for name, upright in (("wide.png", image), ("tall.png", image.transpose(Image.Transpose.ROTATE_90))):
        upright.save(tmp_path / name)
        middle = read_image(tmp_path / name, channels=3, size=50)[:, 1:-1, 1:-1]  # the rim blends with what was cut
        assert middle.flatten(1).unique(dim=1).tolist() == [[0], [255], [0]]


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), RED)
    image.paste(BLUE, (0, 0, 40, 20))  # blue above, red below
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    image.save(tmp_path / "x.png", exif=exif)
    upright = read_image(tmp_path / "x.png", channels=3, size=40)
    assert (upright[:, 0, 0].tolist(), upright[:, -1, -1].tolist()) == ([*RED], [*BLUE])


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", ["<script>alert(1)<∕script>", "new\nline", "x" * 200, "…", "a b", "'; DROP TABLE"])
def test_hostile_names_are_kept_as_text(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    assert read_folder(make(root, **{name: 3, "k": 3})).info.class_names == tuple(sorted([name, "k"]))
    assert list(tmp_path.iterdir()) == [root]
    (root / name / "text").write_text("no image")
    with pytest.raises(ValueError, match=r"/text['\"] is not an image") as caught:
        read_folder(root)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(38)
def test_names_that_are_no_utf8_become_text(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102 - pathlib takes no bytes
    make(tmp_path, dog=3)
    for row in range(3):
        save(tmp_path / "caf\udce9" / f"{row}.png")
    names = read_folder(tmp_path).info.class_names
    assert names == ("caf\\udce9", "dog")
    assert "".join(names).encode()


def bad(tmp_path: Path, kind: str) -> Path:
    root = make(tmp_path / "set", a=3, b=3)
    match kind:
        case "not an image":
            (root / "b" / "notes.txt").write_text("hello")
        case "empty file":
            (root / "b" / "notes.txt").write_bytes(b"")
        case "a folder":
            (root / "b" / "notes.txt").mkdir()
        case "a pipe":
            os.mkfifo(root / "b" / "notes.txt")
        case "a broken link":
            (root / "b" / "notes.txt").symlink_to("nowhere")
        case "postscript":  # Pillow would start another program for it
            (root / "b" / "notes.txt").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    return root


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("not an image", "is not an image"),
        ("empty file", "is not an image"),
        ("a folder", "is not an image file: a class folder may contain only images"),
        ("a pipe", "is not an image file: a class folder may contain only images"),
        ("a broken link", "is not an image file: a class folder may contain only images"),
        ("postscript", "is not an image"),
    ],
)
def test_what_is_no_image_is_named(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"set/b/notes\.txt' {message}"):
        read_folder(bad(tmp_path, kind))


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_truncated_images_are_named(kind: str, tmp_path: Path) -> None:
    root = make(tmp_path / "set", a=3, b=3)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format={"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    content = buffer.getvalue()
    for share in (0.3, 0.6, 0.9):
        (root / "b" / f"x.{kind}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=rf"set/b/x\.{kind}' (cannot be read|is not an image)"):
            read_folder(root)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    )


@pytest.mark.fault(27)
@pytest.mark.parametrize("side", [10_000, 50_000, 2**31 - 1])
def test_images_with_absurdly_many_pixels_are_refused(side: int, tmp_path: Path) -> None:
    root = make(tmp_path / "set", a=3, b=3)
    (root / "b" / "x.png").write_bytes(png(side, side))
    with pytest.raises(ValueError, match=r"set/b/x\.png' has too many pixels"):
        read_folder(root)


@pytest.mark.parametrize("fault", [TypeError("'bytes' object"), KeyError("x"), IndexError(), MemoryError()])
def test_whatever_a_damaged_image_ends_in_names_it(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's reader of TIFF, for one, ends in a ``TypeError`` where the place of the data is no number."""

    def load(_: Any) -> None:
        raise fault

    path = save(tmp_path / "x.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(
        ValueError, match=rf"x\.png' cannot be read: .*({re.escape(str(fault) or type(fault).__name__)})"
    ):
        read_image(path, channels=3, size=8)


def test_deep_pixels_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "set", a=3, b=3)
    save(root / "b" / "x.tif", 0.5, mode="F")
    with pytest.raises(ValueError, match=r"x\.tif' cannot be read: its pixels have 32 bits"):
        read_folder(root)


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"' has no class folders: expected <class>/\*\.png"):
        read_folder(tmp_path)
    save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="has no class folders"):
        read_folder(tmp_path)
    make(tmp_path, a=5)
    with pytest.raises(ValueError, match="has only the class 'a': expected 2 or more"):
        read_folder(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="/b' is a class without images"):
        read_folder(tmp_path)
    (tmp_path / "b" / ".hidden").write_bytes(b"")
    with pytest.raises(ValueError, match="/b' is a class without images"):
        read_folder(tmp_path)


def test_too_few_images_to_cut_a_test_set(tmp_path: Path) -> None:
    make(tmp_path, a=1, b=1)
    with pytest.raises(ValueError, match="has 2 images, too few to take a test set from for 2 classes"):
        read_folder(tmp_path)
    make(tmp_path, a=2, b=1)
    assert sorted(read_folder(tmp_path).train.labels.tolist()) == [0, 1]


@pytest.mark.fault(31)
def test_a_test_folder_that_does_not_fit(tmp_path: Path) -> None:
    make(tmp_path / "train", a=3, b=3)
    splits = read_folder(tmp_path)
    assert (splits.info.train_size, splits.info.test_size) == (5, 1)  # of a training set alone a part is the test set
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match="has a test folder without class folders of images"):
        read_folder(tmp_path)
    (tmp_path / "test" / "b").mkdir()
    make(tmp_path / "test", a=3)
    assert read_folder(tmp_path).info.test_size == 3  # an empty class is as one that is missing
    make(tmp_path / "test", c=3)
    with pytest.raises(ValueError, match=r"test/c' has images of class 'c', and train has none"):
        read_folder(tmp_path)


@pytest.mark.fault(27)
def test_images_lie_where_there_is_room_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little in memory; more in a file that is mapped; without the disk for that in memory, or nowhere."""
    free, memory = 10**12, 10**10
    monkeypatch.setattr(pixel_map.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free))
    monkeypatch.setattr(pixel_map, "_available_memory", lambda: memory)
    assert pixel_map.store_for(10**6, tmp_path / "none" / "yet") == "resident"
    assert pixel_map.store_for(10**9, tmp_path) == "mapped"
    free = 10**9
    assert pixel_map.store_for(10**9, tmp_path) == "resident"
    memory = 10**9
    assert pixel_map.store_for(10**9, tmp_path) == "decoded"
