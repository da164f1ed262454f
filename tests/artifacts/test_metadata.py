"""Model metadata: what is refused, and that what is written is read back unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.artifacts.metadata import ModelMetadata, parse, parse_text
from tutelage.data import Normalization
from tutelage.storage import Damaged

VALID = ModelMetadata(
    model="resnet8",
    channels=3,
    height=8,
    width=9,
    normalization=Normalization((0.1, 0.2, 0.3), (1.0, 0.5, 0.25)),
    class_names=("cat", "dog"),
    about={"seed": 1},
)


@given(st.lists(st.text(), min_size=1, max_size=4), st.none() | st.integers(1, 2048), st.floats(1e-6, 1e6))
def test_what_is_written_is_read(names: list[str], size: int | None, std: float) -> None:
    metadata = ModelMetadata(
        model="resnet8",
        channels=1,
        height=8,
        width=9,
        normalization=Normalization((-std,), (std,), size),
        class_names=tuple(names),
        about={"method": names[0]},
    )
    assert parse_text(metadata.text(), "here") == metadata
    assert "\n" not in metadata.text()


def put(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", to=2), "format 2, this version of tutelage reads format 1"),
        (put("model", to=""), "model is ''"),
        (put("model", to=["resnet8"]), "expected the name of a network"),
        (put("input", to=None), "is not model metadata of tutelage"),
        (put("input", "channels", to=True), "input.channels is True"),
        (put("input", "height", to=8.0), "input.height is 8.0"),
        (put("input", "width", to=10**9), "input.width is 1000000000: expected a whole number from 1 to 2048"),
        (put("input", "width", to=0), "input.width is 0"),
        (put("normalization", "mean", to=[0.1, 0.2]), "normalization.mean is (0.1, 0.2): expected 3 finite numbers"),
        (put("normalization", "mean", to=[0.1, 0.2, float("nan")]), "expected 3 finite numbers"),
        (put("normalization", "std", to=[1, 1, 0]), "normalization.std is (1, 1, 0): expected 3 positive"),
        (put("normalization", "std", to=[1, 1, "1"]), "expected 3 positive"),
        (put("normalization", "size", to=10**6), "normalization.size is 1000000"),
        (put("normalization", to=[]), "is not model metadata of tutelage"),
        (put("class_names", to=[]), "class_names is (): expected a list of names"),
        (put("class_names", to=["cat", 1]), "expected a list of names"),
        (put("class_names", to="cat"), "class_names is 'cat': expected a list of names"),
        (put("class_names", to={"cat": 0}), "class_names is {'cat': 0}: expected a list of names"),
        (put("about", to=[]), "about is []"),
    ],
)
def test_a_field_that_is_not_valid(change: Callable[[dict[str, Any]], None], message: str) -> None:
    value = VALID.to_json()
    change(value)
    with pytest.raises(Damaged) as caught:
        parse(value, "model.json")
    assert str(caught.value).startswith("model.json is not model metadata")
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["format", "model", "input", "normalization", "class_names", "about"])
def test_a_field_that_is_missing(key: str) -> None:
    value = VALID.to_json()
    del value[key]
    with pytest.raises(Damaged, match=f"it has no '{key}'"):
        parse(value, "model.json")


@pytest.mark.fault(30)
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]", '"x"', "\x00"])
def test_text_that_is_not_metadata(text: str) -> None:
    with pytest.raises(Damaged, match=r"^model\.json (is not model metadata|cannot be read as JSON)"):
        parse_text(text, "model.json")


def test_a_long_value_is_cut_in_the_message() -> None:
    value = json.loads(VALID.text())
    value["input"]["width"] = "x" * 10_000
    with pytest.raises(Damaged) as caught:
        parse(value, "model.json")
    assert len(str(caught.value)) < 200
