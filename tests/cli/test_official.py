"""ILSVRC2012, Tiny ImageNet and CINIC-10 through the command: imported, trained by name, said where they are not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command, InProcess
from tests.data.official_sets import make_cinic, make_ilsvrc, make_tiny
from tests.faults.commands import hashes
from tutelage.data.decode_cache import datasets
from tutelage.data.official import OFFICIAL

TRAINED = ("--image-size", "32", "--model", "resnet8", "--epochs", "2", "--batch-size", "50", "--lr", "0.02")
MAKE: dict[str, Callable[[Path], Path]] = {
    "ilsvrc2012": lambda root: make_ilsvrc(root, "devkit", train=70, val=130),
    "tiny-imagenet": lambda root: make_tiny(root, train=70, val=130),
    "cinic10": lambda root: make_cinic(root, train=70, val=65),
}
MARKS = {
    "ilsvrc2012": "700 of 1,281,167 training images: not ILSVRC2012 (1,300 of 50,000 validation images, 10 of 1,000 "
    "classes)",
    "tiny-imagenet": "700 of 100,000 training images: not Tiny ImageNet-200 (1,300 of 10,000 validation images, "
    "10 of 200 classes)",
    "cinic10": "700 of 90,000 training images: not CINIC-10 (650 of 90,000 validation images, 650 of 90,000 test "
    "images)",
}


def one_line(reply: tuple[int, str, str]) -> str:
    code, printed, errors = reply
    assert (code, printed) == (2, "")
    (line,) = errors.splitlines()
    return line


def test_they_are_listed(in_process: InProcess) -> None:
    code, printed, _ = in_process("list", "data")
    assert code == 0
    assert set(OFFICIAL) <= set(printed.split())


@pytest.mark.parametrize("name", ["tiny-imagenet", "cinic10"])
def test_two_epochs_by_name(name: str, in_process: InProcess, tmp_path: Path) -> None:
    root = MAKE[name](tmp_path / "images")
    code, printed, errors = in_process("data", "import", name, "images")
    assert (code, errors) == (0, "")
    assert printed.startswith(f"{name} is read from {str(root)!r}: 700 training and ")
    code, printed, errors = in_process("run", "baseline", "--data", name, *TRAINED)
    assert code == 0, errors
    assert f"{name}: {MARKS[name]}" in errors
    assert f": {name} ({MARKS[name]}), last epoch" in " ".join(printed.split())
    (config,) = (tmp_path / "runs" / "models").glob("*/config.json")
    assert json.loads(config.read_text())["data_mark"] == MARKS[name]
    assert not [path for path in (tmp_path / "data").rglob("*") if path.suffix.lower() in (".jpeg", ".jpg")]
    (study,) = (tmp_path / "runs" / "studies").iterdir()
    assert in_process("report", study.name, "--out", "pages")[0] == 0
    (page,), (table,) = (tmp_path / "pages").rglob("*.html"), (tmp_path / "pages").rglob("*.md")
    for text in (page.read_text(), table.read_text()):
        assert f"{name}: {MARKS[name]}" in text
        assert f"on {name} ({MARKS[name]})" in text
    datasets.clear()


@pytest.mark.parametrize(
    "name",
    [
        "ilsvrc2012",
        *(
            pytest.param(name, marks=(pytest.mark.torture, pytest.mark.fault(1)))
            for name in ("tiny-imagenet", "cinic10")
        ),
    ],
)
def test_killed_in_the_middle_it_ends_with_the_same_weights(name: str, tutelage: Command, tmp_path: Path) -> None:
    make = MAKE[name](tmp_path / "images")
    assert tutelage("data", "import", name, str(make)).returncode == 0
    words = ("run", "baseline", "--data", name, *TRAINED)
    whole = tutelage(*words, TUTELAGE_RUNS=str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    assert MARKS[name] in whole.stderr
    killed = tutelage(*words, TUTELAGE_CHECKPOINT_SECONDS="0", TUTELAGE_FAULT="kill@60")
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "runs" / "models").glob("*/checkpoints/*/manifest.json"))
    assert not list((tmp_path / "runs" / "models").glob("*/weights.safetensors"))
    again = tutelage(*words)
    assert again.returncode == 0, again.stderr
    assert hashes(tmp_path / "runs") == hashes(tmp_path / "whole")


@pytest.mark.parametrize("words", [("run", "baseline"), ("run", "tolerant", "--model", "resnet8"), ("data", "check")])
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_set_that_was_not_imported(
    name: str, words: tuple[str, ...], in_process: InProcess, tmp_path: Path
) -> None:
    line = one_line(in_process(*words, *(() if words[0] == "data" else ("--data",)), name))
    assert line == (
        f"tutelage: {name} is not in {tmp_path / 'data'}: run `tutelage data import {name} PATH` with the folder of "
        f"its images (`tutelage data get {name}` says where to get them)"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", OFFICIAL)
def test_where_to_get_them(name: str, in_process: InProcess) -> None:
    line = one_line(in_process("data", "get", name))
    assert OFFICIAL[name].source in line
    assert line.endswith(f"unpack it and run `tutelage data import {name} PATH`")


@pytest.mark.parametrize(
    ("name", "words", "size"),
    [
        ("ilsvrc2012", (), 64),  # a network for small images
        ("ilsvrc2012", ("--image-size", "224"), 224),
        ("tiny-imagenet", (), 64),
        ("cinic10", (), 32),
    ],
)
def test_explain_needs_no_images(name: str, words: tuple[str, ...], size: int, in_process: InProcess) -> None:
    code, printed, errors = in_process("explain", "baseline", "--data", name, "--model", "resnet8", *words)
    assert (code, errors) == (0, "")
    sizes = OFFICIAL[name].sizes
    assert f"{sizes['train']:,} training images of 3x{size}x{size} in " in printed
    assert f" {sizes['test']:,} test images" in printed


@pytest.mark.parametrize("name", ["tiny_imagenet", "cinic", "ilsvrc"])
def test_nearest_names(name: str, in_process: InProcess) -> None:
    for words in (("data", "import", name, "."), ("data", "get", name), ("run", "baseline", "--data", name)):
        line = one_line(in_process(*words))
        assert next(known for known in OFFICIAL if known.replace("-", "_").startswith(name)) in line
