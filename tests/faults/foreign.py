"""Files from a stranger: pickles that execute code, placed wherever a command reads a file."""

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
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def values(marker: Path) -> dict[str, Any]:
    """Values that create the marker file when they are unpickled."""
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
    """The same as file contents: pickles, alone and in the formats of torch and NumPy."""
    pickles = {name: pickle.dumps(value, protocol=2) for name, value in values(marker).items()}
    value = values(marker)["os.system"]
    new, old, array, arrays = (io.BytesIO() for _ in range(4))
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": value}, new)
    torch.save(value, old, _use_new_zipfile_serialization=False)
    np.save(array, np.array([value], object))
    np.savez(arrays, train_images=np.array([value], object), train_labels=[0], test_images=[0], test_labels=[0])
    text = f"(S'touch {marker}'\nios\nsystem\n."
    return pickles | {
        "torch.save": new.getvalue(),
        "torch.save, old": old.getvalue(),
        ".npy": array.getvalue(),
        ".npz": arrays.getvalue(),
        "text": text.encode(),
    }


def remove_marker(marker: Path) -> bool:
    """Whether the marker existed; it is removed."""
    existed = marker.exists()
    if marker.is_dir():
        marker.rmdir()
    marker.unlink(missing_ok=True)
    return existed


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class World:
    """A user's working folder that contains a copy of a finished run and an exported model."""

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

    def tutelage(self, *words: str) -> Outcome:
        """Execute a command in this process; exceptions propagate to the test."""
        self.capture.readouterr()
        code = command([word.format(study=self.study, teacher=f"runs/models/{self.models[0]}") for word in words])
        captured = self.capture.readouterr()
        return Outcome(code, captured.out, captured.err)


def make(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Create the finished run that worlds copy; returns the names of its study and its models."""
    for words in (
        RUN,
        ("diagnose", "{study}", "--only", "targets"),
        ("transfer", "{study}", "--data", "digits", *OPTIONS, "--probe", "knn", "--no-floor"),
        ("export", "{study}", "--to", "exported", "--format", "safetensors"),
    ):
        study = next((path.name for path in (folder / "runs" / "studies").glob("*")), "")
        assert command([word.format(study=study) for word in words]) == 0
    models = {
        json.loads((path / "config.json").read_bytes())["place"]: path.name
        for path in (folder / "runs" / "models").iterdir()
    }
    return study, (models[0], models[1])


def put(path: Path, content: bytes) -> None:
    """Replace a file or folder by a file, without a change to any manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(content)


def forge(path: Path, content: bytes) -> None:
    """Replace a file and write a manifest that matches it, as the sender of a folder could."""
    put(path, content)
    manifest = storage.read_manifest(path.parent)
    names = {*manifest["files"], path.name}
    storage.commit(path.parent, {name: (path.parent / name).read_bytes() for name in names}, manifest["note"])


def program(contract: dict[str, Any], payload: bytes) -> bytes:
    """A ``.pt2`` file with valid metadata and a malicious payload."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model/archive_format", "pt2")
        file.writestr("model/extra/tutelage.json", json.dumps(contract))
        file.writestr("model/data/sample_inputs/model.pt", payload)
    return buffer.getvalue()


def entry(content: bytes) -> dict[str, Any]:
    """The entry for a file in ``model.json``."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
