"""The seal of an exported file: its metadata carry the SHA-256 of themselves and of everything that computes logits.

A file that stands alone thereby knows that it was altered by chance. It proves nothing about who wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tutelage.artifacts.metadata import ModelMetadata, load_json, parse
from tutelage.storage import Damaged
from tutelage.validation import parse_json

SEAL = "sha256"
"""The key of the seal in the metadata of an exported file."""
Parts = Iterable[tuple[str, bytes | memoryview]]
"""The content of a file in a fixed order: names and bytes."""


def sealed_text(metadata: ModelMetadata, parts: Parts) -> str:
    """The metadata as an exported file with these parts holds them: one line of JSON, with the seal.

    Formula: SHA-256 of the metadata's JSON, then for each part of the sizes of name and content, and both.
    """
    content = metadata.to_json()
    return json.dumps(content | {SEAL: _digest(content, parts)}, sort_keys=True, allow_nan=False)


def open_sealed(text: str | bytes, parts: Parts, where: str) -> ModelMetadata:
    """Read the metadata of an exported file after checking its seal; ``where`` names the file in errors.

    Errors: ``storage.Damaged`` for metadata that are not valid, have no seal, or whose seal is not that of the file.
    """
    source = f"the metadata in {where}"
    content = load_json(text, source)
    metadata = parse(content, source)
    if SEAL not in content:
        raise Damaged(f"{source} have no {SEAL}: expected a file as `tutelage export` writes it now")
    listed = content.pop(SEAL)
    actual = _digest(content, parts)
    if listed != actual:
        raise Damaged(f"{where} was altered: it has SHA-256 {actual[:12]}..., its metadata say {str(listed)[:12]}...")
    return metadata


def tensor_parts(data: bytes) -> Iterator[tuple[str, memoryview]]:
    """The tensors in the bytes of a valid safetensors file, by name.

    >>> import torch
    >>> from safetensors.torch import save
    >>> [(name, content.hex()) for name, content in tensor_parts(save({"b": torch.ones(1), "a": torch.zeros(1)}))]
    [('a F32 [1]', '00000000'), ('b F32 [1]', '0000803f')]
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = parse_json(data[8:start], "its header")
    for name, entry in sorted(header.items()):
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            yield f"{name} {entry['dtype']} {entry['shape']}", memoryview(data)[start + first : start + last]


def _digest(content: Mapping[str, Any], parts: Parts) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
    for name, data in parts:
        title = name.encode()
        digest.update(f"\n{len(title)} {len(data)}\n".encode())
        digest.update(title)
        digest.update(data)
    return digest.hexdigest()
