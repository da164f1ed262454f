"""simplejpeg, where it is installed, decodes JPEG files to the pixels of Pillow, and never decides what is broken."""

from __future__ import annotations

import builtins
import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tutelage.data import jpeg
from tutelage.data.decode import decode
from tutelage.data.preparation import Preparation

pytest.importorskip("simplejpeg", reason="simplejpeg comes with the extra images")

SIZES = [(400, 300), (37, 53), (16, 16), (17, 9), (501, 375), (8, 8), (1, 1), (40, 4), (1000, 751)]
PREPARATIONS = [
    Preparation(size=size, channels=channels, resize=resize)
    for size, channels, resize in [(224, 3, "shorter"), (32, 1, "squash"), (96, 3, "letterbox"), (8, 3, "shorter")]
]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the images that simplejpeg has decoded."""
    sizes: list[tuple[int, int]] = []
    decoded = jpeg._decoded

    def counted(*arguments: Any) -> Image.Image | None:
        image = decoded(*arguments)
        if image is not None:
            sizes.append(image.size)
        return image

    monkeypatch.setattr(jpeg, "_decoded", counted)
    return sizes


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    jpeg.decoder.cache_clear()
    yield
    jpeg.decoder.cache_clear()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    generator = np.random.default_rng(width)
    coarse = generator.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes, preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> np.ndarray | str:
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "decoder", lambda: None)
        return read(data, preparation)


def read(data: bytes, preparation: Preparation) -> np.ndarray | str:
    try:
        return decode(io.BytesIO(data), preparation, "it")
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_pixels_are_those_of_pillow(
    width: int, height: int, fast: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    for mode, subsampling, progressive, quality in itertools.product(("RGB", "L"), (0, 1, 2), (0, 1), (30, 95)):
        data = saved(picture(width, height, mode), subsampling=subsampling, progressive=progressive, quality=quality)
        for preparation in PREPARATIONS:
            expected = by_pillow(data, preparation, monkeypatch)
            assert np.array_equal(read(data, preparation), expected), (mode, subsampling, progressive, preparation)
            count += 1
    assert len(fast) == count == 96


@pytest.mark.parametrize("orientation", range(10))
def test_it_is_turned_as_exif_says(
    orientation: int, fast: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(60, 40), exif=exif)
    for preparation in PREPARATIONS:
        assert np.array_equal(read(data, preparation), by_pillow(data, preparation, monkeypatch))
    assert len(fast) == len(PREPARATIONS)


@pytest.mark.parametrize(
    "data",
    [
        saved(picture(64, 48, "CMYK")),
        saved(picture(64, 48))[:-300],
        saved(picture(64, 48))[:400] + bytes(30) + saved(picture(64, 48))[430:],
        saved(picture(64, 48))[:200],
        saved(picture(64, 48)) + b"what a camera adds",
        saved(picture(64, 48)).replace(b"\xff\xd9", b""),
        saved(picture(64, 48), keep_rgb=True, subsampling=0),
    ],
    ids=["CMYK", "truncated", "damaged", "a header alone", "more at its end", "without an end", "RGB"],
)
def test_pillow_decides_what_is_broken(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for preparation in PREPARATIONS:
        ours, pillows = read(data, preparation), by_pillow(data, preparation, monkeypatch)
        assert ours == pillows if isinstance(pillows, str) else np.array_equal(ours, pillows)


@pytest.mark.parametrize("difference", [1, -1, 200])
def test_another_library_is_not_used(difference: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import simplejpeg

    decode_jpeg = simplejpeg.decode_jpeg

    def other(*arguments: Any, **options: Any) -> np.ndarray:
        pixels: np.ndarray = decode_jpeg(*arguments, **options).copy()
        pixels[0, 0] += np.uint8(difference % 256)
        return pixels

    assert jpeg.decoder() is not None
    jpeg.decoder.cache_clear()
    monkeypatch.setattr(simplejpeg, "decode_jpeg", other)
    assert jpeg.decoder() is None


def test_without_it_pillow_decodes(fast: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    data, original = saved(picture(64, 48)), builtins.__import__
    expected = read(data, PREPARATIONS[0])
    assert fast == [(64, 48)]
    jpeg.decoder.cache_clear()

    def missing(name: str, *arguments: Any) -> Any:
        if name == "simplejpeg":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert np.array_equal(read(data, PREPARATIONS[0]), expected)
    assert fast == [(64, 48)]


@pytest.mark.parametrize("limit", [10, 500, 1000])
def test_of_large_files_pillow_reads_what_it_needs(
    limit: int, fast: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(picture(64, 48))
    assert len(data) > 1000
    monkeypatch.setattr(jpeg, "MAX_BYTES", limit)
    assert isinstance(read(data, PREPARATIONS[0]), np.ndarray)
    assert fast == []
