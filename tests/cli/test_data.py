"""``tutelage data`` and ``--data`` with CIFAR as torchvision left it: one line says what is read or how to import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.data.conftest import members, small_layouts, tar_gz
from tutelage.data import layouts

__all__ = ["members", "small_layouts"]  # fixtures

NAMES = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}


@pytest.fixture
def put(members: Callable[[str], dict[str, bytes]], tmp_path: Path) -> Callable[..., str]:
    """Put a set into a folder as torchvision does: the archive and the folder it unpacks to; returns the MD5."""

    def write(name: str, root: str, *, archive: bool = True, unpacked: bool = True) -> str:
        files = members(name)
        content = tar_gz(files)
        for member, pickle in files.items() if unpacked else ():
            path = tmp_path / root / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle)
        (tmp_path / root).mkdir(parents=True, exist_ok=True)
        if archive:
            (tmp_path / root / NAMES[name][1]).write_bytes(content)
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    return write


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("root", ["torch", ".", "torch/deeper"])
def test_import_from_torchvisions_root(
    root: str,
    name: str,
    put: Callable[..., str],
    in_process: InProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, archive = NAMES[name]
    md5 = put(name, root)
    source, place = root.split("/")[0], Path(root)
    code, printed, errors = in_process("data", "import", name, source)
    assert (code, errors) == (0, "")
    assert printed == (
        f"{name} is stored in {tmp_path / 'data' / name}, read from {place / folder} "
        f"({archive} beside it does not have the official checksum)\n"
    )
    monkeypatch.setitem(layouts.LAYOUTS, name, replace(layouts.LAYOUTS[name], md5=md5))
    code, printed, errors = in_process("data", "import", name, source)
    assert (code, errors) == (0, "")
    assert printed == (
        f"{name} is stored in {tmp_path / 'data' / name}, read from {place / archive} "
        f"(the official archive; {folder} beside it was not read)\n"
    )
    source = json.loads((tmp_path / "data" / name / "manifest.json").read_text())["note"]["source"]
    assert (source["file"], source["official"]) == (archive, True)


def one_line(answer: tuple[int, str, str]) -> str:
    code, printed, errors = answer
    assert (code, printed) == (2, "")
    (line,) = errors.splitlines()
    return line


@pytest.mark.parametrize("words", [("run", "baseline"), ("explain", "baseline"), ("run", "tolerant")])
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cifar100", "torch"),
        ("cifar10", "torch"),
        ("cifar100", "torch/cifar-100-python"),
        ("cifar10", "torch/cifar-10-python.tar.gz"),
        ("cifar10", "."),
    ],
)
def test_a_run_from_torchvisions_root_names_the_import(
    words: tuple[str, ...], name: str, source: str, put: Callable[..., str], in_process: InProcess, tmp_path: Path
) -> None:
    put(name, "torch")
    assert one_line(in_process(*words, "--data", source)) == (
        f"tutelage: {source!r} holds {name}, to be imported once: run `tutelage data import {name} {source}`, "
        f"then use `--data {name}`"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("name", "root"), [("cifar100", "data"), ("cifar10", "."), ("cifar10", "datasets/of mine")])
def test_a_set_that_was_not_imported(name: str, root: str, put: Callable[..., str], in_process: InProcess) -> None:
    in_process("data", "import", name, ".")
    line = one_line(in_process("run", "baseline", "--data", name))
    assert f"`tutelage data get {name}`, or `tutelage data import {name} FILE`" in line
    put(name, root, archive=False)
    line = one_line(in_process("run", "baseline", "--data", name))
    if root == "datasets/of mine":  # neither here nor in ./data, nor one level below them
        assert f"`tutelage data get {name}`, or `tutelage data import {name} FILE`" in line
    else:
        assert line.endswith(f"but {root!r} holds it: run `tutelage data import {name} {root}`")


def test_an_import_that_fits_nothing(put: Callable[..., str], in_process: InProcess, tmp_path: Path) -> None:
    put("cifar10", "torch root", archive=False)
    assert one_line(in_process("data", "import", "cifar100", "torch root")) == (
        "tutelage: 'torch root' holds no cifar100: expected cifar-100-python.tar.gz, the folder cifar-100-python "
        "that it unpacks to, or a folder that holds one of them; it holds cifar-10-batches-py, which is cifar10: "
        "`tutelage data import cifar10 'torch root'`"
    )
    assert not (tmp_path / "data").exists()
