"""Read the bytes of each export format. They may come from a stranger, so nothing in them is run without trust.

A safetensors file holds plain numbers for a network that tutelage builds, and an ONNX file is a graph of known
operators. A ``.pt2`` file is different: ``torch.export.load`` unpickles what the file tells it to, evaluates shape
expressions as Python and loads compiled libraries from the archive. A checksum beside the file proves nothing, since
it comes from the same person. Its program is therefore loaded on request only; its metadata is read without running
anything.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.artifacts.metadata import KEY, ModelMetadata, parse_text
from tutelage.export.formats import FILE_NAMES, import_optional
from tutelage.export.network import build_network
from tutelage.storage import Damaged
from tutelage.validation import parse_json

SUFFIXES = tuple(Path(name).suffix for name in FILE_NAMES.values())
MAX_METADATA_BYTES = 1 << 26
"""The largest metadata that is read from a ``.pt2``, which may be compressed."""
Program = Callable[[Tensor], Tensor]
"""A function from float32 images with values from 0 to 1, ``[N, C, H, W]``, to float32 logits, ``[N, K]``."""


def embedded_metadata(data: bytes, path: Path) -> ModelMetadata:
    """The metadata inside the bytes of an exported file, whose format is known by the suffix of ``path``.

    Errors: ``storage.Damaged`` for bytes that are not of that format, or hold no metadata.
    """
    if path.suffix == ".onnx":
        onnx = import_optional("onnx", "export", "reading ONNX")
    with _as_damaged(path):
        if path.suffix == ".onnx":
            properties = onnx.load_model_from_string(data).metadata_props
            text = next((entry.value for entry in properties if entry.key == KEY), None)
        elif path.suffix == ".pt2":
            text = _pt2_metadata(data)
        else:
            text = _safetensors_header(data).get(KEY)
    if text is None:
        raise Damaged(f"{path} holds no metadata: expected a file that `tutelage export` wrote")
    return parse_text(text, f"the metadata in {path}")


def load_program(data: bytes, path: Path, metadata: ModelMetadata, *, trust: bool) -> Program:
    """The program inside the bytes of an exported file, whose format is known by the suffix of ``path``.

    Errors: ``ValueError`` without ``trust`` for a ``.pt2`` or a network that would import user code;
    ``storage.Damaged`` for bytes that are not of the format.
    """
    if path.suffix == ".onnx":
        return _onnx_program(data, path)
    if path.suffix == ".pt2":
        if not trust:
            raise ValueError(
                f"{path} is a torch.export program, and loading one can run any code in it: add --trust if you "
                "trust its author, or use weights.safetensors or model.onnx, which run no code"
            )
        with _as_damaged(path):
            module: Program = torch.export.load(io.BytesIO(data)).module()
        return module
    from safetensors.torch import load

    with _as_damaged(path):
        weights = load(data)
    return build_network(metadata, weights, str(path), trust=trust)


def one_line(error: BaseException) -> str:
    """The type and the message of an exception, as one short line.

    >>> one_line(KeyError("x"))
    "KeyError 'x'"
    """
    return f"{type(error).__name__} {' '.join(str(error).split())[:200]}"


@contextmanager
def _as_damaged(path: Path) -> Iterator[None]:
    """Turn any exception of the library that reads a file into ``storage.Damaged``."""
    try:
        yield
    except Damaged:
        raise
    except Exception as error:  # torch, safetensors and onnx share no base class for their errors
        raise Damaged(f"{path} cannot be read: {one_line(error)}") from None


def _safetensors_header(data: bytes) -> dict[str, str]:
    from safetensors import deserialize

    deserialize(data)  # type: ignore[no-untyped-call]  # runs the library's checks of the header
    (length,) = struct.unpack("<Q", data[:8])
    metadata: dict[str, str] = parse_json(data[8 : 8 + length], "its header").get("__metadata__", {})
    return metadata


def _pt2_metadata(data: bytes) -> str | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(f"/extra/{KEY}.json") and entry.file_size <= MAX_METADATA_BYTES:
                return archive.read(entry).decode()
    return None


def _onnx_program(data: bytes, path: Path) -> Program:
    onnx = import_optional("onnx", "export", "reading ONNX")
    runtime = import_optional("onnxruntime", "export", "running ONNX")
    with _as_damaged(path):
        model = onnx.load_model_from_string(data)
        tensors = _nested_messages(model, onnx.TensorProto)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise Damaged(f"{path} keeps weights in other files, which are not read")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # fatal errors only
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def program(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return program


def _nested_messages(message: Any, kind: type) -> Iterator[Any]:
    """Every protobuf message of one type inside another, at any depth: attributes and subgraphs hold tensors too."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            # A message field that is not repeated has presence, a repeated one has none.
            for inner in (value,) if field.has_presence else value:
                yield from _nested_messages(inner, kind)
