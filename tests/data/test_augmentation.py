"""A view is the crop and mirror that its number says, however the images are held."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tutelage.data import CropFlip, ImageStore, Normalization, TurnedCropFlip, augmentation, batches


def one_by_one(image: Tensor, padding: int, dy: int, dx: int, mirrored: bool) -> Tensor:
    height, width = image.shape[1:]
    crop = nn.functional.pad(image, (padding,) * 4)[:, dy : dy + height, dx : dx + width]
    return crop.flip(2) if mirrored else crop


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize(("padding", "flip", "channels"), [(4, True, 3), (1, False, 1), (0, True, 3)])
def test_every_view_of_every_image(
    padding: int, flip: bool, channels: int, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmentation, "AHEAD_BYTES", 1 << 30 if ahead else 0)
    images = torch.randint(0, 256, (2, channels, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    moves = CropFlip(padding=padding, flip=flip)
    resident = ImageStore(images, moves)
    assert len(resident) == 2
    numbers = torch.arange(moves.count).repeat(2)
    rows = torch.arange(2).repeat_interleave(moves.count)
    found = resident.cut(rows, numbers)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for row, number, pixels in zip(rows.tolist(), numbers.tolist(), found, strict=True):
        crop, mirrored = divmod(number, 2) if flip else (number, 0)
        dy, dx = divmod(crop, moves.shifts)
        assert torch.equal(pixels, one_by_one(images[row], padding, dy, dx, bool(mirrored)))
    assert torch.equal(resident.cut(torch.tensor([1]), torch.tensor([moves.identity]))[0], images[1])


def test_a_normalization_is_measured_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (37, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    whole = Normalization.of(images)
    monkeypatch.setattr(batches, "PIXELS_AT_ONCE", 40)
    assert Normalization.of(images) == whole
    values = images.double() / 255
    assert whole.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert whole.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-6)


@pytest.mark.parametrize("size", [None, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_normalization_does_not_depend_on_how_pixels_lie_in_memory(channels: int, size: int | None) -> None:
    images = torch.randint(0, 256, (5, channels, 7, 6), dtype=torch.uint8)
    wanted = Normalization((0.5, 0.4, 0.1)[:channels], (0.25, 0.3, 0.7)[:channels], size)
    plain, rows = wanted.apply(images), wanted.apply(images.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, rows)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    pixels = images.float()
    if size is not None:
        pixels = nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(each)[:, None, None] for each in (wanted.mean, wanted.std))
    torch.testing.assert_close(plain, (pixels / 255 - mean) / std)


@pytest.mark.parametrize("size", [(32, 32), (7, 8)])
def test_turning_is_that_of_pillow(size: tuple[int, int]) -> None:
    turned = TurnedCropFlip(padding=2, degrees=20.0)
    image = torch.randint(1, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    resident = ImageStore(image, turned)
    for turns in (0, 9_000, augmentation.TURNS // 2, 50_000, augmentation.TURNS - 1):
        number = turned.identity % turned.moves + turned.moves * turns
        found = resident.cut(torch.tensor([0]), torch.tensor([number]))[0]
        angle = 20.0 * (2 * turns / augmentation.TURNS - 1)
        expected = Image.fromarray(image[0].permute(1, 2, 0).numpy()).rotate(angle)
        same = (found.permute(1, 2, 0).numpy() == np.asarray(expected)).all(-1)
        assert same.mean() > 0.98, angle  # Pillow counts in 16.16 fixed point: a pixel on an edge may differ
        if turns == augmentation.TURNS // 2:
            assert torch.equal(found, image[0])


def test_turned_views_are_drawn_evenly_and_as_a_function() -> None:
    turned, ids = TurnedCropFlip(degrees=15.0), torch.arange(20_000)
    numbers = turned.draw(0, 3, ids)
    assert torch.equal(numbers.flip(0), turned.draw(0, 3, ids.flip(0)))
    assert not torch.equal(numbers, turned.draw(0, 4, ids))
    assert 0 <= int(numbers.min()) <= int(numbers.max()) < turned.count
    turns = torch.div(numbers, turned.moves, rounding_mode="floor").double() / augmentation.TURNS
    assert turns.mean().item() == pytest.approx(0.5, abs=0.01)
    assert turns.std().item() == pytest.approx(12**-0.5, abs=0.01)
    assert torch.equal(numbers % turned.moves, CropFlip().draw(0, 3, ids))
    with pytest.raises(ValueError, match="degrees must be above 0"):
        TurnedCropFlip(degrees=0.0)
