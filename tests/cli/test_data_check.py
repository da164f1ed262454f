"""``tutelage data check``, ``maps`` and ``remove``: what is wrong, what there is, and the space that it takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import InProcess
from tutelage import storage
from tutelage.cli import file_progress
from tutelage.cli.file_progress import FileProgress
from tutelage.data import pixel_map
from tutelage.data.decode_cache import datasets
from tutelage.data.load import _listings
from tutelage.progress import report, reported_to

SIZES = "64x64 pixels with networks for small images, 32x32 with networks for any size"


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    yield
    datasets.clear()
    _listings.clear()


def noise(seed: int, width: int = 40, height: int = 30, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[:, :, 0]


def make(root: Path, *parts: str, count: int = 6) -> Path:
    for place, part in enumerate(parts):
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for row in range(count):
                path = root / part / name / f"{row}.png"
                Image.fromarray(noise(1000 * place + 100 * label + row)).save(path)
    return root


def break_in_eight_ways(root: Path) -> list[str]:
    """Put a fault of each kind into a folder; returns what is to be said of each."""
    truncated, animals = root / "train" / "cat" / "photo.jpg", root / "train" / "dog"
    Image.fromarray(noise(7, 200, 200)).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:9000])
    (animals / "0.png").write_bytes((animals / "0.png").read_bytes()[:200])
    (animals / "notes.txt").write_text("not an image")
    (animals / "empty.jpg").write_bytes(b"")
    (animals / "more").mkdir()
    Image.new("RGB", (2000, 4)).save(animals / "strip.png")
    (root / "train" / "bird").mkdir()
    (root / "test" / "fish").mkdir()
    Image.new("RGB", (9, 9)).save(root / "test" / "fish" / "0.png")
    return [
        r"train/cat/photo.jpg' cannot be read: image file is truncated",
        r"train/dog/0.png' cannot be read",
        r"train/dog/notes.txt' is not an image (of ",
        r"train/dog/empty.jpg' is not an image (of ",
        r"train/dog/more' is not an image file: a class folder may contain only images",
        r"train/dog/strip.png' cannot be read: it has 2000 x 4 pixels",
        r"train/bird' is a class without images",
        r"test/fish' has images of class 'fish', and train has none",
    ]


def test_eight_kinds_of_faults_at_once(in_process: InProcess, tmp_path: Path) -> None:
    make(tmp_path / "set", "train", "test")
    expected = break_in_eight_ways(tmp_path / "set")
    code, printed, errors = in_process("data", "check", "set")
    assert (code, errors) == (2, "")
    lines = printed.splitlines()
    assert len(lines) == 8
    for text in expected:
        (line,) = [line for line in lines if text in line]
        assert line.startswith("'set/")


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5])
def test_one_kind_of_fault_and_what_else_there_is(kind: int, in_process: InProcess, tmp_path: Path) -> None:
    make(tmp_path / "all", "train", "test")
    expected = break_in_eight_ways(tmp_path / "all")[kind]
    make(tmp_path / "set", "train", "test")
    name = expected.partition("'")[0]
    source, target = tmp_path / "all" / name, tmp_path / "set" / name
    target.mkdir() if source.is_dir() else shutil.copy(source, target)
    code, printed, _ = in_process("data", "check", "set")
    assert code == 2
    fault, *facts = printed.splitlines()
    assert fault.startswith(f"'set/{expected}")
    assert any(fact.startswith("training set: ") for fact in facts)
    assert "1 file that cannot be read or decoded is left out (--skip-broken)" not in facts
    code, _, errors = in_process("explain", "baseline", "--data", "set")
    if code == 2:  # else it shows as files are decoded
        assert errors.endswith(
            "--skip-broken goes on without it, and `tutelage data check set` lists all that is wrong\n"
        )
    code, printed, errors = in_process("explain", "baseline", "--data", "set", "--skip-broken")
    assert (code, errors) == (0, "")
    assert "1 file that cannot be read or decoded is left out (--skip-broken)" in printed


def test_what_there_is(in_process: InProcess, tmp_path: Path) -> None:
    root = make(tmp_path / "set", "train", "val", "test")
    Image.fromarray(noise(1, 300, 200, 1)).save(root / "train" / "cat" / "gray.png")
    Image.fromarray(noise(2, 20, 31, 4)).save(root / "train" / "dog" / "glass.png")
    Image.new("I;16", (40, 40), 900).save(root / "train" / "dog" / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(3, 50, 40)).save(root / "train" / "dog" / "turned.jpg", exif=exif)
    (root / "train" / "dog" / "Thumbs.db").write_bytes(b"junk")
    (root / "train" / "dog" / ".DS_Store").write_bytes(b"junk")
    shutil.copy(root / "train" / "cat" / "1.png", root / "test" / "dog" / "copy.png")
    code, printed, errors = in_process("data", "check", "set")
    assert (code, errors) == (0, "")
    assert printed.splitlines() == [
        "training set: 16 images in 2 classes: cat 7, dog 9",
        "validation set: 12 images in 2 classes: cat 6, dog 6",
        "test set: 13 images in 2 classes: cat 6, dog 7",
        "sizes by the shorter side: smallest 20x31, median 40x30, largest 300x200",
        f"training uses {SIZES}; --image-size changes that",
        "2 gray, 1 of 16 bits, 1 transparent, 1 turned upright as EXIF says",
        "val is the validation set",
        "2 files that systems and tools left behind are passed over",
        "equal files: 1 of the test set in the training set too (a leak); 1 under several labels",
        "  'set/train/cat/1.png' = 'set/test/dog/copy.png', as cat and as dog",
    ]


@pytest.mark.parametrize("count", [3, 20, 25])
def test_very_many_copies_are_counted(count: int, in_process: InProcess, tmp_path: Path) -> None:
    root = make(tmp_path / "set", "train", "test")
    for number in range(count):
        shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / f"copy{number:02d}.png")
    shutil.copy(root / "train" / "dog" / "0.png", root / "test" / "dog" / "leak.png")
    code, printed, _ = in_process("data", "check", "set")
    assert code == 0
    pairs = [line for line in printed.splitlines() if line.startswith("  '")]
    assert pairs[0] == "  'set/train/dog/0.png' = 'set/test/dog/leak.png'"
    assert len(pairs) == min(count + 1, 20)
    assert printed.endswith(f"  and {count + 1 - 20} more\n") == (count >= 20)


@pytest.mark.parametrize("sets", [("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_arrays(sets: tuple[str, ...], in_process: InProcess, tmp_path: Path) -> None:
    values = {}
    for number, split in enumerate(sets):
        images = np.random.default_rng(number).integers(0, 256, (20, 9, 9, 3), dtype=np.uint8)
        values |= {f"{split}_images": images, f"{split}_labels": np.arange(20) % 2}
    values[f"{sets[-1]}_images"][3] = values["train_images"][4]
    np.savez(tmp_path / "set.npz", **values)
    code, printed, errors = in_process("data", "check", "set.npz")
    assert (code, errors) == (0, "")
    lines = printed.splitlines()
    assert lines[0] == "training set: 20 images in 2 classes: 0 10, 1 10"
    assert "each image is 3x9x9, which is what training uses" in lines
    assert lines[-2].startswith("equal images: 1 of the test set in the training set too (a leak); 1 under several")
    assert lines[-1] == "  row 4 of the training set = row 3 of the test set, as 0 and as 1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "tutelage: unknown dataset 'cifar11': did you mean cifar10"),
        ("nowhere/at/all", "tutelage: unknown dataset 'nowhere/at/all': "),
        ("set.npz", "tutelage: 'set.npz' cannot be used: it lacks train_labels"),
        ("empty", "tutelage: 'empty' has no class folders"),
    ],
)
def test_what_is_no_dataset(name: str, message: str, in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "set.npz", train_images=np.zeros((4, 8, 8), np.uint8))
    code, printed, errors = in_process("data", "check", name)
    assert (code, printed) == (2, "")
    assert errors.startswith(message)
    assert len(errors.splitlines()) == 1


@pytest.fixture
def train_mapped(in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    def train(data: str, size: int) -> None:
        monkeypatch.setattr(pixel_map, "SMALL", 0)
        short = ("--epochs", "1", "--track", "none", "--model", "resnet8", "--batch-size", "4")
        code, _, errors = in_process("run", "baseline", "--data", data, "--image-size", f"{size}", *short)
        assert code == 0, errors

    return train


def test_maps_are_listed_and_removed(
    train_mapped: Callable[[str, int], None], in_process: InProcess, tmp_path: Path
) -> None:
    assert in_process("data", "maps") == (0, "no images are prepared\n", "")
    make(tmp_path / "set", ".")
    for size in (16, 24, 28):
        train_mapped("set", size)
    code, printed, _ = in_process("data", "maps")
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "shorter" in line
    ]
    assert code == 0
    assert [row[2:5] for row in rows] == [["28", "shorter", "12"], ["24", "shorter", "12"], ["16", "shorter", "12"]]
    assert str(tmp_path)[:20] in rows[0][1]
    names = [row[0] for row in rows]
    code, printed, errors = in_process("data", "remove", names[0], names[2][:5])
    assert (code, errors) == (0, "")
    assert printed.startswith("2 removed, ")
    folders = list((tmp_path / "data" / "prepared").iterdir())
    assert [folder.name[:12] for folder in folders] == [names[1]]
    with storage.lock(folders[0]):
        code, printed, errors = in_process("data", "remove", "--all")
        assert (code, errors) == (1, "")
        assert f"{folders[0]} is in use by process" in printed
    assert in_process("data", "remove", "--all")[0] == 0
    assert in_process("data", "maps") == (0, "no images are prepared\n", "")
    train_mapped("set", 16)  # the model is there, and the images are prepared again
    assert len(list((tmp_path / "data" / "prepared").iterdir())) == 1


@pytest.mark.parametrize("words", [(), ("--all", "abc"), ("abc",), ("../..",)])
def test_what_cannot_be_removed(words: tuple[str, ...], in_process: InProcess, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "prepared" / ("f" * 32)
    folder.mkdir(parents=True)
    code, printed, errors = in_process("data", "remove", *words)
    assert (code, printed) == (2, "")
    assert len(errors.splitlines()) == 1
    assert folder.is_dir()


@pytest.mark.parametrize("what", ["a map without a note", "hostile text", "of a set that is gone"])
def test_maps_of_strangers_are_listed(what: str, in_process: InProcess, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "prepared" / ("0a" * 16)
    folder.mkdir(parents=True)
    path = "/gone" if what == "of a set that is gone" else "/x\x1b[2J[red]\n"
    content = {
        "path": path,
        "preparation": {"size": [1] * 50, "resize": "\x07" * 99},
        "rows": 1,
        "images": 2,
        "bytes": 3,
    }
    if what != "a map without a note":
        (folder / "map.json").write_bytes(storage.json_bytes(content))
    code, printed, errors = in_process("data", "maps")
    assert (code, errors) == (0, "")
    assert "0a0a0a0a0a0a" in printed
    assert "\x1b" not in printed
    assert "\x07" not in printed
    if what == "of a set that is gone":
        assert "/gone (no longer there)" in printed
        assert "1 of 2" in printed


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 0), (9.0, 0), (11.0, 1), (1000.0, 1)])
def test_one_line_where_reading_takes_long(
    seconds: float, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(file_progress.time, "monotonic", lambda: now)
    with reported_to(FileProgress()):
        for done in range(1, 101):
            report(done, 100)
            now += seconds / 100
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == lines
    if lines:
        assert printed[0].startswith("reading image files: ")
    report(1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("total", [3, 50, 1200])
def test_a_bar_in_a_terminal(total: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    monkeypatch.setattr(file_progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(file_progress, "moves_cursor", lambda: True)
    for name, value in (("COLUMNS", "100"), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with file_progress.file_progress():
        for done in range(1, total + 1):
            report(done, total)
            now += 1.5
    printed = capsys.readouterr().err
    assert "reading image files" in printed
    assert f"/{total}" in printed


@pytest.mark.parametrize("classes", [20, 21, 40])
def test_of_very_many_classes_the_extremes_are_said(classes: int, in_process: InProcess, tmp_path: Path) -> None:
    labels = np.concatenate([np.arange(classes), [3, 3, 7]])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    test = {"test_images": 255 - images[:3], "test_labels": np.zeros(3, np.uint8)}
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels, **test)
    code, printed, _ = in_process("data", "check", "set.npz")
    assert code == 0
    assert ("from 1 (0) to 3 (3) of a class" in printed) == (classes > 20)
    assert ("3 3, 4 1" in printed) == (classes <= 20)
