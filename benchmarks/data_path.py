"""P2: what a view costs: drawn, cut and normalized a batch at a time, against Pillow one image at a time.

The other side does what the usual CIFAR pipelines do for each sample: pad by 4, crop at random, mirror at random,
to a float tensor, normalize; in a ``DataLoader`` of the same process, so that both are seconds of one core.
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
        self.pixels = data.images.permute(0, 2, 3, 1).numpy()
        self.labels = data.labels.tolist()
        self.mean, self.std = (torch.tensor(part)[:, None, None] for part in (NORMALIZATION.mean, NORMALIZATION.std))

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
    """The batches of epoch after epoch."""
    while True:
        yield from loader


def runs() -> Iterator[Ratio]:
    """The cost of an image on one core, and how much more the other way costs."""
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
        name="P2 microseconds an image and core: order, views, crop, flip, normalization, a batch of 128 at a time",
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
