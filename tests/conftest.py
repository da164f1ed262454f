"""What all tests share: one thread, and a dataset small enough to train on in a blink."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from tutelage import storage
from tutelage.data import Dataset, DatasetInfo, Splits
from tutelage.data.cifar import import_archive

# Commands that tests start share the cores with other tests: two that each take all of them are five times slower.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine, and none judged by the clock of a busy one.
settings.register_profile("tutelage", deadline=None, derandomize=True, database=None)
settings.load_profile("tutelage")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


Tried = Callable[[int, str], None]
Many = Callable[[int, int], int]


@pytest.fixture
def many() -> Many:
    """How often to try something: the first number in ``make test``, the second in ``make torture``."""
    return lambda quick, long: long if os.environ.get("TUTELAGE_TORTURE") else quick


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Note, after the asserts, how often something was tried and what came of it, for docs/evidence/faults.md."""
    return lambda count, what: request.node.user_properties.append(("tried", [count, what]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # markers do not travel with reports, properties do
        rows = sorted({row for mark in item.iter_markers("fault") for row in mark.args})
        if rows:
            item.user_properties.append(("faults", rows))


_fault_tests: list[dict[str, Any]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    properties = dict(report.user_properties)
    if "faults" in properties and (report.when == "call" or report.outcome != "passed"):
        tried = [value for name, value in report.user_properties if name == "tried"]
        test, reason = report.nodeid, report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _fault_tests.append(
            {"test": test, "rows": properties["faults"], "outcome": report.outcome, "tried": tried, "reason": reason}
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("TUTELAGE_FAULTS")
    if path and not hasattr(session.config, "workerinput"):
        Path(path).write_text(json.dumps(sorted(_fault_tests, key=lambda test: str(test["test"])), indent=1))


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

    facts = DatasetInfo(
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
