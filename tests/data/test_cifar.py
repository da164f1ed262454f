from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tutelage.data import layouts
from tutelage.data.cifar import check, import_archive, load_cifar
from tutelage.data.dataset import DataConfig
from tutelage.data.load import dataset_info, load

MakeMembers = Callable[[str], dict[str, bytes]]
MakeTar = Callable[..., bytes]
SETS = ["cifar10", "cifar100"]


@pytest.fixture
def archive(members: MakeMembers, make_tar: MakeTar, tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / f"{name}.tar.gz"
        path.write_bytes(make_tar(members(name)))
        return path

    return make


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.mark.parametrize("name", SETS)
def test_import_then_load(name: str, archive: Callable[[str], Path], members: MakeMembers, tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert import_archive(name, archive(name), root) == root / name
    assert visible(root) == ["data.safetensors", "manifest.json"]
    splits, layout = load_cifar(name, root), layouts.LAYOUTS[name]
    assert splits.info == layout.info
    for part, files in ((splits.train, layout.train), (splits.test, layout.test)):
        batches = [pickle.loads(members(name)[f"{layout.folder}/{file}"]) for file in files]
        pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        np.testing.assert_array_equal(part.images.numpy(), pixels)
        assert part.labels.tolist() == [label for batch in batches for label in batch[layout.labels]]
        assert part.ids.tolist() == list(range(len(pixels)))
        if name == "cifar100":
            assert part.coarse_labels is not None
            assert part.coarse_labels.tolist() == [label for batch in batches for label in batch["coarse_labels"]]
        else:
            assert part.coarse_labels is None


def test_an_unpacked_folder_gives_the_same(
    archive: Callable[[str], Path], members: MakeMembers, tmp_path: Path
) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, content in members("cifar100").items():
        (folder / Path(name).name).write_bytes(content)
    import_archive("cifar100", folder, tmp_path / "one")
    import_archive("cifar100", archive("cifar100"), tmp_path / "two")
    one = load_cifar("cifar100", tmp_path / "one")
    two = load_cifar("cifar100", tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    assert "not the official one" in check("cifar100", tmp_path / "one")


def test_the_manifest_says_where_it_came_from(
    archive: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, root = archive("cifar100"), tmp_path / "data"
    content = path.read_bytes()
    import_archive("cifar100", path, root)
    note = json.loads((root / "cifar100" / "manifest.json").read_text())["note"]
    sha256 = hashlib.sha256(content).hexdigest()
    assert note["source"] == {"file": "cifar100.tar.gz", "sha256": sha256, "official": False}
    assert (note["train"], note["test"]) == (200, 100)
    assert (len(note["class_names"]), len(note["coarse_names"])) == (100, 20)
    official = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", replace(layouts.LAYOUTS["cifar100"], md5=official))
    import_archive("cifar100", path, root)
    assert check("cifar100", root) == (
        "cifar100: 200 training and 100 test images, unchanged since they were imported from cifar100.tar.gz "
        "(the official archive)"
    )


def test_subsets_and_holdout(archive: Callable[[str], Path], tmp_path: Path) -> None:
    import_archive("cifar100", archive("cifar100"), tmp_path)
    data = DataConfig(name="cifar100", train_size=150, holdout=20)
    splits = load(data, tmp_path)
    assert splits.holdout is not None
    assert (len(splits.train), len(splits.holdout), len(splits.test)) == (130, 20, 100)
    assert splits.info == dataset_info(data, tmp_path)
    whole = load(DataConfig(name="cifar100"), tmp_path)
    assert torch.equal(splits.train.images, whole.train.images[splits.train.ids])


def changed(content: bytes, **entries: object) -> bytes:
    return pickle.dumps(pickle.loads(content) | entries, protocol=2)


PIXELS = np.zeros((200, 3072), np.uint8)
LABELS = [label % 100 for label in range(200)]


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("file", "entries", "message"),
    [
        ("train", {"data": PIXELS[:-1]}, r"shape \[200, 3072\], not an array of shape \[199, 3072\]"),
        ("train", {"data": PIXELS.reshape(200, 3, 32, 32)}, r"not an array of shape \[200, 3, 32, 32\]"),
        ("train", {"data": PIXELS.astype(float)}, "a type other than uint8"),
        ("train", {"data": None}, r"expected uint8 images of shape \[200, 3072\], not nothing"),
        ("train", {"data": [1, 2]}, r"not a list of 2 \(int\)"),
        ("train", {"fine_labels": LABELS[:-1]}, r"expected 200 integers as fine_labels, not a list of 199 \(int\)"),
        ("train", {"fine_labels": [*LABELS[:-1], 100]}, "1 of 200 labels are not from 0 to 99: 100 at row 199"),
        ("train", {"fine_labels": [-100, *LABELS[1:]]}, "1 of 200 labels are not from 0 to 99: -100 at row 0"),
        ("train", {"fine_labels": [2**200, *LABELS[1:]]}, "fine_labels: labels must be integers, not object"),
        ("train", {"fine_labels": [None, *LABELS[1:]]}, r"not a list of 200 \(NoneType, int\)"),
        ("train", {"fine_labels": [True, *LABELS[1:]]}, r"not a list of 200 \(bool, int\)"),
        ("train", {"coarse_labels": [20] * 200}, "coarse_labels: 200 of 200 labels are not from 0 to 19"),
        ("test", {"coarse_labels": None}, "expected 100 integers as coarse_labels, not nothing"),
        ("test", {"fine_labels": "text"}, "expected 100 integers as fine_labels, not str"),
        ("meta", {"fine_label_names": ["a"] * 100}, "its fine_label_names are not the 100 official ones"),
        ("meta", {"coarse_label_names": None}, "its coarse_label_names are not the 20 official ones"),
        ("meta", {"fine_label_names": [PIXELS] * 100}, "its fine_label_names are not the 100 official ones"),
        ("meta", {"fine_label_names": 3}, "its fine_label_names are not the 100 official ones"),
    ],
)
def test_content_that_is_not_this_set(
    file: str, entries: dict[str, Any], message: str, members: MakeMembers, make_tar: MakeTar, tmp_path: Path
) -> None:
    files = members("cifar100")
    name = f"cifar-100-python/{file}"
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(make_tar(files | {name: changed(files[name], **entries)}))
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        import_archive("cifar100", path, tmp_path / "data")
    assert visible(tmp_path / "data") == []


@pytest.mark.fault(28)
def test_no_payload_runs_in_an_archive(
    payloads: dict[str, bytes], members: MakeMembers, make_tar: MakeTar, tmp_path: Path
) -> None:
    files, path, folder = members("cifar100"), tmp_path / "evil.tar.gz", tmp_path / "unpacked"
    folder.mkdir()
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
    chosen = [payload for name, payload in payloads.items() if "by hand" in name or "protocol 2" in name]
    assert len(chosen) == 13
    for number, payload in enumerate(chosen):
        file = ("train", "test", "meta")[number % 3]
        path.write_bytes(make_tar(files | {f"cifar-100-python/{file}": payload}))
        with pytest.raises(ValueError, match=f"cifar-100-python/{file}: "):
            import_archive("cifar100", path, tmp_path / "data")
    for payload in chosen:
        (folder / "train").write_bytes(payload)
        with pytest.raises(ValueError, match="cifar-100-python/train: "):
            import_archive("cifar100", folder, tmp_path / "data")
    assert visible(tmp_path / "data") == []


@pytest.mark.fault(24)
def test_a_failed_import_keeps_what_was_there(
    archive: Callable[[str], Path], make_tar: MakeTar, tmp_path: Path
) -> None:
    root, bad = tmp_path / "data", tmp_path / "bad.tar.gz"
    import_archive("cifar10", archive("cifar10"), root)
    before = load_cifar("cifar10", root).fingerprint
    bad.write_bytes(make_tar({"cifar-10-batches-py/data_batch_1": b""}))
    with pytest.raises(ValueError, match="cifar-10-batches-py/data_batch_1"):
        import_archive("cifar10", bad, root)
    assert load_cifar("cifar10", root).fingerprint == before


def test_the_other_set_is_refused(archive: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cifar10\.tar\.gz is refused: it lacks cifar-100-python/meta"):
        import_archive("cifar100", archive("cifar10"), tmp_path / "data")


def test_names_and_files_that_do_not_exist(small_layouts: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder '.*nowhere' to import cifar10 from"):
        import_archive("cifar10", tmp_path / "nowhere", tmp_path)
    for call in (lambda: import_archive("cifar1000", tmp_path, tmp_path), lambda: check("cifar1000", tmp_path)):
        with pytest.raises(ValueError, match="unknown dataset 'cifar1000': did you mean cifar100 or cifar10"):
            call()
    for load_or_check in (load_cifar, check):
        with pytest.raises(ValueError, match=r"cifar100 is not in .*: run `tutelage data get cifar100`, or"):
            load_or_check("cifar100", tmp_path)
    assert visible(tmp_path) == []


@pytest.mark.fault(24)
@pytest.mark.parametrize("spoil", ["flip", "truncate", "append", "remove", "manifest", "other set"])
def test_a_spoiled_store_is_noticed(spoil: str, archive: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder = import_archive("cifar100", archive("cifar100"), root)
    data, manifest = folder / "data.safetensors", folder / "manifest.json"
    content = data.read_bytes()
    match spoil:
        case "flip":
            data.write_bytes(content[:-5000] + bytes([content[-5000] ^ 1]) + content[-4999:])
        case "truncate":
            data.write_bytes(content[:-1])
        case "append":
            data.write_bytes(content + b"0")
        case "remove":
            data.unlink()
        case "manifest":
            manifest.write_text(manifest.read_text()[:-20])
        case "other set":
            manifest.write_text(manifest.read_text().replace('"cifar100"', '"cifar10"'))
    for load_or_check in (load_cifar, check):
        with pytest.raises(ValueError, match="import cifar100 again"):
            load_or_check("cifar100", root)


def test_a_store_with_other_tensors_is_noticed(
    archive: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_archive("cifar100", archive("cifar100"), tmp_path)
    layout = layouts.LAYOUTS["cifar100"]
    more = replace(layout, info=replace(layout.info, train_size=300))
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", more)
    with pytest.raises(ValueError, match="does not hold cifar100: import cifar100 again"):
        load_cifar("cifar100", tmp_path)


@pytest.mark.cifar
def test_the_real_set_fits_in_memory(cifar: tuple[Path, dict[str, float]]) -> None:
    assert 0.1 < cifar[1]["gib"] < 2


@pytest.mark.cifar
def test_the_real_set_is_what_it_is_known_to_be(cifar: tuple[Path, dict[str, float]]) -> None:
    splits = load(DataConfig(name="cifar100"), cifar[0])
    assert splits.info == dataset_info(DataConfig(name="cifar100"), cifar[0])
    assert splits.train.labels.bincount().tolist() == [500] * 100
    assert splits.test.labels.bincount().tolist() == [100] * 100
    means = splits.train.images.numpy().sum((0, 2, 3), dtype=np.int64) / (50_000 * 32 * 32 * 255)
    assert [round(mean, 4) for mean in means.tolist()] == [0.5071, 0.4865, 0.4409]  # the published means
    assert splits.train.coarse_labels is not None
    pairs = set(zip(splits.train.labels.tolist(), splits.train.coarse_labels.tolist(), strict=True))
    assert len(pairs) == 100  # each fine class lies in one coarse class, five in each
    names = {splits.info.class_names[fine] for fine, coarse in pairs if splits.info.coarse_names[coarse] == "trees"}
    assert names == {"maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"}
