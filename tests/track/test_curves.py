"""Names as components of paths, and the values of a configuration by their dotted paths."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tutelage import serialization
from tutelage.recipes import call
from tutelage.track.curves import flatten, path_component


@given(st.text())
@example("..")
@example("𝒂" * 200)
@example("a\0b")
@example("CON: <x>|?*")
def test_any_name_is_one_component_of_a_path(text: str) -> None:
    component = path_component(text)
    assert component not in ("", ".", "..")
    assert Path("/runs") / component == Path(f"/runs/{component}")
    assert Path(component).name == component
    assert len(os.fsencode(component)) <= 255
    assert not set(component) & set('\0\n/\\:*?"<>|')
    assert component == component.strip()


@given(st.text(max_size=5), st.text(max_size=5))
def test_components_are_equal_only_for_equal_names(one: str, other: str) -> None:
    assert (path_component(one) == path_component(other)) == (one == other)


def test_every_value_of_a_generation_has_a_path() -> None:
    settings = flatten(serialization.to_json(call("tolerant", generations=1).generations[1]))
    assert settings["schedule.lr"] == 0.1
    assert settings["schedule.decay"] == "OneCycle"
    assert settings["teachers.0"] == 0
    assert not any("is" in path.split(".") for path in settings)
    assert all(value is None or isinstance(value, str | int | float) for value in settings.values())
