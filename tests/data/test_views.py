"""A view is the crop and mirror that its number says, however the images are held."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tutelage.data import CropFlip, Normalization, Resident, batches, views


def one_by_one(image: Tensor, padding: int, dy: int, dx: int, mirrored: bool) -> Tensor:
    height, width = image.shape[1:]
    crop = nn.functional.pad(image, (padding,) * 4)[:, dy : dy + height, dx : dx + width]
    return crop.flip(2) if mirrored else crop


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize(("padding", "flip", "channels"), [(4, True, 3), (1, False, 1), (0, True, 3)])
def test_every_view_of_every_image(
    padding: int, flip: bool, channels: int, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "AHEAD_BYTES", 1 << 30 if ahead else 0)
    images = torch.randint(0, 256, (2, channels, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    moves = CropFlip(padding=padding, flip=flip)
    resident = Resident(images, moves)
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
