from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.io import savemat

from tests.data.official_sets import WNIDS, make_cinic, make_ilsvrc, make_tiny, write_meta
from tutelage import storage
from tutelage.data import DataConfig, Splits, mat_structs, official
from tutelage.data.check import check_data
from tutelage.data.decode_cache import datasets
from tutelage.data.faults import BrokenFiles
from tutelage.data.load import _listings, dataset_info, load
from tutelage.data.official import OFFICIAL, mark
from tutelage.data.official_store import described, import_place, imported
from tutelage.storage import Damaged

ILSVRC_LAYOUTS = ("devkit", "synsets", "unpacked", "kaggle")
KIT = "ILSVRC2012_devkit_t12/data"
TRUTH = f"{KIT}/ILSVRC2012_validation_ground_truth.txt"


def loaded(name: str, root: Path) -> Splits:
    datasets.clear()
    return load(DataConfig(name=name, image_size=16), root / "data")


def colors(splits: Splits) -> list[tuple[int, int]]:
    """The class of each test image as its label says and as its color does."""
    red = splits.test.images[:].float().mean((2, 3))[:, 0]
    return list(zip(splits.test.labels.tolist(), ((red - 29) / 20).round().int().tolist(), strict=True))


@pytest.mark.parametrize("layout", ILSVRC_LAYOUTS)
def test_ilsvrc2012_in_each_layout(layout: str, tmp_path: Path) -> None:
    root = make_ilsvrc(tmp_path / "set", layout)
    assert "100 training and 50 validation images in 10 classes" in import_place(
        "ilsvrc2012", root, tmp_path / "data"
    )
    splits = loaded("ilsvrc2012", tmp_path)
    assert splits.info.class_names == WNIDS
    assert all(label == color for label, color in colors(splits))
    assert splits.info.mark == (
        "100 of 1,281,167 training images: not ILSVRC2012 (50 of 50,000 validation images, 10 of 1,000 classes)"
    )
    assert splits.info == dataset_info(DataConfig(name="ilsvrc2012", image_size=16), tmp_path / "data")
    assert splits.info.notes[-1] == splits.info.mark


@pytest.mark.parametrize("layout", ["official", "classes", "images"])
def test_tiny_imagenet_in_each_layout(layout: str, tmp_path: Path) -> None:
    root = make_tiny(tmp_path / "set", layout)
    import_place("tiny-imagenet", root, tmp_path / "data")
    splits = loaded("tiny-imagenet", tmp_path)
    assert splits.info.class_names == WNIDS
    assert (len(splits.train), len(splits.test), splits.holdout) == (100, 50, None)
    assert all(label == color for label, color in colors(splits))
    assert "test has no labels and is not used" in splits.info.notes
    assert not any("passed over" in note for note in splits.info.notes)
    assert dataset_info(DataConfig(name="tiny-imagenet"), tmp_path / "data").height == 64


def test_cinic10(tmp_path: Path) -> None:
    import_place("cinic10", make_cinic(tmp_path / "set"), tmp_path / "data")
    splits = loaded("cinic10", tmp_path)
    assert splits.holdout is not None
    assert (len(splits.train), len(splits.holdout), len(splits.test)) == (100, 50, 50)
    assert splits.info.mark.startswith("100 of 90,000 training images: not CINIC-10 (50 of 90,000 validation images")
    assert splits.info.class_names == OFFICIAL["cinic10"].class_names


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ilsvrc2012", lambda root: make_ilsvrc(root, "devkit")),
        ("ilsvrc2012", lambda root: make_ilsvrc(root, "kaggle")),
        ("tiny-imagenet", make_tiny),
        ("tiny-imagenet", lambda root: make_tiny(root, "classes")),
    ],
)
def test_a_path_in_an_official_layout(name: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    """It is the same set as by its name, also where it lies in another folder."""
    root = make(tmp_path / "set" / "inner")
    import_place(name, root, tmp_path / "data")
    by_name = loaded(name, tmp_path)
    assert by_name.fingerprint == loaded(str(root), tmp_path).fingerprint
    assert by_name.fingerprint == loaded(str(root.parent), tmp_path).fingerprint
    assert OFFICIAL[name].title in by_name.info.mark


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("how", ["folder", "link", "wrapped"])
def test_images_that_were_put_below_the_data_folder(name: str, how: str, tmp_path: Path) -> None:
    make = {
        "ilsvrc2012": lambda root: make_ilsvrc(root, "synsets"),
        "tiny-imagenet": make_tiny,
        "cinic10": make_cinic,
    }
    data = tmp_path / "data"
    root = {"folder": data / name, "link": tmp_path / "set", "wrapped": data / name / "unpacked"}[how]
    make[name](root)
    data.mkdir(exist_ok=True)
    if how == "link":
        (data / name).symlink_to(root)
    assert len(loaded(name, tmp_path).train) == 100
    assert "needs no import" in import_place(name, data / name, data)
    before = sorted(tmp_path.rglob("*"))
    other = make[name](tmp_path / "other")
    with pytest.raises(ValueError, match="holds images itself"):
        import_place(name, other, data)
    assert before == [path for path in sorted(tmp_path.rglob("*")) if not path.is_relative_to(other)]


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_set_that_is_not_there(name: str, tmp_path: Path) -> None:
    info = dataset_info(DataConfig(name=name), tmp_path / "data")
    facts = OFFICIAL[name]
    assert (info.train_size, info.test_size) == (facts.sizes["train"], facts.sizes["test"])
    assert info.num_classes == facts.num_classes
    assert info.height == facts.size
    assert info.mark == ""
    assert dataset_info(DataConfig(name=name, image_size=48), tmp_path / "data").height == 48
    with pytest.raises(ValueError, match=f"^{name} is not in .*: run `tutelage data import {name} PATH`"):
        load(DataConfig(name=name), tmp_path / "data")
    with pytest.raises(ValueError, match=f"^{name} is not in "):
        check_data(name, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_network_size_counts_for_large_images_only(tmp_path: Path) -> None:
    heights = [dataset_info(DataConfig(name=name, network_size=96), tmp_path).height for name in OFFICIAL]
    assert heights == [96, 64, 32]


@pytest.mark.parametrize(
    ("name", "sizes", "classes", "expected"),
    [
        ("ilsvrc2012", {"train": 1_281_167, "test": 50_000}, 1000, ""),
        ("ilsvrc2012", {"train": 1_281_167, "test": 50_000}, 999, "999 of 1,000 classes: not ILSVRC2012"),
        ("tiny-imagenet", {"train": 100_000, "test": 9_999}, 200, "9,999 of 10,000 validation images: not Tiny"),
        (
            "cinic10",
            {"train": 90_001, "test": 90_000},
            10,
            "90,001 instead of 90,000 training images: not CINIC-10 (0 of 90,000 validation images)",
        ),
    ],
)
def test_marks(name: str, sizes: dict[str, int], classes: int, expected: str) -> None:
    assert mark(name, sizes, classes).startswith(expected)
    assert bool(mark(name, sizes, classes)) == bool(expected)


def test_a_set_of_the_official_counts_is_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_place("tiny-imagenet", make_tiny(tmp_path / "set"), tmp_path / "data")
    marked = loaded("tiny-imagenet", tmp_path)
    small = replace(OFFICIAL["tiny-imagenet"], sizes={"train": 100, "test": 50}, num_classes=10)
    monkeypatch.setattr(official, "OFFICIAL", {**OFFICIAL, "tiny-imagenet": small})
    _listings.clear()
    exact = loaded("tiny-imagenet", tmp_path)
    assert exact.info.mark == ""
    assert exact.fingerprint != marked.fingerprint
    assert exact.train.fingerprint == marked.train.fingerprint


def faults(name: str, root: Path) -> list[str]:
    with pytest.raises(BrokenFiles) as refused:
        import_place(name, root, root.parent / "data")
    assert not (root.parent / "data").exists()
    assert "\n" not in str(refused.value)
    return [fault.replace(f"{root}/", "") for fault in refused.value.faults]


def test_all_faults_of_annotations_at_once(tmp_path: Path) -> None:
    root = make_tiny(tmp_path / "set")
    path = root / "val" / "val_annotations.txt"
    lines = path.read_text().splitlines()
    lines[0] = "val_0.JPEG n01440764"
    lines[1] = "val_1.JPEG\tfish\t0\t0\t1\t1"
    lines[2] = "val_2.JPEG\tn99999999\t0\t0\t1\t1"
    del lines[3]
    path.write_text("\n".join([*lines, lines[5]]))
    (root / "val" / "images" / "folder").mkdir()
    where = "'val/val_annotations.txt'"
    assert sorted(faults("tiny-imagenet", root)) == sorted(
        [
            f"{where}: line 1: expected a file, its class and a box separated by tabs",
            f"{where}: line 2: 'fish' is no class, expected a number such as n01440764",
            f"{where}: line 50: {lines[5].split()[0]!r} stands there twice",
            f"{where}: 1 of its images are of class 'n99999999', and train has none",
            "'val/images/val_0.JPEG' has no class in val_annotations.txt",
            "'val/images/val_3.JPEG' has no class in val_annotations.txt",
            "'val/images/folder' is not an image file",
        ]
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "'val/images/val_0.JPEG' has no class in val_annotations.txt"),
        (b"\xff\xfe\x00", "'val/val_annotations.txt': it is not text in UTF-8"),
        (b"val_0.JPEG,n01440764\n" * 3, "'val/val_annotations.txt': line 1: expected a file, its class and a box"),
        (None, "'val' has 50 images and nothing that says of which class they are: expected val_"),
    ],
)
def test_annotations_that_are_none(content: bytes | None, expected: str, tmp_path: Path) -> None:
    root = make_tiny(tmp_path / "set")
    path = root / "val" / "val_annotations.txt"
    path.unlink() if content is None else path.write_bytes(content)
    assert faults("tiny-imagenet", root)[0].startswith(expected)


def test_all_faults_of_a_ground_truth_at_once(tmp_path: Path) -> None:
    root = make_ilsvrc(tmp_path / "set", "devkit")
    lines = (root / TRUTH).read_text().splitlines()
    lines[0], lines[4], lines[7] = "0", "11", "fish"
    (root / TRUTH).write_text("\n".join(lines[:-2]))
    (root / "val" / "cat.JPEG").write_bytes(b"")
    assert faults("ilsvrc2012", root) == [
        f"'{TRUTH}': line 1: '0' is no number of a class from 1 to 10",
        f"'{TRUTH}': line 5: '11' is no number of a class from 1 to 10",
        f"'{TRUTH}': line 8: 'fish' is no number of a class from 1 to 10",
        f"'{TRUTH}': it has 48 lines: expected 50,000, or 51 as there are validation images",
        "'val/ILSVRC2012_val_00000049.JPEG' has no class in ILSVRC2012_validation_ground_truth.txt",
        "'val/ILSVRC2012_val_00000050.JPEG' has no class in ILSVRC2012_validation_ground_truth.txt",
        "'val/cat.JPEG' has no class in ILSVRC2012_validation_ground_truth.txt",
    ]


def test_a_part_of_the_validation_images_has_the_whole_ground_truth(tmp_path: Path) -> None:
    root = make_ilsvrc(tmp_path / "set", "devkit")
    lines = (root / TRUTH).read_text().splitlines()
    (root / TRUTH).write_text("\n".join([*lines, *["1"] * (50_000 - len(lines))]))
    for path in sorted((root / "val").iterdir())[::2]:
        path.unlink()
    assert "and 25 validation images" in import_place("ilsvrc2012", root, tmp_path / "data")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("missing", "No such file"),
        ("text", "has no table of synsets: it is no MATLAB 5.0 MAT-file"),
        ("cut", "has no table of synsets: it is damaged"),
        ("another", "has no table of synsets: it has no array synsets"),
        ("numbers", "has no table of synsets: it has no array synsets"),
        ("fields", "has no table of synsets: synsets has no field num_children"),
        ("names", "has no table of synsets such as n01440764, but 'tench'"),
        ("bomb", "decompresses to more than 1048576 bytes"),
        ("large", "has more than 8388608 bytes"),
    ],
)
def test_a_table_of_synsets_that_is_none(
    kind: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_structs, "MAX_EXPANDED", 2**20)
    root = make_ilsvrc(tmp_path / "set", "devkit", val=1)
    path = root / KIT / "meta.mat"
    match kind:
        case "missing":
            path.unlink()
        case "text":
            path.write_text("synsets = []")
        case "cut":
            path.write_bytes(path.read_bytes()[:-40])
        case "another":
            savemat(path, {"other": [1, 2]})
        case "numbers":
            savemat(path, {"synsets": [[1.0, 2.0]]})
        case "fields":
            savemat(path, {"synsets": {"ILSVRC2012_ID": 1, "WNID": WNIDS[0]}})
        case "names":
            write_meta(path, ("tench", *WNIDS[1:]))
        case "bomb":
            savemat(path, {"synsets": b"\0" * (2**20)}, do_compression=True)
        case "large":
            path.write_bytes(path.read_bytes() + bytes(8 * 2**20))
    (fault,) = faults("ilsvrc2012", root)
    assert fault.startswith(f"'{TRUTH}': it needs meta.mat beside it: ")
    assert re.search(expected, fault)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ILSVRC2012_val_00000001\n", "line 52: expected an image, a comma and its class"),
        ("ILSVRC2012_val_00000001,n01440764 1 2 3 4\n", "line 52: 'ILSVRC2012_val_00000001.JPEG' stands there twice"),
        ("ILSVRC2012_val_00000099,tench 1 2 3 4\n", "line 52: 'tench' is no class, expected a number"),
    ],
)
def test_a_solution_with_a_bad_line(line: str, expected: str, tmp_path: Path) -> None:
    root = make_ilsvrc(tmp_path / "set", "kaggle")
    with (root / "LOC_val_solution.csv").open("a") as file:
        file.write(line)
    with pytest.raises(BrokenFiles, match=f"LOC_val_solution.csv': {expected}"):
        import_place("ilsvrc2012", root, tmp_path / "data")


@pytest.mark.parametrize("layout", ["devkit", "unpacked", "kaggle"])
def test_flat_images_without_their_classes(layout: str, tmp_path: Path) -> None:
    root = make_ilsvrc(tmp_path / "set", layout)
    for path in (root / TRUTH, root / "LOC_val_solution.csv"):
        path.unlink(missing_ok=True)
    with pytest.raises(BrokenFiles, match=r"expected ILSVRC2012_devkit_t12 or LOC_val_solution\.csv beside it"):
        import_place("ilsvrc2012", root, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "spoil", "expected"),
    [
        ("ilsvrc2012", "empty", r"is not in the layout of ilsvrc2012: expected train/<synset>/\*\.JPEG"),
        ("tiny-imagenet", "empty", r"is not in the layout of tiny-imagenet: expected train/<synset>/images"),
        ("cinic10", "empty", r"is not in the layout of cinic10: expected train/<class>"),
        ("cinic10", "nowhere", "there is no folder .* to import cinic10 from"),
        ("cinic10", "other", "train' has the class 'n01440764', expected those of CINIC-10, such as airplane"),
        ("tiny-imagenet", "other", "train' has the class 'airplane', expected those of Tiny ImageNet-200, such as"),
        ("ilsvrc2012", "tars", "train' has no class folders: unpack each .tar in it into a folder of its name"),
        ("ilsvrc2012", "inside", "is not in the layout .*; its parent '.*set' is in that layout"),
        ("ilsvrc2012", "two", "has the folders Train, train for one set: keep one of them"),
        ("tiny-imagenet", "twice", "holds tiny-imagenet 2 times: choose one of "),
    ],
)
def test_folders_in_another_layout(name: str, spoil: str, expected: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    match spoil:
        case "empty":
            (root / "photos" / "cat").mkdir(parents=True)
        case "other" if name == "cinic10":
            for part in ("train", "valid", "test"):
                (root / part / WNIDS[0]).mkdir(parents=True)
        case "other":
            make_cinic(root, 1, 1)
        case "tars":
            (root / "train").mkdir(parents=True)
            (root / "val").mkdir()
            (root / "train" / f"{WNIDS[0]}.tar").write_bytes(b"")
        case "inside":
            root = make_ilsvrc(root, "devkit", 1, 1) / "train"
        case "two":
            (make_ilsvrc(root, "synsets", 1, 1) / "Train" / WNIDS[0]).mkdir(parents=True)
        case "twice":
            make_tiny(root / "a", train=1, val=1)
            make_tiny(root / "b", train=1, val=1)
    with pytest.raises(ValueError, match=expected):
        import_place(name, root, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_an_import_is_replaced_by_a_good_one_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    import_place("tiny-imagenet", make_tiny(tmp_path / "one"), data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is not in the layout"):
        import_place("tiny-imagenet", tmp_path / "empty", data)
    assert len(loaded("tiny-imagenet", tmp_path).train) == 100
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(ValueError, match="there is no such folder any more: run `tutelage data import tiny-imagenet"):
        loaded("tiny-imagenet", tmp_path)
    import_place("tiny-imagenet", tmp_path / "two", data)
    assert len(loaded("tiny-imagenet", tmp_path).train) == 100


@pytest.mark.parametrize("content", [b"{}", b'{"folder": 3}', b"nothing", b'{"folder": "\\u0000"}'])
def test_a_record_of_another_kind(content: bytes, tmp_path: Path) -> None:
    storage.commit(tmp_path / "data" / "cinic10", {"place.json": content}, note={"name": "cinic10"})
    with pytest.raises(Damaged, match="import cinic10 again"):
        loaded("cinic10", tmp_path)


def test_a_check_reads_all_files_again(tmp_path: Path) -> None:
    """Also where a file was changed and nothing but its bytes tells."""
    root = make_cinic(tmp_path / "set", train=80, val=20)
    data = tmp_path / "data"
    import_place("cinic10", root, data)
    loaded("cinic10", tmp_path)
    line = described(imported("cinic10", data))
    assert line.startswith(f"cinic10 is read from {str(root)!r}: 800 training and 200 validation and 200 test images")
    report = check_data("cinic10", data)
    assert report.faults == ()
    assert report.facts[0].startswith("training set: 800 images in 10 classes: airplane 80, ")
    for number in range(3):
        (root / "test" / "cat" / f"cat-{number}.jpg").write_bytes(b"no image")
    assert len(check_data("cinic10", data).faults) == 3
