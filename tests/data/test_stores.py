"""Image files give the same pixels, and train the same weights, wherever their pixels lie."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from multiprocessing.util import _run_finalizers  # type: ignore[attr-defined]
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.data.folders import read_folder
from tutelage import storage
from tutelage.data import BatchLoader, CropFlip, DataConfig, MarginCrop, Rotated, Views, pixel_map, pixels
from tutelage.data.decode_cache import datasets
from tutelage.data.file_views import FileViews
from tutelage.data.maps import Note
from tutelage.data.pixel_map import Reading
from tutelage.lineage import Stopped
from tutelage.recipes import call
from tutelage.study import Execution, Study
from tutelage.study import run as run_study
from tutelage.training import fit

CPU = torch.device("cpu")
STORES = [("resident", 0), ("mapped", 0), ("mapped", 2), ("decoded", 0), ("decoded", 1), ("decoded", 2)]


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    yield
    datasets.clear()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of two classes and many sizes, in several formats, some of them on their side."""
    root, generator = tmp_path_factory.mktemp("stores") / "set", np.random.default_rng(0)
    for row in range(48):
        width, height = (int(side) for side in generator.integers(20, 90, 2))
        values = generator.integers(0, 120, (height, width, 3), dtype=np.uint8) + np.uint8(100 * (row % 2))
        path = root / "ab"[row % 2] / f"{row:02d}.{('jpg', 'png', 'webp')[row % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if row % 5 == 0 else 1
        Image.fromarray(values).save(path, exif=exif)
    return root


@pytest.mark.parametrize(
    ("resize", "rotated"), [("shorter", False), ("shorter", True), ("squash", False), ("letterbox", True)]
)
def test_views_are_the_same(resize: str, rotated: bool, photographs: Path) -> None:
    config = DataConfig(image_size=16, resize=resize)  # type: ignore[arg-type]
    views: Views = MarginCrop() if resize == "shorter" else CropFlip(padding=2)
    if rotated:
        views = Rotated(of=views, degrees=20.0)
    expected: list[Tensor] | None = None
    fingerprints, normalizations, shown = set(), set(), []
    for store, workers in STORES:
        splits = read_folder(photographs, config, Reading(store=store, workers=workers))  # type: ignore[arg-type]
        loader = BatchLoader(splits.train, views, 7, CPU)
        batches = [batch.pixels for batch in loader.batches(seed=3, epoch=1)]
        expected = expected or batches
        assert all(torch.equal(one, other) for one, other in zip(batches, expected, strict=True)), (store, workers)
        later = [batch.pixels for batch in loader.batches(seed=3, epoch=1, start=4)]
        assert all(torch.equal(one, other) for one, other in zip(later, expected[4:], strict=True)), (store, workers)
        fingerprints.add(splits.fingerprint)
        normalizations.add(splits.train.normalization)
        shown.append(splits.test.images[:])
    assert len(fingerprints) == len(normalizations) == 1
    assert all(torch.equal(each, shown[0]) for each in shown)
    assert expected is not None
    assert sum(map(len, expected)) == len(splits.train)
    assert expected[0].shape == (7, 3, 16, 16)
    assert expected[0].is_contiguous(memory_format=torch.channels_last)


def test_a_batch_that_was_not_announced_is_cut_too(photographs: Path) -> None:
    """A teacher's cache asks for other views between two batches."""
    splits = read_folder(photographs, DataConfig(image_size=16), Reading(store="decoded", workers=1))
    loader = BatchLoader(splits.train, MarginCrop(), 7, CPU)
    assert isinstance(loader.images, FileViews)
    rows, views = torch.tensor([3, 1]), torch.tensor([70_000, 5])
    plain = FileViews(splits.train.images, MarginCrop(), CPU)  # type: ignore[arg-type]
    plan = loader.plan(0, 0)
    loader.begin(plan)
    for first in range(0, len(plan.rows), 7):
        assert torch.equal(loader.images.cut(rows, views), plain.cut(rows, views))
        part = plan.part(first, 7)
        assert torch.equal(loader.batch(*part).pixels, plain.cut(*part[:2]))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that says which cores a process has")
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_more_workers_than_cores_are_no_warning(
    workers: int, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    splits = read_folder(photographs, DataConfig(image_size=16), Reading(store="decoded", workers=workers))
    batches = list(BatchLoader(splits.train, MarginCrop(), 7, CPU).batches(seed=3, epoch=1))
    assert sum(len(batch.pixels) for batch in batches) == len(splits.train)


def trained(
    photographs: Path, runs: Path, store: str, workers: int, stop_at: int = 0, skip_broken: bool = False
) -> dict[str, Tensor]:
    options = {"data": str(photographs), "image_size": 16, "skip_broken": skip_broken}
    lineage = call("distill", **options, teacher=("resnet8",), model="resnet8", epochs=3, batch_size=7)
    study = Study(lineages=(lineage,))
    here = Execution(
        device="cpu",
        precision="fp32",
        threads=1,
        image_store=store,
        workers=workers,  # type: ignore[arg-type]
    )
    calls = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == stop_at

    try:
        list(run_study(study, runs=runs, execution=here, should_stop=should_stop))
    except Stopped:
        list(run_study(study, runs=runs, execution=here))
    assert calls >= stop_at
    return {
        f"{path.parent.name}/{name}": tensor
        for path in sorted(runs.glob("models/*/weights.safetensors"))
        for name, tensor in storage.read_tensors(path).items()
    }


def test_every_store_trains_the_same_weights(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is stopped in the middle of an epoch and continued."""
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(fit.__kwdefaults__, "pulse", 0.0)  # it may stop after every step
    expected = trained(photographs, tmp_path / "runs", "resident", 0)
    assert len({name.partition("/")[0] for name in expected}) == 2
    for number, (store, workers) in enumerate(STORES[1:]):
        other = trained(photographs, tmp_path / f"runs{number}", store, workers, stop_at=9 + 4 * number)
        assert other.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in other.items()), (store, workers)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    decode = pixels.decode

    def counted(file: object, preparation: object, where: str) -> np.ndarray:
        names.append(where)
        return decode(file, preparation, where)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "decode", counted)
    return names


def test_a_map_is_made_once(photographs: Path, decoded: list[str]) -> None:
    config, reading = DataConfig(image_size=24), Reading(store="mapped")
    first = read_folder(photographs, config, reading)
    assert sorted(decoded) == sorted({*decoded})
    assert len(decoded) == 48
    again = read_folder(photographs, config, reading)
    assert len(decoded) == 48
    assert torch.equal(first.train.images[:], again.train.images[:])
    read_folder(photographs, DataConfig(image_size=20), reading)
    assert len(decoded) == 96


def test_a_build_that_was_killed_is_continued(
    photographs: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, reading = DataConfig(image_size=25), Reading(store="mapped")
    expected = read_folder(photographs, config, Reading(store="resident")).train.images[:]
    monkeypatch.setattr(pixel_map, "_CHUNK", 10_000)
    note = pixel_map._note
    notes: list[int] = []

    def killed(folder: Path, content: Note) -> None:
        note(folder, content)
        notes.append(content.rows)
        if len(notes) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(pixel_map, "_note", killed)
    decoded.clear()
    kills = 0
    while True:
        try:
            images = read_folder(photographs, config, reading).train.images
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills >= 3
    assert notes == sorted(notes)
    assert notes[-1] == 48
    assert torch.equal(images[:], expected)


def test_all_files_that_cannot_be_decoded_are_listed(photographs: Path, tmp_path: Path) -> None:
    """Their headers are whole: it shows as they are decoded, before anything is trained."""
    root = tmp_path / "set"
    shutil.copytree(photographs, root)
    broken = sorted(root.rglob("*.png"))[3:6]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-200])
    for store in ("resident", "mapped"):
        with pytest.raises(ValueError, match="3 files cannot be used: ") as refused:
            read_folder(root, DataConfig(image_size=16), Reading(store=store))  # type: ignore[arg-type]
        assert all(repr(str(path)) in str(refused.value) for path in broken)
    splits = read_folder(root, DataConfig(image_size=16), Reading(store="decoded", workers=1))
    loader = BatchLoader(splits.train, MarginCrop(), 7, CPU)
    with pytest.raises(ValueError, match=r"^'.*\.png' cannot be read") as refused:
        list(loader.batches(0, 0))
    assert "Traceback" not in str(refused.value)


def test_workers_leave_ctrl_c_and_locks_to_their_parent(photographs: Path, tmp_path: Path) -> None:
    """A worker would hold the lock of a run on for seconds after its parent was killed, and die of a Ctrl-C."""
    splits = read_folder(photographs, DataConfig(image_size=16), Reading(store="decoded", workers=2))
    loader = BatchLoader(splits.train, MarginCrop(), 7, CPU)
    plan, others = loader.plan(0, 0), multiprocessing.active_children()
    with storage.lock(tmp_path):
        loader.begin(plan)
        workers = [process for process in multiprocessing.active_children() if process not in others]
    assert len(workers) == 2
    with storage.lock(tmp_path, wait=0.0):
        pass
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    batches = [loader.batch(*plan.part(first, 7)).pixels for first in range(0, len(plan.rows), 7)]
    assert sum(map(len, batches)) == len(splits.train)
    assert all(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("how", ["collected", "at the end"])
def test_workers_end_with_what_they_cut_for(how: str, photographs: Path) -> None:
    """Queues of a cycle are closed before the loader that would end its workers through them."""
    workers_before = multiprocessing.active_children()
    splits = read_folder(photographs, DataConfig(image_size=16), Reading(store="decoded", workers=2))
    loader = BatchLoader(splits.train, MarginCrop(), 7, CPU)
    loader.begin(loader.plan(0, 0))
    workers = [process for process in multiprocessing.active_children() if process not in workers_before]
    assert isinstance(loader.images, FileViews)
    loader.images.cycle = loader.images  # type: ignore[attr-defined]
    if how == "collected":
        del loader
        gc.collect()
    else:
        _run_finalizers(11)  # as multiprocessing does first when the program ends
    assert [worker.exitcode for worker in workers] == [0, 0]
