"""Tensors as safetensors: written from any device, and read from untrusted bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import memory_fault, printable
from tutelage.storage.errors import Damaged
from tutelage.storage.regular import open_regular
from tutelage.validation import checked, parse_json

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 8 * 2**20
"""The limit of a safetensors header in bytes: names and shapes of some 80,000 tensors."""


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Encode tensors of any device and memory layout as a safetensors file.

    >>> import torch
    >>> from safetensors.torch import load
    >>> load(tensor_bytes({"x": torch.eye(2)}))["x"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    import torch
    from safetensors.torch import save

    # Copies, since safetensors refuses tensors that share memory (tied weights).
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return bytes(save(copies))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file into memory; it may be untrusted.

    Errors: :class:`Damaged` if it is not a safetensors file; if its header is too long, nothing else is read.
    ``ValueError`` if it is no regular file.
    """
    with open_regular(path) as file:
        start = file.read(8)
        if (length := int.from_bytes(start, "little")) > MAX_HEADER:
            raise Damaged(f"{path} is not a readable safetensors file: its header would have {length} bytes")
        return tensors_in(start + file.read(), str(path))


def read_tensor_notes(path: Path) -> dict[str, str]:
    """Read the text that a safetensors file holds beside its tensors, from its header alone; it may be untrusted.

    Errors: :class:`Damaged` if it is not a safetensors file; ``ValueError`` if it is no regular file.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, MAX_HEADER + 1))
    try:
        if length > MAX_HEADER:
            raise ValueError(f"its header would have {length} bytes, the limit is {MAX_HEADER}")
        values = checked(parse_json(header, "its header"), Mapping[str, Any], "its header")
        notes = checked(values.get("__metadata__", {}), Mapping[str, Any], "__metadata__")
        return {key: checked(text, str, f"__metadata__.{key}") for key, text in notes.items()}
    except ValueError as error:
        raise Damaged(f"{path} is not a readable safetensors file: {printable(str(error))[:300]}") from None


def tensors_in(data: bytes, where: str) -> dict[str, Tensor]:
    """Decode the bytes of a safetensors file; ``where`` names it in errors.

    Errors: :class:`Damaged` for anything else, also for a name that appears twice in the header.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        if length > MAX_HEADER:
            raise ValueError(f"its header would have {length} bytes, the limit is {MAX_HEADER}")
        # Rejects a name that appears twice, of which safetensors would use the last.
        parse_json(data[8 : 8 + length], "its header")
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if memory_fault(error) is not None:  # which says nothing about the file
            raise
        reason = f"no type {error}" if isinstance(error, KeyError) else str(error)  # a KeyError has the type's name
        raise Damaged(f"{where} is not a readable safetensors file: {printable(reason)[:300]}") from None
