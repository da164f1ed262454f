"""A view is the crop, mirror and rotation that its number encodes, however the images are stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tutelage.data import (
    CropFlip,
    ImageStore,
    Normalization,
    Rotated,
    image_store,
    normalization,
    rotation,
)


def reference_view(image: Tensor, padding: int, dy: int, dx: int, mirrored: bool) -> Tensor:
    height, width = image.shape[1:]
    crop = nn.functional.pad(image, (padding,) * 4)[:, dy : dy + height, dx : dx + width]
    return crop.flip(2) if mirrored else crop


@pytest.mark.parametrize("pad_once", [True, False])
@pytest.mark.parametrize(("padding", "flip", "channels"), [(4, True, 3), (1, False, 1), (0, True, 3)])
def test_every_view_of_every_image(
    padding: int, flip: bool, channels: int, pad_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_store, "MAX_PADDED_BYTES", 1 << 30 if pad_once else 0)
    images = torch.randint(0, 256, (2, channels, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    views = CropFlip(padding=padding, flip=flip)
    store = ImageStore(images, views)
    assert len(store) == 2
    numbers = torch.arange(views.count).repeat(2)
    rows = torch.arange(2).repeat_interleave(views.count)
    batch = store.cut(rows, numbers)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for row, number, pixels in zip(rows.tolist(), numbers.tolist(), batch, strict=True):
        crop, mirrored = divmod(number, 2) if flip else (number, 0)
        dy, dx = divmod(crop, views.shifts)
        assert torch.equal(pixels, reference_view(images[row], padding, dy, dx, bool(mirrored)))
    assert torch.equal(store.cut(torch.tensor([1]), torch.tensor([views.identity]))[0], images[1])


def test_a_normalization_measured_in_chunks_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (37, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    whole = Normalization.of(images)
    monkeypatch.setattr(normalization, "CHUNK_PIXELS", 40)
    assert Normalization.of(images) == whole
    values = images.double() / 255
    assert whole.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert whole.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-6)


@pytest.mark.parametrize("size", [None, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_normalization_does_not_depend_on_the_memory_layout(channels: int, size: int | None) -> None:
    images = torch.randint(0, 256, (5, channels, 7, 6), dtype=torch.uint8)
    scheme = Normalization((0.5, 0.4, 0.1)[:channels], (0.25, 0.3, 0.7)[:channels], size)
    plain = scheme.apply(images)
    channels_last = scheme.apply(images.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, channels_last)
    assert channels_last.is_contiguous(memory_format=torch.channels_last)
    pixels = images.float()
    if size is not None:
        pixels = nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    mean = torch.tensor(scheme.mean)[:, None, None]
    std = torch.tensor(scheme.std)[:, None, None]
    torch.testing.assert_close(plain, (pixels / 255 - mean) / std)


@pytest.mark.parametrize("size", [(32, 32), (7, 8)])
def test_rotation_agrees_with_pillow(size: tuple[int, int]) -> None:
    views = Rotated(of=CropFlip(padding=2), degrees=20.0)
    crops = views.of.count
    image = torch.randint(1, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    store = ImageStore(image, views)
    for step in (0, 9_000, rotation.ANGLES // 2, 50_000, rotation.ANGLES - 1):
        number = views.of.identity % crops + crops * step
        rotated = store.cut(torch.tensor([0]), torch.tensor([number]))[0]
        angle = 20.0 * (2 * step / rotation.ANGLES - 1)
        expected = Image.fromarray(image[0].permute(1, 2, 0).numpy()).rotate(angle)
        same = (rotated.permute(1, 2, 0).numpy() == np.asarray(expected)).all(-1)
        assert same.mean() > 0.98, angle  # Pillow counts in 16.16 fixed point: a pixel on an edge may differ
        if step == rotation.ANGLES // 2:
            assert torch.equal(rotated, image[0])


def test_rotated_views_are_drawn_uniformly_by_a_pure_function() -> None:
    views, ids = Rotated(of=CropFlip(), degrees=15.0), torch.arange(20_000)
    numbers = views.draw(0, 3, ids)
    assert torch.equal(numbers.flip(0), views.draw(0, 3, ids.flip(0)))
    assert not torch.equal(numbers, views.draw(0, 4, ids))
    assert 0 <= int(numbers.min()) <= int(numbers.max()) < views.count
    steps = torch.div(numbers, views.of.count, rounding_mode="floor").double() / rotation.ANGLES
    assert steps.mean().item() == pytest.approx(0.5, abs=0.01)
    assert steps.std().item() == pytest.approx(12**-0.5, abs=0.01)
    assert torch.equal(numbers % views.of.count, CropFlip().draw(0, 3, ids))
    with pytest.raises(ValueError, match="degrees must be above 0"):
        Rotated(of=CropFlip(), degrees=0.0)
