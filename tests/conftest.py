"""Shared by all tests: one thread, time limits, and a dataset small enough to train on within a second."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.warm import Warm
from tutelage import storage
from tutelage.data import Dataset, DatasetInfo, Splits
from tutelage.data.cifar import import_archive
from tutelage.training import fit

# Commands started by tests share the cores with other tests: two that each use all cores are five times slower.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine, and no time limits, which a busy one would exceed.
settings.register_profile(
    "tutelage", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tutelage")

USUAL = 180.0
"""Seconds that a test may take, as in pyproject.toml; TUTELAGE_TEST_TIMEOUT says another number."""
PATIENCE = float(os.environ.get("TUTELAGE_TEST_TIMEOUT") or USUAL) / USUAL


def limit(seconds: float) -> float:
    """Seconds after which a test gives up, for what would otherwise hang.

    Never what a test is about: a promise in seconds is held to the processor's time. ``TUTELAGE_TEST_TIMEOUT``
    stretches all of these alike, for a machine that is slow or has much else to do.
    """
    return seconds * PATIENCE


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A server that forks commands; see tests/warm.py."""
    with contextlib.closing(Warm(tmp_path_factory.mktemp("commands"))) as server:
        yield server


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def whole_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training gives its records at the ends of epochs alone, however long one takes here."""
    monkeypatch.setitem(fit.__kwdefaults__, "pulse", math.inf)


Tried = Callable[[int, str], None]
Many = Callable[[int, int], int]


@pytest.fixture
def many() -> Many:
    """The number of repetitions: the first argument in ``make test``, the second in ``make torture``.

    ``TUTELAGE_TORTURE`` is the share of the second that is tried, 1 for all: 0.1 is a torture that is over soon. What
    is 0 or 1 says whether or how something is tried, not how often, and stays.
    """
    share = float(os.environ.get("TUTELAGE_TORTURE") or 0.0)

    def number(quick: int, long: int) -> int:
        if not share:
            return quick
        return long if long <= 1 else max(quick, 2, math.ceil(share * long))

    return number


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Record, after the asserts, how often something was tried and the outcome, for docs/evidence/faults.md."""
    return lambda count, outcome: request.node.user_properties.append(("tried", [count, outcome]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # markers do not travel with reports, properties do
        rows = sorted({row for mark in item.iter_markers("fault") for row in mark.args})
        if rows:
            item.user_properties.append(("faults", rows))
        if PATIENCE != 1.0:
            mark = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(limit(mark.args[0] if mark else USUAL)), append=False)


_fault_tests: list[dict[str, Any]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    properties = dict(report.user_properties)
    if "faults" in properties and (report.when == "call" or report.outcome != "passed"):
        counts = [value for name, value in report.user_properties if name == "tried"]
        test, reason = report.nodeid, report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _fault_tests.append(
            {"test": test, "rows": properties["faults"], "outcome": report.outcome, "tried": counts, "reason": reason}
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("TUTELAGE_FAULTS")
    if path and not hasattr(session.config, "workerinput"):
        Path(path).write_text(json.dumps(sorted(_fault_tests, key=lambda test: str(test["test"])), indent=1))


ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "cifar-100-python.tar.gz"


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder for TUTELAGE_DATA that holds the real CIFAR-100, imported once for all test processes."""
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "datasets"
    with storage.lock(root, wait=limit(120)):
        if not storage.is_finished(root / "cifar100"):
            import_archive("cifar100", ARCHIVE, root)
    return root


def make_splits(num_classes: int = 4, size: int = 26, test_size: int = 12) -> Splits:
    """Noise with a bright band whose height depends on the class (up to four): learnable, also when mirrored."""
    generator = torch.Generator().manual_seed(5)

    def part(count: int) -> Dataset:
        images = torch.randint(0, 200, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % num_classes
        for row, label in enumerate(labels.tolist()):
            images[row, 0, 2 * label : 2 * label + 2] = 255
        return Dataset(images=images, labels=labels, ids=torch.arange(count))

    info = DatasetInfo(
        class_names=tuple(f"class {k}" for k in range(num_classes)),
        channels=1,
        height=8,
        width=8,
        train_size=size,
        test_size=test_size,
        padding=1,
        flip=True,
    )
    return Splits(info=info, train=part(size), test=part(test_size), fingerprint="made for tests")


@pytest.fixture
def splits() -> Splits:
    return make_splits()
