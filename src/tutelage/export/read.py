"""The bytes of each format, read with care: they may come from a stranger.

The weights of a safetensors file are plain numbers for a network of ours, an ONNX file is a graph of known
operators. A ``.pt2`` is another matter: ``torch.export.load`` unpickles what the file tells it to, evaluates its
shape expressions as Python and loads compiled libraries from it. A checksum beside it comes from the same hand and
proves nothing, so its program is loaded on request only; its contract is read without.
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

from tutelage.artifacts.metadata import KEY, Contract, parse_text
from tutelage.export.formats import FILES, optional
from tutelage.export.network import rebuilt
from tutelage.storage import Damaged
from tutelage.validation import parse_json

SUFFIXES = tuple(Path(name).suffix for name in FILES.values())
MAX_CONTRACT = 1 << 26
Program = Callable[[Tensor], Tensor]


def embedded(data: bytes, path: Path) -> Contract:
    """The contract inside the bytes of an exported file; its suffix says which format they are.

    Errors: ``storage.Damaged`` for bytes that are not of that format, or hold no contract.
    """
    if path.suffix == ".onnx":
        onnx = optional("onnx", "export", "reading ONNX")
    with _fit_to_read(path):
        if path.suffix == ".onnx":
            properties = onnx.load_model_from_string(data).metadata_props
            text = next((entry.value for entry in properties if entry.key == KEY), None)
        elif path.suffix == ".pt2":
            text = _extra_file(data)
        else:
            text = _header(data).get(KEY)
    if text is None:
        raise Damaged(f"{path} holds no contract: expected a file that `tutelage export` wrote")
    return parse_text(text, f"the contract in {path}")


def load_program(data: bytes, path: Path, contract: Contract, *, trust: bool) -> Program:
    """The function inside the bytes of an exported file: float32 images from 0 to 1 to float32 logits.

    Errors: ``ValueError`` for a ``.pt2``, or a network of somebody's own, without ``trust``; ``storage.Damaged`` for
    bytes that are not of the format.
    """
    if path.suffix == ".onnx":
        return _onnx_program(data, path)
    if path.suffix == ".pt2":
        if not trust:
            raise ValueError(
                f"{path} is a torch.export program, and loading one can run any code in it: add --trust if you "
                "trust whoever made it, or use weights.safetensors or model.onnx, which run none"
            )
        with _fit_to_read(path):
            module: Program = torch.export.load(io.BytesIO(data)).module()
        return module
    from safetensors.torch import load

    with _fit_to_read(path):
        weights = load(data)
    return rebuilt(contract, weights, str(path), trust=trust)


@contextmanager
def _fit_to_read(path: Path) -> Iterator[None]:
    try:
        yield
    except Damaged:
        raise
    except Exception as error:  # three libraries, each with kinds of its own
        raise Damaged(f"{path} cannot be read: {line(error)}") from None


def line(error: BaseException) -> str:
    """An error of somebody else's as one short line.

    >>> line(KeyError("x"))
    "KeyError 'x'"
    """
    return f"{type(error).__name__} {' '.join(str(error).split())[:200]}"


def _header(data: bytes) -> dict[str, str]:
    from safetensors import deserialize

    deserialize(data)  # type: ignore[no-untyped-call]  # the library's own checks of the header
    (length,) = struct.unpack("<Q", data[:8])
    found: dict[str, str] = parse_json(data[8 : 8 + length], "its header").get("__metadata__", {})
    return found


def _extra_file(data: bytes) -> str | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(f"/extra/{KEY}.json") and entry.file_size <= MAX_CONTRACT:
                return archive.read(entry).decode()
    return None


def _onnx_program(data: bytes, path: Path) -> Program:
    onnx = optional("onnx", "export", "reading ONNX")
    runtime = optional("onnxruntime", "export", "running ONNX")
    with _fit_to_read(path):
        model = onnx.load_model_from_string(data)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _inside(model, onnx.TensorProto)):
            raise Damaged(f"{path} keeps weights in other files, which are not read")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def program(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return program


def _inside(message: Any, kind: type) -> Iterator[Any]:
    """Every protobuf message of one kind inside another, however deep."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in (value,) if hasattr(value, "ListFields") else value:  # one message, or several
                yield from _inside(inner, kind)
