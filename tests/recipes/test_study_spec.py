"""Studies from plain values and TOML: what is shared, how arms are named, and faults with their path."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from tutelage import serialization
from tutelage.lineage import TrainOptions, addresses
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline
from tutelage.recipes.study_spec import arm_names, read_study, rename_lineages, study
from tutelage.study import Study
from tutelage.validation import checked

WHOLE = """
name = "what helps"
seeds = [0, 1, 2]
reference = "plain"
epochs = 3
generations = 2

[[arms]]
recipe = "baseline"
name = "plain"

[[arms]]
recipe = "label_smoothing"
smoothing = 0.2
epochs = 5

[[arms]]
recipe = "tolerant"
teacher_weight = [0.7, 0.6]
"""


def test_a_file_is_the_study_that_python_makes(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(WHOLE)
    spec, options = read_study(tmp_path / "study.toml")
    assert options == TrainOptions()
    lineages = (
        call("baseline", epochs=3),
        call("label_smoothing", smoothing=0.2, epochs=5),
        call("tolerant", generations=2, teacher_weight=(0.7, 0.6), epochs=3),
    )
    assert spec == Study(
        lineages=rename_lineages(lineages, ["plain", "label_smoothing", "tolerant"]),
        seeds=(0, 1, 2),
        reference="plain",
        title="what helps",
    )
    assert spec.name == f"what-helps-{serialization.digest(spec)[:8]}"
    assert serialization.from_json(serialization.to_json(spec)) == spec


def test_a_name_is_no_part_of_a_models_address() -> None:
    (one, other) = study([{"recipe": baseline, "name": "a"}, {"recipe": "baseline", "name": "b"}]).lineages
    assert one.name != other.name
    assert addresses(one, 0, "print", "fp32") == addresses(other, 0, "print", "fp32")


def test_arms_of_one_recipe_are_named_after_their_arguments() -> None:
    arms = [{"recipe": "label_smoothing", "smoothing": share} for share in (0.1, 0.2)]
    names = [lineage.name for lineage in study(["baseline", *arms]).lineages]
    assert names == ["baseline", "label_smoothing smoothing=0.1", "label_smoothing smoothing=0.2"]
    assert arm_names([None, "x"], ["x", "y"], ["x a=1", "y b=1"]) == ["x a=1", "x"]


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": 3}, "arms: expected a list of arms, not 3"),
        ({"arms": []}, "at least one lineage"),
        ({"arms": ["baseline", 3]}, r"arms\[1\]: an arm is a recipe's name, or a table with a recipe in it, not 3"),
        ({"arms": [{"smoothing": 0.1}]}, r"arms\[0\]: an arm is .* with a recipe"),
        ({"arms": [{"recipe": "tolerent"}]}, r"arms\[0\]: unknown recipe 'tolerent': did you mean tolerant"),
        ({"arms": [{"recipe": 3}]}, r"arms\[0\]: recipe: expected text, not 3"),
        ({"arms": [{"recipe": "baseline", "name": 3}]}, r"arms\[0\].name: expected text, not 3"),
        (
            {"arms": [{"recipe": "tolerant", "primry": 0.6}]},
            r"arms\[0\]: unknown argument of .* did you mean primary",
        ),
        ({"arms": [{"recipe": "tolerant", "primary": "0.6"}]}, r"arms\[0\].primary: expected a number, not '0.6'"),
        ({"arms": [{"recipe": "tolerant", "primary": 1.6}]}, r"arms\[0\]: .*1.6"),
        ({"arms": [{"recipe": "tolerant", "k": [5, 4.5]}]}, r"arms\[0\].k: expected a whole number or a list"),
        ({"arms": [{"recipe": "baseline", "epochs": True}]}, r"arms\[0\].epochs: expected a whole number, not True"),
        ({"arms": ["baseline", "baseline"]}, "two arms of a study are named 'baseline'"),
        ({"arms": [{"recipe": "baseline", "name": "a\nb"}]}, "one line of text"),
        ({"epochs": "many"}, "epochs: expected a whole number, not 'many'"),
        ({"sedes": [0]}, "unknown key 'sedes': did you mean seeds"),
        ({"generations": 2}, "unknown key 'generations'"),
        ({"seeds": 3}, "seeds: expected a list, each a whole number, not 3"),
        ({"seeds": [0, 0]}, "each once"),
        ({"reference": "tolerant"}, "unknown reference 'tolerant'"),
    ],
)
def test_a_fault_is_named_with_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**({"arms": ["baseline", "label_smoothing"]} | change))


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms = [", "study.toml: "),
        ("epochs = 3", "study.toml: a study needs arms"),
        ("arms = ['baseline']\nmeter = 'yes'", "study.toml: meter: expected true or false, not 'yes'"),
        ("arms = ['baseline']\nwatch_tst = true", "unknown key 'watch_tst': did you mean watch_test"),
    ],
)
def test_a_fault_in_a_file_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_study(tmp_path / "study.toml")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, 1),
        (None, int | None, None),
        ([1, 2], tuple[int, ...], (1, 2)),
        (0.5, float | tuple[float, ...], 0.5),
        ("paper", Literal["paper", "official"], "paper"),
        (object, Any, object),
    ],
)
def test_values_that_fit(value: object, kind: object, expected: object) -> None:
    assert checked(value, kind, "here") == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("x", Literal["paper", "official"], "'paper' or 'official', not 'x'"),
        (1.5, int, "a whole number, not 1.5"),
        ([0.5, "a"], tuple[float, ...], "a list, each a number, not [0.5, 'a']"),
        (1, str | None, "text, not 1"),
    ],
)
def test_values_that_do_not_fit(value: object, kind: object, expected: str) -> None:
    with pytest.raises(ValueError, match="here: expected") as error:
        checked(value, kind, "here")
    assert str(error.value) == f"here: expected {expected}"


def test_a_file_holds_training_options_too(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("watch_test = true\narms = ['baseline']")
    spec, options = read_study(tmp_path / "study.toml")
    assert spec == study(["baseline"])
    assert options == TrainOptions(watch_test=True)
