"""Names as parts of paths, and the values of a configuration by their paths."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tutelage import serialization
from tutelage.recipes import call
from tutelage.track.curves import flat, slug


@given(st.text())
@example("..")
@example("𝒂" * 200)
@example("a\0b")
@example("CON: <x>|?*")
def test_any_name_is_one_part_of_a_path(text: str) -> None:
    made = slug(text)
    assert made not in ("", ".", "..")
    assert Path("/runs") / made == Path(f"/runs/{made}")
    assert Path(made).name == made
    assert len(os.fsencode(made)) <= 255
    assert not set(made) & set('\0\n/\\:*?"<>|')
    assert made == made.strip()


@given(st.text(max_size=5), st.text(max_size=5))
def test_names_stay_apart(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


def test_every_value_of_a_generation_has_a_path() -> None:
    found = flat(serialization.to_json(call("tolerant", generations=1).generations[1]))
    assert found["schedule.lr"] == 0.1
    assert found["schedule.decay"] == "OneCycle"
    assert found["teachers.0"] == 0
    assert not any("is" in path.split(".") for path in found)
    assert all(value is None or isinstance(value, str | int | float) for value in found.values())
