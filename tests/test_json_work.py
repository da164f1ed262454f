"""Reading JSON is linear in its length: keys that are there twice, wherever, and headers with many names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Tried
from tests.models.test_weights import ONE, header
from tutelage import storage
from tutelage.artifacts.metadata import parse_text
from tutelage.artifacts.pretrained import read_metadata
from tutelage.models.weights import read_weights
from tutelage.validation import parse_json

COUNT = 20_000
KEYS = [f'"key {number}": 1' for number in range(COUNT)]
TWICE = {
    "the last again": [*KEYS, KEYS[-1]],
    "the first at the end": [*KEYS, KEYS[0]],
    "all": [*KEYS, *KEYS],
    "each beside itself": [key for key in KEYS for _ in "ab"],
    "the same always": [KEYS[0]] * 2 * COUNT,
    "in another way": [*KEYS, r'"\u006bey 7": 1'],
}


def spent(read: Callable[[], object], message: str) -> float:
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        read()
    return time.process_time() - start


@pytest.mark.fault(29, 30)
@pytest.mark.parametrize("name", TWICE)
def test_keys_that_are_there_twice(name: str, tried: Tried) -> None:
    """17 s for one of these took as many comparisons as there are pairs."""
    text = "{" + ", ".join(TWICE[name]) + "}"
    for content in (text, '{"format": 1, "inner": [' + text + "]}"):
        assert spent(lambda content=content: parse_text(content, "model.json"), "contains the key 'key .*' twice") < 1  # type: ignore[misc]
    tried(2, "JSON with repeated keys refused within a second of processor time")


@pytest.mark.fault(29)
def test_a_header_with_a_name_twice_among_20_000(tmp_path: Path) -> None:
    entries = [f'"t{k}": {json.dumps(ONE | {"data_offsets": [4 * k, 4 * k + 4]})}' for k in range(COUNT)]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(header(("{" + ", ".join([*entries, entries[-1]]) + "}").encode(), bytes(4 * COUNT)))
    for read in (read_weights, storage.read_tensors, lambda path: read_metadata(str(path))):
        assert spent(lambda read=read: read(path), "contains the key 't19999' twice") < 1  # type: ignore[misc]


def test_the_first_repeated_key_is_named() -> None:
    with pytest.raises(ValueError, match="a cannot be read as JSON: it contains the key 'x' twice"):
        parse_json('{"x": 1, "y": 1, "y": 2, "x": 2}', "a")
    assert parse_json('{"x": {"x": 1}, "y": {"x": 2}}', "a") == {"x": {"x": 1}, "y": {"x": 2}}
    long = "k" * 1000
    with pytest.raises(ValueError, match=f"the key '{'k' * 80}' twice"):
        parse_json(f'{{"{long}": 1, "{long}": 2}}', "a")


@pytest.mark.fault(28)
def test_prefixes_without_end(tmp_path: Path) -> None:
    """Names that begin with the prefix of DataParallel a thousand times were stripped by recursion."""
    name = "module." * 10_000 + "weight"
    path = tmp_path / "weights.safetensors"
    path.write_bytes(header({name: ONE}, bytes(4)))
    (read,) = read_weights(path)
    assert read == "module." * 9_996 + "weight"
