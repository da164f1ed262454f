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

from tutelage.artifacts.metadata import KEY, ModelMetadata
from tutelage.artifacts.seal import Parts, open_sealed, tensor_parts
from tutelage.errors import printable
from tutelage.export.formats import FILE_NAMES, import_optional
from tutelage.export.network import build_network
from tutelage.export.sealed_parts import PT2_METADATA, archive_parts, graph_parts
from tutelage.storage import Damaged
from tutelage.validation import parse_json

SUFFIXES = tuple(Path(name).suffix for name in FILE_NAMES.values())
MAX_METADATA_BYTES = 1 << 26
"""The largest metadata that is read from a ``.pt2``, which may be compressed."""
Program = Callable[[Tensor], Tensor]
"""A function from float32 images with values from 0 to 1, ``[N, C, H, W]``, to float32 logits, ``[N, K]``."""


def embedded_metadata(data: bytes, path: Path) -> ModelMetadata:
    """The metadata inside the bytes of an exported file, whose format is known by the suffix of ``path``.

    Errors: ``storage.Damaged`` for bytes that are not of that format, hold no metadata, or were altered.
    """
    if path.suffix == ".onnx":
        onnx = import_optional("onnx", "export", "reading ONNX")
    with _as_damaged(path):
        text: str | bytes | None
        parts: Parts
        if path.suffix == ".onnx":
            model = onnx.load_model_from_string(data)
            text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
            parts = graph_parts(model)
        elif path.suffix == ".pt2":
            text, parts = _pt2_metadata(data), archive_parts(data)
        else:
            text, parts = _safetensors_header(data).get(KEY), tensor_parts(data)
        if text is None:
            raise Damaged(f"{path} holds no metadata: expected a file that `tutelage export` wrote")
        return open_sealed(text, parts, str(path))


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


def _pt2_metadata(data: bytes) -> bytes | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(f"/{PT2_METADATA}") and entry.file_size <= MAX_METADATA_BYTES:
                return archive.read(entry)
    return None


def _onnx_program(data: bytes, path: Path) -> Program:
    onnx = import_optional("onnx", "export", "reading ONNX")
    runtime = import_optional("onnxruntime", "export", "running ONNX")
    with _as_damaged(path):
        model = onnx.load_model_from_string(data)
        tensors = _nested_messages(model, onnx.TensorProto)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise Damaged(f"{path} keeps weights in other files, which are not read")
        _check_finite_work(model, onnx, path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # fatal errors only
        # What is run is what was checked, in case that two libraries read the same bytes differently.
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def program(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return program


def _check_finite_work(model: Any, onnx: Any, path: Path) -> None:
    """Check that every operator is run once at most, so that no loop can keep a reader waiting for ever.

    The exporter writes no loop, and no function of the model's own, which could call each other a million million
    times; it writes ``If`` for a network that calls ``torch.cond``.

    Errors: ``storage.Damaged`` naming the operators.
    """
    repeating = {
        node.op_type
        for node in _nested_messages(model, onnx.NodeProto)
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        and (node.domain, node.op_type) not in (("", "If"), ("ai.onnx", "If"))
    }
    names = sorted(repeating | {function.name for function in model.functions})
    if names:
        text = ", ".join(printable(name)[:40] for name in names[:5])
        raise Damaged(f"{path} is refused: it may run without end, by {text}, which `tutelage export` does not write")


def _nested_messages(message: Any, kind: type) -> Iterator[Any]:
    """Every protobuf message of one type inside another, at any depth: attributes and subgraphs hold tensors too."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            # A message field that is not repeated has presence, a repeated one has none.
            for inner in (value,) if field.has_presence else value:
                yield from _nested_messages(inner, kind)
