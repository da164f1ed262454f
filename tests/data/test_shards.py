"""Shards in WebDataset's format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.archives import class_folders, png, samples, tar_of, unpacked
from tests.data.test_archives import trained
from tutelage.data import DataConfig, decode_cache
from tutelage.data.archives import examine_images
from tutelage.data.decode_cache import file_state
from tutelage.data.folder import Photographs
from tutelage.data.load import dataset_info
from tutelage.data.shards import CLASSES, shards_in


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    yield
    decode_cache.datasets.clear()


def shards(root: Path, *names: str, count: int = 9) -> Path:
    """Shards of these names, with ``count`` samples each, numbered through."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        tar_of(root / name, samples(count, number * count))
    return root


def sizes(photographs: Photographs) -> dict[str, int]:
    return {role: len(rows) for role, rows in photographs.rows.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("0.tar", "1.tar", "2.TAR"), {"train": 22, "test": 5}),
        (("train-000000.tar", "train-000001.tar", "val-000000.tar"), {"train": 18, "test": 9}),
        (
            ("imagenet-train-0.tar", "imagenet-validation-0.tar", "imagenet_test_0.tar"),
            {"train": 9, "holdout": 9, "test": 9},
        ),
        (("train/0.tar", "train/1.tar", "test/0.tar"), {"train": 18, "test": 9}),
        (("Training/a.tar", "valid/a.tar", "eval/a.tar"), {"train": 9, "holdout": 9, "test": 9}),
    ],
)
def test_sets_by_the_names_of_shards(names: tuple[str, ...], expected: dict[str, int], tmp_path: Path) -> None:
    root = shards(tmp_path / "set", *names)
    photographs = examine_images(root, None)
    assert photographs.class_names == ("0", "1", "2")
    assert sizes(photographs) == expected
    assert set(photographs.source.names) == {
        f"{name}/{row:06d}.png" for number, name in enumerate(names) for row in range(9 * number, 9 * number + 9)
    }
    for row, name in enumerate(photographs.source.names):
        key = int(name[-10:-4])
        assert photographs.labels[row] == key % 3
        with photographs.source.open(row) as file:
            assert file.read() == png(key)


def test_one_tar_of_samples(tmp_path: Path) -> None:
    plain = examine_images(tar_of(tmp_path / "set.tar", samples(12)), None)
    assert sizes(plain) == {"train": 10, "test": 2}
    parts = {f"{part}/{name}": content for part in ("train", "val", "test") for name, content in samples(6).items()}
    divided = examine_images(tar_of(tmp_path / "divided.tar", parts), None)
    assert sizes(divided) == {"train": 6, "holdout": 6, "test": 6}
    assert not divided.divided


@pytest.mark.parametrize("ending", ["jpg", "PNG", "jpeg", "webp", "ppm"])
def test_endings_of_images(ending: str, tmp_path: Path) -> None:
    """What the bytes are, they tell themselves."""
    files = {name.replace("png", ending): content for name, content in samples(9).items()}
    assert sizes(examine_images(tar_of(tmp_path / "set.tar", files), None)) == {"train": 7, "test": 2}


@pytest.mark.parametrize("label", [b"%d", b" %d\n", b"0%d"])
def test_labels_as_text(label: bytes, tmp_path: Path) -> None:
    files = {name: label % int(content) if name.endswith("cls") else content for name, content in samples(12).items()}
    assert examine_images(tar_of(tmp_path / "set.tar", files), None).labels.tolist() == [row % 3 for row in range(12)]


@pytest.mark.parametrize("more", [{}, {"caption": "a cat", "width": 3.5}, {"labels": [1, 2], "Label": 9}])
def test_labels_in_json(more: dict[str, object], tmp_path: Path) -> None:
    files = {f"a.b/{row}.png": png(row) for row in range(12)}
    files |= {f"a.b/{row}.json": json.dumps({"label": 10 * (row % 3)} | more).encode() for row in range(12)}
    photographs = examine_images(tar_of(tmp_path / "set.tar", files), None)
    assert photographs.class_names == ("0", "10", "20")
    assert photographs.labels.bincount().tolist() == [4, 4, 4]


def test_other_files_of_samples_are_passed_over(tmp_path: Path) -> None:
    files = samples(9) | {
        "000003.txt": b"a caption",
        "000003.seg.png": b"a mask",
        "000004.json": b"{}",
        "README": b"",
    }
    files |= {"__meta__/x.png": b"x", "__index__": b"x", "info.json": b"{}", "._000001.cls": b"x", ".DS_Store": b"x"}
    photographs = examine_images(tar_of(tmp_path / "set.tar", files), None)
    assert len(photographs.labels) == 9
    assert photographs.notes[0].startswith("2 files that systems")


def test_names_of_classes(tmp_path: Path) -> None:
    root = shards(tmp_path / "set", "train-0.tar", "test-0.tar")
    (root / CLASSES).write_text("ant\nbee\ncat\ndog\n")
    assert examine_images(root, None).class_names == ("ant", "bee", "cat")
    config = DataConfig(name=str(root / "train-0.tar"), image_size=8)
    assert dataset_info(config, tmp_path).class_names == ("ant", "bee", "cat")
    (root / CLASSES).write_text("Äsche\r\nBarsch\r\nDorsch")
    assert dataset_info(config, tmp_path).class_names == ("Äsche", "Barsch", "Dorsch")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (b"ant\nbee\n", "6 files cannot be used: .* names 2 classes"),
        (b"ant\nbee\nant\n", "names the class 'ant' twice"),
        (b"ant\n\nbee\n", "has an empty line"),
        (b"\xff\xfe\0a", "is no text in UTF-8"),
    ],
)
def test_names_of_classes_that_do_not_fit(names: bytes, message: str, tmp_path: Path) -> None:
    root = shards(tmp_path / "set", "train-0.tar", "test-0.tar")
    (root / CLASSES).write_bytes(names)
    with pytest.raises(ValueError, match=message):
        examine_images(root, None)


FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "no label": ({"100.png": png()}, "100' has no label: expected 100.cls"),
    "no label in a folder": ({"a/b.png": png()}, "a/b' has no label: expected a/b.cls"),
    "no label but a text": ({"100.png": png(), "100.txt": b"1"}, "100' has no label: expected 100.cls"),
    "no image": ({"101.cls": b"1"}, "101' has a label and no image"),
    "no image but a mask": ({"102.cls": b"1", "102.seg.png": png()}, "102' has a label and no image"),
    "no image, in a folder": ({"a/c.cls": b"1"}, "a/c' has a label and no image"),
    "two images": ({"103.png": png(), "103.jpg": png(), "103.cls": b"1"}, "103' has 2 images, 103.png and 103.jpg"),
    "two endings": ({"104.jpg": png(), "104.JPG": png(), "104.cls": b"1"}, "104' has 2 images"),
    "three": ({f"105.{end}": png() for end in ("bmp", "gif", "tif")} | {"105.cls": b"1"}, "105' has 3 images"),
    "a name": ({"106.png": png(), "106.cls": b"cat"}, "106.cls' holds 'cat': expected the number of a class"),
    "minus": ({"107.png": png(), "107.cls": b"-1"}, "107.cls' holds '-1': expected the number"),
    "nothing": ({"108.png": png(), "108.cls": b""}, "108.cls' holds '': expected the number"),
    "digits": ({"109.png": png(), "109.cls": b"9" * 5000}, "109.cls' holds '99999999999999999999': expected"),
    "too long": ({"110.png": png(), "110.cls": b"1" * 70_000}, "110.cls' has more than 65536 bytes"),
    "a fraction": ({"111.png": png(), "111.json": b'{"label": 1.5}'}, "111.json' has the label '1.5'"),
    "a text": ({"112.png": png(), "112.json": b'{"label": "cat"}'}, "112.json' has the label 'cat'"),
    "true": ({"113.png": png(), "113.json": b'{"label": true}'}, "113.json' has the label 'True'"),
    "no key": ({"114.png": png(), "114.json": b'{"class": 1}'}, "114.json' has no 'label'"),
    "a list": ({"115.png": png(), "115.json": b"[1]"}, "115.json' has no 'label'"),
    "no JSON": ({"116.png": png(), "116.json": b"{"}, "116.json' it cannot be read as JSON"),
    "deep": ({"117.png": png(), "117.json": b"[" * 60_000}, "117.json' it cannot be read as JSON"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_sample_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    files, message = FAULTS[name]
    path = tar_of(tmp_path / "set.tar", samples(9) | files)
    with pytest.raises(ValueError, match=r"^'") as refused:
        examine_images(path, None)
    assert str(refused.value).startswith(f"'{path}/{message}"), refused.value
    assert "\n" not in str(refused.value)


def test_all_faults_are_listed_together(tmp_path: Path) -> None:
    root = shards(tmp_path / "set", "train-0.tar", "val-0.tar")
    more = [f"{number}.{ending}" for number in range(50, 53) for ending in ("png", "cls")]
    unknown = {name: png() if name.endswith("png") else b"7" for name in more}
    broken = {name: content for files, _ in [*FAULTS.values()][:7] for name, content in files.items()}
    tar_of(root / "val-1.tar", samples(9) | unknown | broken | {"000000.png": png()[:30]})
    with pytest.raises(ValueError, match=r"^10 files cannot be used: ") as refused:
        examine_images(root, None)
    assert str(refused.value).count(f"'{root}/val-1.tar/") == 10
    assert f"'{root}/val-1.tar/50.png' has the label 7, and train has none" in str(refused.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train-0.tar", "more.tar"), r"more\.tar/000009' is of no set, and others are of one"),
        (("train-val-0.tar", "test-0.tar"), r"train-val-0\.tar' is named for the sets holdout and train"),
        (("train/test-0.tar",), r"train/test-0\.tar' is named for the sets test and train"),
        (("val-0.tar", "test-0.tar"), "has no shards for training"),
        (("test/0.tar",), "has no shards for training"),
        (("val/0.tar",), "has no shards for training"),
    ],
)
def test_shards_of_unclear_sets(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        examine_images(shards(tmp_path / "set", *names), None)


def test_tars_of_class_folders_are_no_shards(tmp_path: Path) -> None:
    for name in ("train.tar", "val.tar"):
        tar_of(tmp_path / name, class_folders())
    with pytest.raises(ValueError, match=r"train\.tar' has no samples: expected .*class folders go into one archive"):
        examine_images(tmp_path, None)


def test_a_folder_of_classes_with_a_tar_beside_them_is_one(tmp_path: Path) -> None:
    for root in (tmp_path / "set", tmp_path / "set" / "train"):
        unpacked(root, class_folders())
        tar_of(root / "train-0.tar", samples(3))
        assert shards_in(tmp_path / "set") == {}
    assert examine_images(tmp_path / "set" / "train", None).class_names == ("a", "b", "c")


def test_a_changed_shard_is_another_state(tmp_path: Path) -> None:
    root = shards(tmp_path / "set", "train/0.tar", "test/0.tar")
    states = {file_state(root)}
    tar_of(root / "train" / "0.tar", samples(10))
    states.add(file_state(root))
    tar_of(root / "train" / "1.tar", samples(9, 9))
    states.add(file_state(root))
    (root / CLASSES).write_text("a\nb\nc")
    states.add(file_state(root))
    alone = {file_state(tar_of(tmp_path / "0.tar", samples(9)))}
    (tmp_path / CLASSES).write_text("a\nb\nc")
    alone.add(file_state(tmp_path / "0.tar"))
    assert (len(states), len(alone)) == (4, 2)


def test_shards_train_the_same_with_any_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    root = shards(tmp_path / "set", "train-0.tar", "train-1.tar", "test-0.tar")
    weights = [
        trained(root, tmp_path / f"runs{workers}{store}", image_store=store, workers=workers)
        for store, workers in (("resident", 0), ("decoded", 0), ("decoded", 1), ("decoded", 2))
    ]
    assert len(weights[0]) == 1
    assert all(each == weights[0] for each in weights)
