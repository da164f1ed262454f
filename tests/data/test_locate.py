"""CIFAR as it lies on disks: torchvision's root, a renamed archive, a folder above, links, half of a download."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import CIFAR
from tutelage.data import layouts
from tutelage.data.archive import top_folder
from tutelage.data.cifar import import_archive, load_cifar
from tutelage.data.dataset import DataConfig
from tutelage.data.load import dataset_info, load
from tutelage.data.locate import Origin, import_advice, locate, nearby

MakeMembers = Callable[[str], dict[str, bytes]]
MakeTar = Callable[..., bytes]
SETS = ("cifar10", "cifar100")
FOLDER = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVE = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


class Disk:
    """Puts the small sets where people have them."""

    def __init__(self, root: Path, members: MakeMembers, make_tar: MakeTar) -> None:
        self.root, self.members, self.make_tar = root, members, make_tar

    def content(self, name: str) -> bytes:
        return self.make_tar(self.members(name))

    def archive(self, name: str, *place: str) -> Path:
        path = self.root.joinpath(*place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content(name))
        return path

    def unpacked(self, name: str, *place: str, without: tuple[str, ...] = ()) -> Path:
        folder = self.root.joinpath(*place)
        folder.mkdir(parents=True, exist_ok=True)
        for member, content in self.members(name).items():
            file = Path(member).name
            if file not in without:
                (folder / file).write_bytes(content)
        return folder


@pytest.fixture
def disk(tmp_path: Path, members: MakeMembers, make_tar: MakeTar) -> Disk:
    return Disk(tmp_path, members, make_tar)


@pytest.fixture
def official(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small archives are the official ones."""
    for name in SETS:
        md5 = hashlib.md5(disk.content(name), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(layouts.LAYOUTS, name, replace(layouts.LAYOUTS[name], md5=md5))


def a_link(disk: Disk, name: str) -> tuple[str, str]:
    (disk.root / "link").symlink_to(disk.unpacked(name, "elsewhere", FOLDER[name]))
    return "link", "link"


def a_link_to_a_root(disk: Disk, name: str) -> tuple[str, str]:
    (disk.root / "link").symlink_to(disk.archive(name, "elsewhere", ARCHIVE[name]).parent)
    return "link", f"link/{ARCHIVE[name]}"


def a_link_in_a_root(disk: Disk, name: str) -> tuple[str, str]:
    folder = disk.unpacked(name, "elsewhere", "mine")
    (disk.root / "data").mkdir()
    (disk.root / "data" / FOLDER[name]).symlink_to(folder)
    return "data", f"data/{FOLDER[name]}"


def one_folder_by_two_names(disk: Disk, name: str) -> tuple[str, str]:
    (disk.root / "data" / "zlink").parent.mkdir()
    (disk.root / "data" / "zlink").symlink_to(disk.unpacked(name, "data", "cifar", FOLDER[name]).parent)
    return "data", f"data/cifar/{FOLDER[name]}"


def both_sets(disk: Disk, name: str) -> tuple[str, str]:
    for each in SETS:
        disk.unpacked(each, "data", FOLDER[each])
    return "data", f"data/{FOLDER[name]}"


def other_sets_beside(disk: Disk, name: str) -> tuple[str, str]:
    (disk.root / "data" / "MNIST" / "raw").mkdir(parents=True)
    (disk.root / "data" / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b""))
    disk.unpacked(name, "data", FOLDER[name])
    return "data", f"data/{FOLDER[name]}"


def placed(source: str, archive: str = "", unpacked: str = "") -> Callable[[Disk, str], tuple[str, str]]:
    """A set at one place, and what is named to import it."""

    def put(disk: Disk, name: str) -> tuple[str, str]:
        place = (archive or unpacked).format(archive=ARCHIVE[name], folder=FOLDER[name], upper=ARCHIVE[name].upper())
        (disk.archive if archive else disk.unpacked)(name, *place.split("/"))
        return source.format(archive=ARCHIVE[name], folder=FOLDER[name], upper=ARCHIVE[name].upper()), place

    return put


STATES = {
    "the archive": placed("{archive}", archive="{archive}"),
    "a renamed archive": placed("backup.bin", archive="backup.bin"),
    "an archive in capitals": placed("{upper}", archive="{upper}"),
    "the unpacked folder": placed("{folder}", unpacked="{folder}"),
    "a renamed unpacked folder": placed("mine", unpacked="mine"),
    "torchvision's root, unpacked": placed("data", unpacked="data/{folder}"),
    "torchvision's root, the archive": placed("data", archive="data/{archive}"),
    "a root with capitals": placed("data", archive="data/{upper}"),
    "a folder above": placed("data", unpacked="data/cifar/{folder}"),
    "a folder above an archive": placed("data", archive="data/cifar/{archive}"),
    "a folder above a renamed folder": placed("data", unpacked="data/mine"),
    "unpacked into a folder of its name": placed("data", unpacked="data/{folder}/{folder}"),
    "a link": a_link,
    "a link to a root": a_link_to_a_root,
    "a link in a root": a_link_in_a_root,
    "one folder by two names": one_folder_by_two_names,
    "both sets": both_sets,
    "other sets beside": other_sets_beside,
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("state", STATES)
def test_where_people_have_it(state: str, name: str, disk: Disk) -> None:
    source, place = STATES[state](disk, name)
    assert locate(name, disk.root / source) == Origin(disk.root / place)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("state", ["a renamed archive", "both sets", "a link in a root", "a root with capitals"])
def test_every_place_gives_the_same_set(state: str, name: str, disk: Disk) -> None:
    source, _ = STATES[state](disk, name)
    import_archive(name, disk.root / source, disk.root / "store")
    import_archive(name, disk.archive(name, "official"), disk.root / "other")
    stored = load_cifar(name, disk.root / "store")
    assert stored.fingerprint == load_cifar(name, disk.root / "other").fingerprint


@pytest.mark.parametrize("name", SETS)
def test_the_official_archive_comes_before_the_folder(name: str, disk: Disk, official: None) -> None:
    archive = disk.archive(name, "data", ARCHIVE[name])
    disk.unpacked(name, "data", FOLDER[name])
    remark = f"the official archive; {FOLDER[name]} beside it was not read"
    assert locate(name, disk.root / "data") == Origin(archive, remark)
    copy = archive.with_name(archive.name.upper())
    shutil.copyfile(archive, copy)
    archive.write_bytes(b"half of it")
    remark = f"the official archive; {archive.name}, {FOLDER[name]} beside it was not read"
    assert locate(name, disk.root / "data") == Origin(copy, remark)


@pytest.mark.parametrize("content", ["repacked", "unfinished", "empty"])
@pytest.mark.parametrize("name", SETS)
def test_the_folder_comes_before_any_other_archive(name: str, content: str, disk: Disk) -> None:
    archive = disk.archive(name, "data", ARCHIVE[name])
    size = {"repacked": None, "unfinished": 20_000, "empty": 0}[content]
    archive.write_bytes(archive.read_bytes()[:size])
    folder = disk.unpacked(name, "data", FOLDER[name])
    remark = f"{archive.name} beside it does not have the official checksum"
    assert locate(name, disk.root / "data") == Origin(folder, remark)
    import_archive(name, disk.root / "data", disk.root / "store")


def test_an_archive_comes_before_half_a_folder(disk: Disk) -> None:
    disk.unpacked("cifar100", "data", FOLDER["cifar100"], without=("test",))
    with pytest.raises(
        ValueError, match=r"is refused: it lacks the file test; `tutelage data get cifar100` downloads"
    ):
        import_archive("cifar100", disk.root / "data", disk.root / "store")
    archive = disk.archive("cifar100", "data", ARCHIVE["cifar100"])
    remark = f"{FOLDER['cifar100']} beside it lacks test"
    assert locate("cifar100", disk.root / "data") == Origin(archive, remark)
    import_archive("cifar100", disk.root / "data", disk.root / "store")
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=rf"{archive.name} is refused: it is truncated; {remark}"):
        import_archive("cifar100", disk.root / "data", disk.root / "store")
    assert len(load_cifar("cifar100", disk.root / "store").train) == 200  # the earlier import is unharmed


def test_two_archives_of_which_none_is_official(disk: Disk) -> None:
    one, two = (disk.archive("cifar10", "data", f"cifar-10-python.{ending}") for ending in ("tar.gz", "tgz"))
    remark = f"neither it nor {two.name} beside it has the official checksum"
    assert locate("cifar10", disk.root / "data") == Origin(one, remark)


def put(root: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


EXPECTED = (
    "expected cifar-100-python.tar.gz, the folder cifar-100-python that it unpacks to, or a folder that holds one"
)


@pytest.mark.parametrize(
    ("files", "nearest"),
    [
        (("data/notes.txt",), "`tutelage data get cifar100` downloads it"),
        (
            ("data/cifar-100-python.tar.gz.crdownload",),
            r"its cifar-100-python\.tar\.gz\.crdownload is empty or unfinished",
        ),
        (("data/Cifar-100-python/file.txt~",), "its Cifar-100-python is empty or unfinished"),
        (("data/train", "data/meta"), "it has meta, train, but lacks test"),
        (
            ("data/mine.TGZ",),
            r"if mine\.TGZ is its archive, name the file: `tutelage data import cifar100 .*/data/mine\.TGZ`",
        ),
        (("data/a/b/cifar-100-python.tar.gz",), "`tutelage data get cifar100` downloads it"),
        (("data/.trash/cifar-100-python.tar.gz",), "`tutelage data get cifar100` downloads it"),
        (
            ("data/cifar-10-python.tar.gz",),
            r"it holds cifar-10-python\.tar\.gz, which is cifar10: `tutelage data import cifar10 .*/data`",
        ),
    ],
)
def test_where_nothing_fits(files: tuple[str, ...], nearest: str, disk: Disk) -> None:
    put(disk.root, *files)
    with pytest.raises(ValueError, match=rf"/data' holds no cifar100: {EXPECTED} of them; {nearest}") as error:
        import_archive("cifar100", disk.root / "data", disk.root / "store")
    assert "\n" not in str(error.value)
    assert not (disk.root / "store").exists()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("place", ["data/{}", "data", "data/deeper/{}", "data/deeper"])
def test_the_other_set_is_named(place: str, name: str, disk: Disk) -> None:
    other = SETS[1 - SETS.index(name)]
    folder = disk.unpacked(other, *place.format(FOLDER[other]).split("/"))
    message = f"holds no {name}: .*it holds {folder.name}, which is {other}: `tutelage data import {other} .*/data`"
    with pytest.raises(ValueError, match=message):
        locate(name, disk.root / "data")
    archive = disk.archive(other, "backup")
    message = (
        rf"backup is refused: it lacks .*; it holds {FOLDER[other]}, which is {other}: `.* import {other} .*/backup`"
    )
    with pytest.raises(ValueError, match=message):
        import_archive(name, archive, disk.root / "store")


def test_the_set_at_several_places(disk: Disk) -> None:
    disk.archive("cifar10", "data", "new one", ARCHIVE["cifar10"])
    disk.unpacked("cifar10", "data", "old")
    disk.unpacked("cifar100", "data", "other")
    with pytest.raises(
        ValueError, match=r"/data' holds cifar10 2 times: choose one of '.*/data/new one', .*/data/old$"
    ):
        locate("cifar10", disk.root / "data")
    assert locate("cifar100", disk.root / "data").path.name == "other"


@pytest.mark.fault(25)
def test_links_pipes_and_hostile_archives_in_a_root_are_refused(
    disk: Disk, make_entry: Callable[..., object]
) -> None:
    data, store = disk.root / "data", disk.root / "store"
    folder = disk.unpacked("cifar100", "data", FOLDER["cifar100"])
    (folder / "test").rename(disk.root / "secret")
    (folder / "test").symlink_to(disk.root / "secret")
    with pytest.raises(ValueError, match="cifar-100-python is refused: it lacks the file test"):
        import_archive("cifar100", data, store)
    shutil.rmtree(folder)
    os.mkfifo(data / ARCHIVE["cifar100"])
    with pytest.raises(ValueError, match="holds no cifar100"):
        import_archive("cifar100", data, store)
    (data / ARCHIVE["cifar100"]).unlink()
    for path in ("../evil", "/evil"):
        content = disk.make_tar(disk.members("cifar100"), make_entry(path, b"evil"))
        (data / ARCHIVE["cifar100"]).write_bytes(content)
        with pytest.raises(ValueError, match="evil', which points outside the archive"):
            import_archive("cifar100", data, store)
    assert sorted(path.name for path in store.rglob("*") if path.is_file()) == [".lock"]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("state", STATES)
def test_a_run_names_the_import(state: str, name: str, disk: Disk) -> None:
    source, _ = STATES[state](disk, name)
    names = SETS if state == "both sets" else (name,)
    commands = " or ".join(f"`tutelage data import {each} {disk.root / source}`" for each in names)
    options = " or ".join(f"`--data {each}`" for each in names)
    message = (
        f"'{disk.root / source}' holds {' and '.join(names)}, to be imported once: run {commands}, then use {options}"
    )
    for call in (load, dataset_info):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
            call(DataConfig(name=str(disk.root / source)), disk.root / "store")
        assert str(error.value) == message


@pytest.mark.parametrize("place", ["{}/{:02d}.png", "train/{0}/{1:02d}.PNG", "{}/{:02d}.jpeg"])
def test_images_beside_an_archive_are_still_a_folder_of_images(place: str, disk: Disk) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    for number, image in enumerate(pixels):
        for path in {place, place.replace("train", "test")}:
            file = disk.root / "data" / path.format("ab"[number % 2], number)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    put(disk.root, "data/cifar-100-python.tar.gz")
    assert import_advice(disk.root / "data") == ""
    assert load(DataConfig(name=str(disk.root / "data")), disk.root).info.class_names == ("a", "b")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", *(gzip.compress(content, mtime=0) for content in (b"", b"\0" * 2000, b"x" * 600))],
    ids=["empty", "text", "nothing", "zeros", "letters"],
)
def test_other_files_are_not_called_cifar(content: bytes, disk: Disk) -> None:
    put(disk.root, "file", content=content)
    assert import_advice(disk.root / "file") == ""
    with pytest.raises(ValueError, match=r"unknown dataset '.*file'"):
        load(DataConfig(name=str(disk.root / "file")), disk.root)
    put(disk.root, "file", content=disk.make_tar({"cats/1.png": b"", "cifar-100-python/train": b""}))
    assert import_advice(disk.root / "file") == ""
    os.mkfifo(disk.root / "pipe")
    for path in (disk.root / "pipe", disk.root / "none", Path("x" * 300)):
        assert import_advice(path) == ""


@pytest.mark.parametrize("first", ["./", "./cifar-100-python/", "cifar-100-python"])
def test_the_top_folder_of_an_archive(
    first: str, make_tar: MakeTar, make_entry: Callable[..., object], disk: Disk
) -> None:
    import tarfile

    entries = [make_entry(first, kind=tarfile.DIRTYPE), make_entry("./cifar-100-python/train", b"x" * 10_000)]
    put(disk.root, "file", content=make_tar({}, *entries))
    with (disk.root / "file").open("rb") as file:
        assert top_folder(file) == "cifar-100-python"


def test_the_top_folder_of_a_damaged_archive(disk: Disk) -> None:
    content = disk.content("cifar100")
    spoiled = [content[:size] for size in range(0, 200, 9)]
    spoiled += [content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :] for place in range(200)]
    folders = {top_folder(io.BytesIO(each)) for each in spoiled}
    assert {"", "cifar-100-python"} <= folders  # of a damaged file, whatever name its header holds


@pytest.mark.parametrize("place", ["data", ".", "data/cifar", "datasets"])
@pytest.mark.parametrize("kind", ["unpacked", "archive"])
def test_a_set_nearby_is_named(place: str, kind: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk.root)
    for name in SETS:
        assert nearby(name) == ""
        with pytest.raises(ValueError, match=f"`tutelage data get {name}`, or `tutelage data import {name} FILE`"):
            load(DataConfig(name=name), disk.root / "store")
        if kind == "unpacked":
            disk.unpacked(name, *place.split("/"), FOLDER[name])
        else:
            disk.archive(name, *place.split("/"), ARCHIVE[name])
        message = f"{name} is not in .*/store, but '{place}' holds it: run `tutelage data import {name} {place}`"
        with pytest.raises(ValueError, match=message):
            load(DataConfig(name=name), disk.root / "store")
        assert locate(name, Path(place)).path.name == (FOLDER if kind == "unpacked" else ARCHIVE)[name]


@pytest.mark.cifar
def test_the_real_archive_is_recognized(tmp_path: Path) -> None:
    if not CIFAR.is_file():
        pytest.skip(f"needs {CIFAR.name} in the folder shared/data beside the checkout")
    (tmp_path / "renamed").symlink_to(CIFAR)
    assert "`--data cifar100`" in import_advice(tmp_path / "renamed")
    archive = tmp_path / "data" / "CIFAR-100-python.tar.gz"
    archive.parent.mkdir()
    archive.symlink_to(CIFAR)
    assert locate("cifar100", tmp_path) == Origin(archive)
