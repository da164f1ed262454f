"""Exported files as a stranger could write them: with other content, and a seal that fits it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
from safetensors.torch import load, save

from tutelage.artifacts import seal
from tutelage.export.sealed_parts import PT2_METADATA, graph_parts


def metadata_of(folder: Path) -> dict[str, Any]:
    """The metadata of an exported folder, as they stand in each of its files but for the seal."""
    content: dict[str, Any] = json.loads((folder / "model.json").read_bytes())
    return {key: value for key, value in content.items() if key not in ("files", "checked")}


def sealed(content: dict[str, Any], parts: seal.Parts) -> str:
    """Any metadata, also such as are not valid, with the seal of a file."""
    return json.dumps(content | {seal.SEAL: seal._digest(content, parts)})


def forge_weights(path: Path, content: dict[str, Any]) -> Path:
    """Put other metadata into a safetensors file."""
    tensors = load(path.read_bytes())
    path.write_bytes(save(tensors, {"tutelage": sealed(content, seal.tensor_parts(save(tensors)))}))
    return path


def forge_onnx(path: Path, model: onnx.ModelProto, content: dict[str, Any]) -> Path:
    """Write an ONNX file with other metadata."""
    entry = next(entry for entry in model.metadata_props if entry.key == "tutelage")
    entry.value = sealed(content, graph_parts(model))
    path.write_bytes(model.SerializeToString())
    return path


def forge_pt2(path: Path, contents: dict[str, bytes], content: dict[str, Any]) -> Path:
    """Replace entries of a ``.pt2``, which are named by the ends of their names, and its metadata."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    for name in entries:
        entries[name] = next((data for end, data in contents.items() if name.endswith(end)), entries[name])
    text = sealed(content, sorted((name, data) for name, data in entries.items() if not name.endswith(PT2_METADATA)))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, text if name.endswith(PT2_METADATA) else data)
    return path
