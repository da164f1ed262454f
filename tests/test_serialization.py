"""Frozen values to plain JSON and back, addresses, and names looked up without running what they name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functional.inputs import repeatable
from tutelage import functional, paths, serialization, user_code
from tutelage.data import CropFlip, DataConfig
from tutelage.lineage import Generation, Lineage
from tutelage.methods.born_again import Permuted, TeacherConfidence
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed, StudentMaxTemperature
from tutelage.methods.teacher_free import OfficialVirtualTeacher, VirtualTeacher
from tutelage.objective import (
    ConfidencePenalty,
    Constant,
    Labels,
    Match,
    Objective,
    ScoreDifference,
    TeacherProbs,
)
from tutelage.training import Cosine, Milestones, OneCycle, Schedule

reals = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(1e-3, 1e3)
shares = st.floats(0.0, 1.0)
targets = st.recursive(
    st.one_of(
        st.just(TeacherProbs()),
        st.builds(Labels, smoothing=shares, others_only=st.booleans()),
        st.builds(VirtualTeacher, correct=shares),
        st.builds(OfficialVirtualTeacher, correct=shares, temperature=positive),
    ),
    lambda inner: st.one_of(
        st.builds(Shifted, of=inner), st.builds(Smoothed, of=inner, smoothing=shares), st.builds(Permuted, of=inner)
    ),
    max_leaves=3,
)
scalars = st.one_of(
    st.builds(Constant, value=reals),
    st.just(TeacherConfidence()),
    st.builds(FocalTemperature, base=positive, bias=reals, floor=st.none() | positive),
    st.builds(StudentMaxTemperature, base=positive, normalize=st.sampled_from(["none", "sum", "mean"])),
)
distances = st.sampled_from(
    [functional.kl_divergence, functional.cross_entropy, functional.kl_divergence_element_mean]
)
terms = st.one_of(
    st.builds(
        Match,
        name=st.text(),
        target=targets,
        temperature=scalars,
        weight=scalars,
        temperature_power=reals,
        distance=distances,
    ),
    st.builds(ScoreDifference, weight=reals, k=st.integers(2, 50), name=st.text()),
    st.builds(ConfidencePenalty, weight=reals, threshold=st.none() | positive, name=st.text()),
)
objectives = st.builds(
    lambda chosen: Objective(tuple(chosen)), st.lists(terms, min_size=1, max_size=3, unique_by=lambda term: term.name)
)
decays = st.one_of(
    st.just(Cosine()),
    st.builds(OneCycle, rise=shares),
    st.builds(Milestones, at=st.lists(shares, max_size=3).map(tuple), factor=shares),
)
schedules = st.builds(Schedule, epochs=st.integers(1, 500), lr=positive, decay=decays, nesterov=st.booleans())
plain = st.one_of(st.none(), st.booleans(), st.integers(), reals, st.text())
keys = st.text().filter(lambda key: key not in {"is", "function"})
values = st.recursive(
    st.one_of(
        plain, objectives, schedules, st.builds(DataConfig, name=st.text(), train_size=st.none() | st.integers(1))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=4,
)

SCHEDULE = Schedule(epochs=3, decay=Milestones(at=(0.25, 0.5)))
LINE = Lineage(
    name="line",
    data=DataConfig(name="digits", train_size=300, holdout=20),
    views=CropFlip(padding=1, flip=False),
    generations=(
        Generation(name="first", model="resnet8", objective=labels_only(), schedule=SCHEDULE),
        Generation(name="second", model="resnet14", objective=distillation(), schedule=SCHEDULE, teachers=(0,)),
    ),
)


def through_text(value: Any) -> Any:
    return serialization.from_json(json.loads(json.dumps(serialization.to_json(value), allow_nan=False)))


@repeatable
@given(values)
def test_values_go_to_json_and_back(value: Any) -> None:
    back = through_text(value)
    assert back == value
    assert type(back) is type(value)
    assert serialization.digest(back) == serialization.digest(value)


@repeatable
@given(values)
def test_json_stays_as_it_is(value: Any) -> None:
    tree = serialization.to_json(value)
    assert serialization.to_json(tree) == tree
    assert serialization.digest(tree) == serialization.digest(value)


@repeatable
@given(values)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: turned(tree[key]) for key in reversed(tree)}
        return [turned(item) for item in tree] if isinstance(tree, list) else tree

    assert serialization.digest(turned(serialization.to_json(value))) == serialization.digest(value)


def test_the_expanded_tree_holds_every_field() -> None:
    def check(value: Any, tree: Any) -> None:
        if isinstance(value, tuple):
            for item, branch in zip(value, tree, strict=True):
                check(item, branch)
        elif isinstance(tree, dict) and "is" in tree:
            assert list(tree) == ["is", *(field.name for field in fields(value))]
            for field in fields(value):
                check(getattr(value, field.name), tree[field.name])

    check(LINE, serialization.to_json(LINE))


def changed(tree: Any) -> Iterator[Any]:
    """The tree with one leaf changed, for each leaf."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from ({**tree, key: other} for other in changed(item))
    elif isinstance(tree, list):
        for place, item in enumerate(tree):
            yield from ([*tree[:place], other, *tree[place + 1 :]] for other in changed(item))
        yield [*tree, "one more"]
    elif isinstance(tree, str):
        yield tree + "x"
    elif isinstance(tree, bool):
        yield not tree
    else:
        yield 0.5 if tree is None else tree + 1e-9


def test_a_digest_depends_on_every_leaf() -> None:
    others = [serialization.digest(tree) for tree in changed(serialization.to_json(LINE))]
    assert len(others) > 60
    assert len({serialization.digest(LINE), *others}) == len(others) + 1


def test_a_digest_is_the_same_in_another_process() -> None:
    code = (
        "from tutelage import methods, serialization;"
        "print(serialization.digest(methods.factories()['distillation']()))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == serialization.digest(distillation())


def test_equal_values_have_equal_digests() -> None:
    assert Schedule(lr=1, weight_decay=0) == Schedule(lr=1.0, weight_decay=0.0)
    assert serialization.digest(Schedule(lr=1, weight_decay=0)) == serialization.digest(
        Schedule(lr=1.0, weight_decay=0.0)
    )
    assert serialization.digest(ScoreDifference(weight=1)) == serialization.digest(ScoreDifference(weight=1.0))
    assert serialization.digest(True) != serialization.digest(1)


def test_names_are_of_floors_not_of_files() -> None:
    assert serialization.to_json(Constant(2)) == {"is": "objective:Constant", "value": 2.0}
    assert serialization.to_json(functional.kl_divergence) == {"function": "functional:kl_divergence"}
    assert serialization.to_json(Shifted()) == {
        "is": "methods.preparing_lessons:Shifted",
        "of": {"is": "objective:TeacherProbs"},
    }


@dataclass(frozen=True)
class Mine:
    """A target of a user's own, in a module outside tutelage."""

    sharpness: float = 2.0


def half(target: Any, logits: Any, temperature: Any) -> Any:
    """A distance of a user's own."""


def test_values_of_other_modules_must_be_allowed() -> None:
    tree = serialization.to_json({"target": Mine(3.0), "distance": half})
    assert tree["target"] == {"is": f"{__name__}:Mine", "sharpness": 3.0}
    assert tree["distance"] == {"function": f"{__name__}:half"}
    with pytest.raises(ValueError, match=re.escape(f"$.target: '{__name__}:Mine' is not part of tutelage")):
        serialization.from_json(tree)
    assert serialization.from_json(tree, allow=(__name__,)) == {"target": Mine(3.0), "distance": half}


class Loose:
    """Neither frozen nor a dataclass."""


@dataclass
class Melting:
    """A dataclass whose fields can change after it was written down."""

    value: int = 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "nan cannot be part of a configuration"),
        (float("-inf"), "-inf cannot be part of a configuration"),
        ({"deep": [1.0, float("inf")]}, "inf cannot be part of a configuration"),
        (Loose(), "Loose cannot be part of a configuration: use a frozen dataclass"),
        (Melting(), "Melting cannot be part of a configuration: use a frozen dataclass"),
        (Constant, "type cannot be part of a configuration"),
        (len, "builtin_function_or_method cannot be part of a configuration"),
        (b"bytes", "bytes cannot be part of a configuration"),
        ({1, 2}, "set cannot be part of a configuration"),
        (lambda: 0, "put it at the top of a module"),
        ({1: "one"}, "the keys of a mapping must be text, not 1"),
    ],
)
def test_what_cannot_come_back_is_refused(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        serialization.to_json(value)


MATCH = serialization.to_json(Match(name="m", target=TeacherProbs()))


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"is": "objective:Macth"}, "$: unknown name in objective 'Macth': did you mean Match"),
        ({"is": "objectives:Match"}, "$: 'objectives:Match' is not part of tutelage"),
        ({"is": "objective"}, "$: unknown name in objective '': choose from "),
        ({"is": ""}, "$: '' is not part of tutelage"),
        ({"is": ".objective:Match"}, "$: '.objective:Match' is not part of tutelage"),
        ({"is": "functional:soften"}, "$: functional:soften is not a value that a configuration can contain"),
        ({"is": "data.load:Path"}, "$: 'data.load:Path' is not tutelage's own"),
        ({**MATCH, "wieght": 1.0}, "$: unknown field of objective:Match 'wieght': did you mean weight?"),
        ({"is": "objective:Match", "name": "m"}, "$: Match.__init__() missing 1 required keyword-only argument"),
        ({**MATCH, "target": 4.0}, "$.target: expected Target, not 4.0"),
        ({"a": [0, {"b": {"is": "objective:Constant", "value": "1"}}]}, "$.a[1].b.value: expected a number, not '1'"),
        ([[{"function": "functional:kl_divergense"}]], "$[0][0]: unknown name in functional 'kl_divergense'"),
        ({**MATCH, "distance": {"function": "functional:nope"}}, "$.distance: unknown name in functional 'nope'"),
        ({"is": "objective:Objective", "terms": []}, "$: an objective needs at least one term"),
        ({"is": "training:Schedule", "epochs": 0}, "$: epochs must be at least 1, not 0"),
        ({"is": "training:Schedule", "lr": "fast"}, "$.lr: expected a number, not 'fast'"),
        ({"is": 5}, "$: a name is text, not 5"),
        ({"function": ["functional", "soften"]}, "$: a name is text, not ['functional', 'soften']"),
        ({"function": "serialization:json"}, "$: 'serialization:json' is not tutelage's own"),
        ({"function": "objective:Match"}, "$: objective:Match is not a function"),
        ({"function": "storage:remove"}, "$: storage:remove is not a function of functional, objective, methods"),
        ({"function": "__main__:main"}, "$: __main__:main is not a function of functional, objective, methods"),
        ({"function": "functional:soften", "power": 2}, "$: a function has no fields, such as 'power'"),
    ],
)
def test_a_fault_is_named_with_its_path(tree: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        serialization.from_json(tree)


@pytest.mark.fault(28, 30)
@pytest.mark.parametrize(
    "tree", [{"is": "os:system"}, {"function": "subprocess:run"}, {"is": "sys:exit", "status": 3}]
)
def test_functions_of_other_modules_are_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not part of tutelage, and importing it would run its code: allow"):
        serialization.from_json(tree)
    with pytest.raises(ValueError, match="is not part of tutelage"):
        serialization.from_json({"deep": [tree]}, allow=("json",))


@pytest.mark.fault(28)
@pytest.mark.parametrize("name", ["trap:Value", "trap.inner:Value", "tutelage.trap:Value"])
@pytest.mark.parametrize("key", ["is", "function"])
def test_nothing_is_imported_that_was_not_allowed(
    name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "it ran"
    (tmp_path / "trap.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="is not part of tutelage"):
        serialization.from_json({key: name})
    assert not mark.exists()
    assert "trap" not in sys.modules


def test_load_function(tmp_path: Path) -> None:
    assert user_code.load_function("tutelage.functional:soften") is functional.soften
    file = tmp_path / "mine.py"
    file.write_text("def net(num_classes):\n    return num_classes + 1\n\n\nnumber = 5\n")
    assert user_code.load_function(f"{file}:net")(3) == 4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no.such.module:f", "no module 'no.such.module' (from 'no.such.module:f')"),
        ("nowhere.py:f", "no file 'nowhere.py' (from 'nowhere.py:f')"),
        ("some/folder:f", "no module 'some/folder' (from 'some/folder:f')"),
        ("math:sqroot", "unknown function in math 'sqroot': did you mean sqrt or isqrt?"),
        ("math:pi", "unknown function in math 'pi': "),
        ("math:", "unknown function in math '': "),
        ("math", "'math' names no function: write package.module:function or path/to/file.py:function"),
        (":f", "':f' names no function: write package.module:function or path/to/file.py:function"),
        ("..mine:f", "no module '..mine' (from '..mine:f')"),
    ],
)
def test_load_function_says_which_half_was_not_found(target: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        user_code.load_function(target)


def test_load_function_lists_what_a_file_has(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def network():\n    ...\n")
    with pytest.raises(ValueError, match=re.escape(f"unknown function in {file} 'netwrok': did you mean network?")):
        user_code.load_function(f"{file}:netwrok")


def test_a_file_that_fails_says_so_itself(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        user_code.load_function(f"{file}:f")


def test_folders_are_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUTELAGE_RUNS", str(tmp_path / "r"))
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "d"))
    assert (paths.runs_folder(), paths.data_folder()) == (tmp_path / "r", tmp_path / "d")
    monkeypatch.setenv("TUTELAGE_RUNS", "")
    monkeypatch.delenv("TUTELAGE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (paths.runs_folder(), paths.data_folder()) == (Path("runs"), tmp_path / "tutelage" / "data")


def test_functions_are_found_by_what_they_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shelf"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text(
        "from __future__ import annotations\n"
        "from tutelage.data import DataConfig\n"
        "from shelf.two import other\n"
        "def first() -> DataConfig: ...\n"
        "def _hidden() -> DataConfig: ...\n"
        "def unrelated() -> int: ...\n"
    )
    (package / "two.py").write_text("from tutelage.data import DataConfig\ndef other() -> DataConfig: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    functions = serialization.functions_returning("shelf", DataConfig)
    assert list(functions) == ["first", "other"]
    assert functions["other"].__module__ == "shelf.two"
    for name in ("shelf", "shelf.one", "shelf.two"):
        monkeypatch.delitem(sys.modules, name)
