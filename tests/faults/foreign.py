"""Files from a stranger: pickles that would run, put wherever a command reads something."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage import storage
from tutelage.cli import command

OPTIONS = ("--train-size", "20", "--test-size", "20")
RUN = (
    *("run", "distill", "--teacher", "resnet8", "--epochs", "1", *OPTIONS, "--precision", "fp32"),
    *("--threads", "1", "--track", "none", "--teacher-store", "on"),
)


class Call:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def values(marker: Path) -> dict[str, Any]:
    """Values that leave a mark when they are unpickled."""
    touch, write = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    inner = io.BytesIO()
    torch.save(Call(os.system, touch), inner)
    return {
        "os.system": Call(os.system, touch),
        "subprocess": Call(subprocess.run, ["touch", str(marker)]),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "nested in torch": Call(torch.storage._load_from_bytes, inner.getvalue()),
        "beside good data": {"data": np.zeros(3, np.uint8), "labels": Call(os.mkdir, str(marker))},
    }


def payloads(marker: Path) -> dict[str, bytes]:
    """The same as the bytes of files: pickles, and what torch and NumPy wrap around them."""
    made = {name: pickle.dumps(value, protocol=2) for name, value in values(marker).items()}
    value = values(marker)["os.system"]
    new, old, array, arrays = (io.BytesIO() for _ in range(4))
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": value}, new)
    torch.save(value, old, _use_new_zipfile_serialization=False)
    np.save(array, np.array([value], object))
    np.savez(arrays, train_images=np.array([value], object), train_labels=[0], test_images=[0], test_labels=[0])
    text = f"(S'touch {marker}'\nios\nsystem\n."
    return made | {
        "torch.save": new.getvalue(),
        "torch.save, old": old.getvalue(),
        ".npy": array.getvalue(),
        ".npz": arrays.getvalue(),
        "text": text.encode(),
    }


def gone(marker: Path) -> bool:
    """Whether a mark was there; it is not any more."""
    found = marker.exists()
    if marker.is_dir():
        marker.rmdir()
    marker.unlink(missing_ok=True)
    return found


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class World:
    """A working folder of a user, with a copy of a finished run in it, and an exported model."""

    folder: Path
    study: str
    models: tuple[str, ...]
    capture: Any

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def marker(self) -> Path:
        return self.folder / "marker"

    def model(self, place: int = 0) -> Path:
        return self.runs / "models" / self.models[place]

    def tutelage(self, *words: str) -> Said:
        """Carry out a command in this process; an exception that it lets through is the test's."""
        self.capture.readouterr()
        code = command([word.format(study=self.study, teacher=f"runs/models/{self.models[0]}") for word in words])
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)


def make(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The finished run that worlds are copies of; returns the names of its study and its models."""
    for words in (
        RUN,
        ("diagnose", "{study}", "--only", "targets"),
        ("transfer", "{study}", "--data", "digits", *OPTIONS, "--probe", "knn", "--no-floor"),
        ("export", "{study}", "--to", "exported", "--format", "safetensors"),
    ):
        study = next((path.name for path in (folder / "runs" / "studies").glob("*")), "")
        assert command([word.format(study=study) for word in words]) == 0
    found = {
        json.loads((path / "config.json").read_bytes())["place"]: path.name
        for path in (folder / "runs" / "models").iterdir()
    }
    return study, (found[0], found[1])


def put(path: Path, content: bytes) -> None:
    """Put a file in the place of another, in a folder that does not list its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(content)


def forge(path: Path, content: bytes) -> None:
    """Put a file in the place of another, and write the manifest that fits it, as whoever sends a folder could."""
    put(path, content)
    manifest = storage.read_manifest(path.parent)
    names = {*manifest["files"], path.name}
    storage.commit(path.parent, {name: (path.parent / name).read_bytes() for name in names}, manifest["note"])


def program(contract: dict[str, Any], payload: bytes) -> bytes:
    """A ``.pt2`` whose contract is good and whose content is not."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model/archive_format", "pt2")
        file.writestr("model/extra/tutelage.json", json.dumps(contract))
        file.writestr("model/data/sample_inputs/model.pt", payload)
    return buffer.getvalue()


def entry(content: bytes) -> dict[str, Any]:
    """What a ``model.json`` says of a file."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
