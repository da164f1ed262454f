"""Files that a stranger may have put there: pipes, devices and sockets are refused, not waited for."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import Tried, limit
from tests.data.folders import read_folder, read_image
from tests.data.test_folder import png
from tests.data.test_idx import make_idx
from tutelage import storage
from tutelage.artifacts.pretrained import read_metadata, weights_digest
from tutelage.data.archive import read_unpacked
from tutelage.data.cifar import import_archive
from tutelage.data.idx import read_idx
from tutelage.data.npz import read_npz
from tutelage.export import load_model
from tutelage.models.weights import read_weights
from tutelage.recipes import call
from tutelage.recipes.study_spec import read_study
from tutelage.study import Study, load_study, studies
from tutelage.study.files import StudyRecord, load_failures, write_study
from tutelage.teachers.logit_store import LogitStore
from tutelage.teachers.rows import write_rows

pytestmark = pytest.mark.timeout(limit(20))  # a reader that waits for a pipe would wait for ever

WEIGHTS = {"weight": torch.zeros(2, 2)}


def model(folder: Path) -> Path:
    storage.commit(folder, {"weights.safetensors": storage.tensor_bytes(WEIGHTS), "config.json": b"{}"})
    return folder


def study(runs: Path) -> str:
    whole = Study(lineages=(call("baseline", epochs=1),))
    write_study(StudyRecord(study=whole, precision="fp32", fingerprints=("f",), num_classes=(10,)), runs)
    (runs / "studies" / whole.name / "failures.json").write_bytes(b"[]")
    return whole.name


def store(root: Path) -> LogitStore:
    with LogitStore(root, {"teacher": "a"}, size=9, num_classes=2, warn=lambda _: None) as opened:
        opened.write(torch.tensor([1]), torch.zeros(1, 2))
    return opened


def unpacked(folder: Path) -> None:
    dict(read_unpacked(folder, ["set/train"], "set"))


IDX = "train-labels-idx1-ubyte"

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights of torch.save": ("w.pt", lambda folder: read_weights(folder / "w.pt")),
    "weights as safetensors": ("w.safetensors", lambda folder: read_weights(folder / "w.safetensors")),
    "the digest of weights": ("w.pt", lambda folder: weights_digest(folder / "w.pt")),
    "the metadata of weights": ("w.safetensors", lambda folder: read_metadata(str(folder / "w.safetensors"))),
    "a model's weights": ("model/weights.safetensors", lambda folder: read_weights(folder / "model")),
    "a model's manifest": ("model/manifest.json", lambda folder: storage.verify(folder / "model")),
    "a model's metadata": ("model/config.json", lambda folder: read_metadata(str(folder / "model"))),
    "a listed file": ("model/config.json", lambda folder: storage.read_listed(folder / "model", "config.json")),
    "an exported file": ("e.safetensors", lambda folder: load_model(str(folder / "e.safetensors"), folder)),
    "an exported folder": ("e/model.json", lambda folder: load_model(str(folder / "e"), folder)),
    "a study's TOML": ("s.toml", lambda folder: read_study(folder / "s.toml")),
    "an image": ("i.png", lambda folder: read_image(folder / "i.png", 3, 8)),
    "an image of a folder": ("set/a/1.png", lambda folder: read_folder(folder / "set")),
    "an .npz": ("a.npz", lambda folder: read_npz(folder / "a.npz")),
    "an IDX file": (f"mnist/{IDX}", lambda folder: read_idx(folder / "mnist")),
    "an archive": ("a.tar.gz", lambda folder: import_archive("cifar10", folder / "a.tar.gz", folder / "data")),
    "a file of an archive": ("train", unpacked),
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


KINDS = {"a pipe": fifo, "/dev/zero": zeros, "a socket": bound_socket, "a folder": Path.mkdir}


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("name", "kind"),
    # A folder that is no model has no metadata, like other weights of which nothing is known.
    [(name, kind) for name in READERS for kind in KINDS if (name, kind) != ("the metadata of weights", "a folder")],
)
def test_what_is_no_file_is_refused_by_every_reader(name: str, kind: str, tmp_path: Path, tried: Tried) -> None:
    place, read = READERS[name]
    model(tmp_path / "model")
    for folder in ("a", "b"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "2.png").write_bytes(png(8, 8))
    make_idx(tmp_path / "mnist")
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    with pytest.raises((ValueError, FileNotFoundError), match=path.stem):
        read(tmp_path)
    tried(1, "pipes, devices, sockets and folders refused at once")


@pytest.mark.fault(29)
@pytest.mark.parametrize("kind", [fifo, zeros])
@pytest.mark.parametrize("file", ["study.json", "failures.json", "manifest.json"])
def test_a_stored_study(file: str, kind: Callable[[Path], None], tmp_path: Path) -> None:
    name = study(tmp_path)
    path = tmp_path / "studies" / name / file
    path.unlink()
    kind(path)
    studies(tmp_path)
    with pytest.raises(ValueError, match=f"{file}|no run named"):
        load_failures(name, tmp_path) if file == "failures.json" else load_study(name, tmp_path)


@pytest.mark.fault(29)
@pytest.mark.parametrize("kind", [fifo, zeros])
@pytest.mark.parametrize("file", ["store.json", "rows", "*.block"])
def test_a_teacher_store(file: str, kind: Callable[[Path], None], tmp_path: Path) -> None:
    """Of a foreign description nothing is used; rows and blocks that are no files count as missing."""
    (path,) = store(tmp_path).folder.glob(file)
    path.unlink()
    kind(path)
    if file == "store.json":
        with pytest.raises(storage.Damaged, match=r"store\.json"):
            store(tmp_path)
    else:
        assert LogitStore(tmp_path, {"teacher": "a"}, size=9, num_classes=2, warn=lambda _: None).keys.tolist() == []


@pytest.mark.fault(29)
def test_a_pipe_with_a_writer_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(end, b"{}")
    with pytest.raises(ValueError, match="pipe is a pipe, not a file"):
        storage.read_regular(tmp_path / "pipe")
    os.close(end)


@pytest.mark.fault(29)
def test_large_files_are_not_read_whole(tmp_path: Path) -> None:
    """A terabyte that takes no space on disk, under the names of JSON files."""
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**40)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"large\.json has more than 16777216 bytes"):
        storage.read_regular(tmp_path / "large.json")
    folder = model(tmp_path / "model")
    os.link(tmp_path / "large.json", folder / "new")
    (folder / "new").replace(folder / "manifest.json")
    with pytest.raises(storage.Damaged, match=r"manifest\.json has more than 16777216 bytes"):
        storage.read_manifest(folder)
    assert time.process_time() - started < 2


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"[1]")
    (tmp_path / "b").symlink_to("a")
    assert storage.read_regular(tmp_path / "b") == b"[1]"
    with pytest.raises(FileNotFoundError):
        storage.read_regular(tmp_path / "c")


@pytest.mark.fault(30)
@pytest.mark.parametrize("place", ["lock", "rows"])
@pytest.mark.parametrize("kind", ["a link to a file", "a link to nothing", "a pipe", "a folder", "a socket"])
def test_what_is_changed_in_place_is_a_file(place: str, kind: str, tmp_path: Path) -> None:
    """A lock, or the rows of a store, in a folder from a stranger: nothing outside of it is written or created."""
    (tmp_path / "mine.txt").write_bytes(b"mine")
    own = store(tmp_path).folder / ("rows" if place == "rows" else ".lock")
    own.unlink()
    if kind == "a pipe":
        os.mkfifo(own)
    elif kind == "a folder":
        own.mkdir()
    elif kind == "a socket":
        with contextlib.chdir(own.parent), socket.socket(socket.AF_UNIX) as end:  # its path has a limit
            end.bind(own.name)
    else:
        own.symlink_to(tmp_path / ("mine.txt" if "file" in kind else "new.txt"))
    with (
        pytest.raises(ValueError, match=rf"{own.name} is a (link, not a file: delete it|pipe|folder|socket)"),
        storage.lock(own.parent),
    ):
        write_rows(own, 0, b"rows")
    assert (tmp_path / "mine.txt").read_bytes() == b"mine"
    assert not (tmp_path / "new.txt").exists()


@pytest.mark.fault(30)
def test_folders_that_were_never_a_model(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "photos" / "a.png")
    for read in (read_weights, weights_digest):
        with pytest.raises(ValueError, match="photos is not a finished model of tutelage"):
            read(tmp_path / "photos")
    with pytest.raises(storage.Damaged, match="tutelage did not write it"):
        storage.read_manifest(tmp_path / "photos")
    with pytest.raises(storage.Damaged, match=r"there is no folder .*nothing"):
        storage.read_manifest(tmp_path / "nothing")


def test_json_of_the_runs_folder_that_is_too_large(tmp_path: Path) -> None:
    name = study(tmp_path)
    path = tmp_path / "studies" / name / "failures.json"
    path.write_text(json.dumps([" " * storage.MAX_JSON]))
    with pytest.raises(storage.Damaged, match=r"failures\.json has more than"):
        load_failures(name, tmp_path)
