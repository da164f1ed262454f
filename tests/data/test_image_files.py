"""Image files that would keep a decoder busy for minutes: what is read is counted."""

from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from tests.conftest import Tried
from tests.data.folders import read_image
from tests.data.test_folder import png
from tutelage.data.decode import FORMATS, _opened, read_header
from tutelage.data.image_files import MAX_CHUNKS, MAX_PLAIN, open_bounded

GIF = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    image = png(8, 8)
    place = image.index(b"IDAT") - 4
    return image[:place] + chunks + image[place:]


def tiff(tags: int, size: int) -> bytes:
    """A TIFF in which every tag refers to the same bytes."""
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 1, size, 8) for tag in range(tags))
    return b"II*\0" + struct.pack("<I", 8 + size) + bytes(size) + struct.pack("<H", tags) + entries + bytes(4)


HANGS = {
    "a PPM with a comment of 5 MB": (b"P6 #" + b"c" * 5_000_000 + b"\n1 1 255\n123", "more reading than any image"),
    "a PPM with 5 MB of spaces": (b"P5 " + b" " * 5_000_000 + b"1 1 255\n1", "more reading than any image"),
    "a PPM of text with a comment of 50 MB": (b"P3 1 1 255 1 2 #" + b"c" * 50_000_000, "text of more than 16777216"),
    "a PPM of text with a million comments": (b"P3 1 1 255 " + b"#\n" * 1_000_000, "cannot be read"),
    "a PPM of text that is too large": (b"P2 9999 9999 255 " + b"1 " * 9_000_000, "text of more than 16777216"),
    "a GIF with comments of 20 MB": (
        GIF + b"!\xfe" + (b"\xff" + b"c" * 255) * 80_000 + b"\0;",
        "cannot be|not an image",
    ),
    "a PNG with 160,000 chunks": (png_with(chunk(b"teSt") * 160_000), "more reading than any image"),
    "a TIFF whose tags share 4 MB": (tiff(4000, 4_000_000), "more reading than any image|Tag data larger"),
}


@pytest.mark.fault(27)
@pytest.mark.parametrize("name", HANGS)
def test_images_that_hang(name: str, tmp_path: Path, tried: Tried) -> None:
    content, message = HANGS[name]
    path = tmp_path / "image"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(ValueError, match=f"image' .*({message})"):
        read_image(path, 3, 8)
    assert time.process_time() - start < 10
    tried(1, "images that hang refused")


def test_comments_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "image"
    for content in (
        b"P6 # by hand\n# twice\n2 1 # here\n255\n" + bytes([9, 9, 9, 200, 200, 200]),
        b"P3 # by hand\n2 1\n255\n9 9 9 # the first\n200 200 200\n",
        b"P3 2 1 255 #\r9 9 9#no space\n200 200 200",
    ):
        path.write_bytes(content)
        left, right = read_image(path, 3, 2)[0, 0].tolist()
        assert left < right
    path.write_bytes(b"P1 2 2 # c\n1 0 # c\n0 1")
    assert read_image(path, 1, 2)[0].tolist() == [[0, 255], [255, 0]]


def test_large_images_of_every_format_are_read(tmp_path: Path) -> None:
    """Noise, which compresses badly, in all formats: as many reads as such images need."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)
    for kind in FORMATS:
        options = {"compress_level": 0} if kind == "PNG" else {}
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format=kind, **options)
        path = tmp_path / kind
        path.write_bytes(buffer.getvalue())
        assert read_image(path, 3, 8).shape == (3, 8, 8)


def test_the_limits_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with open_bounded(path) as file:
        assert len(file.read()) == 1000
        for _ in range(1000):
            file.seek(0)
            file.read()
        with pytest.raises(ValueError, match="more reading than any image needs"):
            [(file.seek(0), file.read()) for _ in range(1000)]
    assert MAX_PLAIN == 16 * 2**20


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1,), (0,)])
def test_threads_leave_the_filters_of_warnings_alone(order: tuple[int, ...]) -> None:
    """Two images are open at once, as in two threads, and are closed in either order."""
    before = list(warnings.filters)
    opened = [_opened(io.BytesIO(png(8, 8)), f"{number}") for number in range(2)]
    for each in opened:
        each.__enter__()
    for number in order:
        opened[number].__exit__(None, None, None)
    assert warnings.filters == before
    huge = io.BytesIO()
    Image.new("1", (9_500, 9_500)).save(huge, "PNG")
    with pytest.raises(ValueError, match=r"^huge has too many pixels"):
        read_header(huge, "huge")
    assert warnings.filters == before


def behind_pixels(chunks: bytes) -> bytes:
    image = png(8, 8)
    return image[: image.index(b"IEND") - 4] + chunks + image[image.index(b"IEND") - 4 :]


UPRIGHT = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0"
TURNED = UPRIGHT.replace(b"\0\x01\0\x01\0\0\0\0", b"\0\x01\0\x06\0\0\0\0")
XMP = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    ("content", "turned", "decoded"),
    [
        (png(8, 8), False, False),
        (png_with(chunk(b"eXIf", UPRIGHT)), False, False),
        (png_with(chunk(b"eXIf", TURNED)), True, False),
        (png_with(chunk(b"teSt") * 5), False, False),
        (behind_pixels(chunk(b"eXIf", TURNED)), True, True),
        (behind_pixels(chunk(b"iTXt", XMP)), True, True),
        (behind_pixels(chunk(b"tEXt", b"Comment\0by a scanner")), False, True),
        (behind_pixels(chunk(b"teSt") * MAX_CHUNKS), False, True),
    ],
    ids=["none", "upright", "turned", "other chunks", "behind", "XMP behind", "text behind", "very many chunks"],
)
def test_the_header_of_a_png_is_read_without_its_pixels(
    content: bytes, turned: bool, decoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    load = PngImageFile.load

    def counted(image: PngImageFile) -> object:
        loads.append(1)
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", counted)
    assert read_header(io.BytesIO(content), "it").turned == turned
    assert bool(loads) == decoded
