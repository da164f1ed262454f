"""What all tests share: one thread, and a dataset small enough to train on in a blink."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tutelage import storage
from tutelage.data import Dataset, Facts, Splits
from tutelage.data.cifar import import_archive

# Commands that tests start share the cores with other tests: two that each take all of them are five times slower.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine, and none judged by the clock of a busy one.
settings.register_profile("tutelage", deadline=None, derandomize=True, database=None)
settings.load_profile("tutelage")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "cifar-100-python.tar.gz"


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder for TUTELAGE_DATA that holds the real CIFAR-100, imported once for all processes that run tests."""
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "datasets"
    with storage.lock(root, wait=120):
        if not storage.is_finished(root / "cifar100"):
            import_archive("cifar100", ARCHIVE, root)
    return root


def make_splits(num_classes: int = 4, size: int = 26, test_size: int = 12) -> Splits:
    """Noise with a bright band at a class's own height (up to four): learnable, also mirrored."""
    generator = torch.Generator().manual_seed(5)

    def part(count: int) -> Dataset:
        images = torch.randint(0, 200, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % num_classes
        for row, label in enumerate(labels.tolist()):
            images[row, 0, 2 * label : 2 * label + 2] = 255
        return Dataset(images=images, labels=labels, ids=torch.arange(count))

    facts = Facts(
        class_names=tuple(f"class {k}" for k in range(num_classes)),
        channels=1,
        height=8,
        width=8,
        train_size=size,
        test_size=test_size,
        padding=1,
        flip=True,
    )
    return Splits(facts=facts, train=part(size), test=part(test_size), fingerprint="made for tests")


@pytest.fixture
def splits() -> Splits:
    return make_splits()
