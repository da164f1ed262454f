"""P2: the cost of a view: drawn, cut and normalized one batch at a time, compared with Pillow one image at a time.

The other side does what common CIFAR pipelines do for each sample: pad by 4, crop at random, flip at random, convert
to a float tensor, normalize. Its ``DataLoader`` runs in the same process, so that both sides are seconds of one core.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.loops import NORMALIZATION
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip, Dataset
from tutelage.engine import Engine

IMAGES, BATCH, BATCHES, ROUNDS = 10_000, 128, 40, 11


class OneByOne(TorchDataset[tuple[Tensor, int]]):
    """Training images as Pillow images, transformed one at a time."""

    def __init__(self, data: Dataset) -> None:
        assert isinstance(data.images, Tensor)
        self.pixels = data.images.permute(0, 2, 3, 1).numpy()
        self.labels = data.labels.tolist()
        self.mean = torch.tensor(NORMALIZATION.mean)[:, None, None]
        self.std = torch.tensor(NORMALIZATION.std)[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image = ImageOps.expand(Image.fromarray(self.pixels[row]), border=4)
        left, top = random.randint(0, 8), random.randint(0, 8)
        image = image.crop((left, top, left + 32, top + 32))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub_(self.mean).div_(self.std), self.labels[row]


def endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[list[Tensor]]:
    """The batches of one epoch after the other, without end."""
    while True:
        yield from loader


def runs() -> Iterator[Ratio]:
    """The cost of an image on one core, and that of the Pillow pipeline relative to it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = random_splits(IMAGES, 1).train
    epochs = BatchLoader(data, CropFlip(), BATCH, Engine.choose("cpu").device)
    ours = (batch for epoch in range(100_000) for batch in epochs.batches(0, epoch))
    theirs = endless(DataLoader(OneByOne(data), batch_size=BATCH, shuffle=True))

    def batched() -> None:
        for _ in range(BATCHES):
            next(ours).normalized(NORMALIZATION)

    def one_by_one() -> None:
        for _ in range(BATCHES):
            next(theirs)

    with foreign_load() as busy:
        pairs = interleaved(batched, one_by_one, rounds=ROUNDS)
    torch.set_num_threads(threads)
    images = BATCH * BATCHES
    yield Ratio(
        name="P2 microseconds per image and core: order, views, crop, flip, normalization, in batches of 128",
        rounds=[seconds / images * 1e6 for seconds, _ in pairs],
        goal="<= 25",
        busy=busy[0],
    )
    yield Ratio(
        name="P2 Pillow transforms in a DataLoader / batched views, seconds of one core",
        rounds=[other / seconds for seconds, other in pairs],
        goal=">= 4",
        busy=busy[0],
    )
