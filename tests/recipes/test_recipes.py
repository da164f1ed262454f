"""Recipes: the lineages they make, what their arguments change, and which of their models are the same."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functional.inputs import repeatable
from tests.recipes.test_addresses import addresses
from tutelage import serialization
from tutelage.data import CropFlip, DataConfig
from tutelage.lineage import Lineage, expected_scores
from tutelage.methods.hinton import labels_only
from tutelage.recipes import CommonOptions, call, find_recipe, option_types, parameter_owners, recipes
from tutelage.recipes.baselines import baseline, confidence_penalty, label_smoothing
from tutelage.recipes.born_again import born_again
from tutelage.recipes.distill import distill
from tutelage.recipes.mixture import Mixture
from tutelage.recipes.preparing_lessons import dynamic_temperature, knowledge_adjustment
from tutelage.recipes.teacher_free import defective, reversed, tf_kd_reg, tf_kd_self
from tutelage.recipes.tolerant import tolerant
from tutelage.training import Milestones, OneCycle

RECIPES = recipes()
OPTIONS = [CommonOptions(), CommonOptions(data="cifar100")]

every_recipe = pytest.mark.parametrize("name", RECIPES)
every_dataset = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.data)


@pytest.fixture(autouse=True)
def no_data_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "nothing here"))


@every_recipe
@every_dataset
def test_builds_with_defaults(name: str, options: CommonOptions) -> None:
    lineage = RECIPES[name](options)
    assert lineage.name == name
    assert lineage.data == DataConfig(name=options.data)
    assert lineage.views == (CropFlip(padding=1, flip=False) if options.data == "digits" else CropFlip())
    *_, last = lineage.generations
    assert last.schedule.epochs == (200 if options.data == "digits" else 164)
    assert find_recipe(name) is RECIPES[name]


@every_recipe
def test_digits_are_the_default(name: str) -> None:
    assert RECIPES[name]() == RECIPES[name](CommonOptions(data="digits"))


@every_recipe
@every_dataset
def test_goes_to_json_and_back(name: str, options: CommonOptions) -> None:
    lineage = RECIPES[name](options)
    back = serialization.from_json(json.loads(json.dumps(serialization.to_json(lineage))))
    assert back == lineage
    assert addresses(back) == addresses(lineage)


@every_recipe
@every_dataset
def test_teachers_come_before_their_students_and_all_but_the_last_generation_teach(
    name: str, options: CommonOptions
) -> None:
    generations = RECIPES[name](options).generations
    for place, generation in enumerate(generations):
        assert all(0 <= teacher < place for teacher in generation.teachers)
        assert bool(generation.teachers) is generation.objective.needs_teacher
    teachers = {teacher for generation in generations for teacher in generation.teachers}
    assert teachers == set(range(len(generations) - 1))


@every_recipe
def test_arguments_have_defaults_types_and_docs(name: str) -> None:
    first, *others = inspect.signature(RECIPES[name]).parameters.values()
    assert first.name == "options"
    own = [parameter for parameter in others if parameter.name not in parameter_owners(RECIPES[name])]
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(RECIPES[name]) or "", re.M)
    assert documented == [parameter.name for parameter in own]
    for parameter in own:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty
        assert parameter.annotation is not parameter.empty
        assert parameter.name not in {field.name for field in fields(CommonOptions)}


@pytest.mark.parametrize("shared", [CommonOptions, Mixture])
def test_the_common_options_are_documented(shared: type[CommonOptions | Mixture]) -> None:
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(shared) or "", re.M)
    assert documented == [field.name for field in fields(shared)]


CHANGES: list[tuple[Callable[..., Lineage], dict[str, Any], dict[str, Any]]] = [
    (label_smoothing, {}, {"smoothing": 0.2, "primary": 0.6}),
    (confidence_penalty, {}, {"penalty_weight": 0.2, "primary": 0.6}),
    (
        distill,
        {},
        {
            "teacher": ("resnet14",),
            "assistants": ("resnet14",),
            "method": "born_again_labels",
            "teacher_weight": 0.5,
            "temperature": 2.0,
        },
    ),
    (distill, {"teacher": ("resnet14", "resnet8")}, {"teacher_shares": (0.7, 0.3), "teacher": ("resnet14",) * 2}),
    (born_again, {}, {"generations": 2, "form": "labels"}),
    (born_again, {"form": "labels"}, {"teacher_weight": 0.4}),
    (born_again, {"form": "confidence"}, {"form": "permuted"}),
    (
        tolerant,
        {},
        {
            "generations": 2,
            "primary": 0.5,
            "teacher_weight": 0.5,
            "k": 4,
            "temperature": 2.0,
            "tolerance": 0.1,
            "share": 0.2,
        },
    ),
    (tolerant, {"tolerance": 0.1}, {"k": (5, 4, 4, 4, 4, 4)}),
    (tolerant, {}, {"share": 0.1}),
    (knowledge_adjustment, {}, {"teacher": "resnet14", "adjustment": "smooth", "teacher_weight": 1.0}),
    (knowledge_adjustment, {"adjustment": "smooth"}, {"smoothing": 0.2, "temperature": 8.0}),
    (
        dynamic_temperature,
        {"adjustment": "smooth"},
        {
            "teacher": "resnet14",
            "temperature_rule": "cwsm",
            "adjustment": "shift",
            "teacher_weight": 0.5,
            "temperature": 8.0,
            "bias": 1.0,
            "power": 2.0,
            "normalize": "sum",
            "floor": 2.0,
            "smoothing": 0.2,
        },
    ),
    (reversed, {}, {"teacher": "resnet14", "teacher_weight": 0.5, "temperature": 6.0, "temperature_power": 2.0}),
    (
        defective,
        {},
        {
            "teacher": "resnet14",
            "teacher_epochs": 2,
            "teacher_weight": 0.5,
            "temperature": 6.0,
            "temperature_power": 2.0,
        },
    ),
    (tf_kd_self, {}, {"form": "official", "teacher_weight": 0.5, "temperature": 6.0, "temperature_power": 2.0}),
    (tf_kd_self, {"form": "official"}, {"multiplier": 50.0, "teacher_weight": 0.5, "temperature": 6.0}),
    (tf_kd_reg, {}, {"form": "official", "teacher_weight": 0.5, "temperature": 6.0, "temperature_power": 2.0}),
    (
        tf_kd_reg,
        {"form": "official"},
        {"multiplier": 50.0, "teacher_weight": 0.5, "temperature": 6.0, "correct": 0.9},
    ),
]

MIXED: tuple[Callable[..., Lineage], ...] = (distill, born_again, tolerant, reversed, defective, tf_kd_self)
for mixed in MIXED:
    CHANGES += [
        (mixed, {}, {"add": ("confidence_penalty",), "adjustment": "shift", "temperature_rule": "flsw"}),
        (mixed, {"adjustment": "smooth"}, {"smoothing": 0.2}),
        (mixed, {"temperature_rule": "cwsm"}, {"bias": 1.0}),
    ]


@pytest.mark.parametrize(
    ("recipe", "base", "argument", "value"),
    [
        pytest.param(recipe, base, argument, value, id=f"{recipe.__name__}-{argument}={value}")
        for recipe, base, arguments in CHANGES
        for argument, value in arguments.items()
    ],
)
def test_every_argument_changes_the_models(
    recipe: Callable[..., Lineage], base: dict[str, Any], argument: str, value: Any
) -> None:
    assert addresses(call(recipe, **base | {argument: value})) != addresses(call(recipe, **base))


@every_recipe
def test_no_argument_is_missing_above(name: str) -> None:
    own = set(option_types(RECIPES[name])) - {field.name for field in fields(CommonOptions)} - {"teacher_weights"}
    assert own == {a for recipe, _, arguments in CHANGES if recipe is RECIPES[name] for a in arguments}


@every_recipe
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "resnet14"),
        ("epochs", 7),
        ("batch_size", 32),
        ("lr", 0.05),
    ],
)
def test_common_options_change_the_models(name: str, field: str, value: Any) -> None:
    plain, other = RECIPES[name](), RECIPES[name](replace(CommonOptions(), **{field: value}))
    assert addresses(plain)[-1] != addresses(other)[-1]
    last = other.generations[-1]
    assert value in (last.model, last.schedule.epochs, last.schedule.batch_size, last.schedule.lr)


def test_common_options_select_the_images() -> None:
    lineage = baseline(CommonOptions(train_size=200, holdout=40))
    assert lineage.data == DataConfig(name="digits", train_size=200, holdout=40)
    assert CommonOptions(data="cifar100").dataset_info().num_classes == 100


@pytest.mark.parametrize("name", ["distill", "knowledge_adjustment", "dynamic_temperature", "defective"])
def test_teachers_are_larger_unless_named(name: str) -> None:
    def models(options: CommonOptions, **arguments: object) -> list[str]:
        return [generation.model for generation in RECIPES[name](options, **arguments).generations]

    teacher = ("resnet14",) if name == "distill" else "resnet14"

    assert models(CommonOptions()) == ["resnet20", "resnet8"]
    assert models(CommonOptions(data="cifar100")) == ["resnet56", "resnet20"]
    assert models(CommonOptions(model="vgg8"), teacher=teacher) == ["resnet14", "vgg8"]


def test_reversed_turns_the_sizes_around() -> None:
    def models(lineage: Lineage) -> list[str]:
        return [generation.model for generation in lineage.generations]

    assert models(reversed()) == ["resnet8", "resnet20"]
    assert models(reversed(CommonOptions(data="cifar100"))) == ["resnet20", "resnet56"]
    assert models(reversed(CommonOptions(model="resnet32"), teacher="resnet14")) == ["resnet14", "resnet32"]


def test_a_poor_teachers_rate_does_not_fall() -> None:
    poor, student = defective(teacher_epochs=3).generations
    assert (poor.schedule.epochs, poor.schedule.decay) == (3, Milestones(at=()))
    assert (student.schedule.epochs, student.schedule.decay) == (200, OneCycle())
    assert poor.schedule.decay.share(0.99) == 1.0


@pytest.mark.parametrize("form", ["teacher", "labels", "confidence", "permuted"])
def test_born_again_forms(form: Any) -> None:
    first, *later = born_again(form=form, generations=3).generations
    assert first.objective == labels_only()
    assert [generation.teachers for generation in later] == [(0,), (1,), (2,)]
    assert len({serialization.digest(generation.objective) for generation in later}) == 1


def test_one_value_per_generation() -> None:
    lineage = tolerant(generations=3, teacher_weight=(0.7, 0.6, 0.5), k=(4, 3, 3, 2), tolerance=(0.0, 0.1, 0.2))
    assert [str(generation.objective) for generation in lineage.generations] == [
        "0.444444 H(labels, student) + 0.555556 D_4(student)",
        "0.3 H(labels, student) + 0.7 KL(teacher ‖ student)",
        "0.36 H(labels, student) + 0.54 KL(teacher ‖ student) + 0.1 D_3(student)",
        "0.4 H(labels, student) + 0.4 KL(teacher ‖ student) + 0.2 D_2(student)",
    ]


@pytest.mark.parametrize(
    ("argument", "value", "count"),
    [
        ("teacher_weight", (0.6, 0.5), 3),
        ("teacher_weight", (0.6, 0.5, 0.4, 0.3), 3),
        ("teacher_weight", (), 3),
        ("tolerance", (0.1, 0.2), 3),
        ("k", (5, 4, 3), 4),
        ("k", (5,) * 5, 4),
    ],
)
def test_the_wrong_number_of_values_is_an_error(argument: str, value: tuple[Any, ...], count: int) -> None:
    message = f"{argument} takes one number, or one for each of {count} generations, not {len(value)}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        tolerant(generations=3, **{argument: value})  # type: ignore[arg-type]


@repeatable
@given(st.integers(0, 8), st.floats(0.0, 1.0))
def test_one_value_is_one_for_each(generations: int, weight: float) -> None:
    lineage = tolerant(generations=generations, teacher_weight=weight, k=3)
    in_full = tolerant(generations=generations, teacher_weight=(weight,) * generations or weight, k=(3,))
    assert lineage == in_full
    assert len(lineage.generations) == generations + 1


@pytest.mark.parametrize("recipe", [tolerant, born_again])
def test_a_chain_has_no_negative_length(recipe: Callable[..., Lineage]) -> None:
    assert len(recipe(generations=0).generations) == 1
    with pytest.raises(ValueError, match="generations must be at least 0, not -1"):
        recipe(generations=-1)


@pytest.mark.parametrize(
    ("recipe", "argument"),
    [
        (born_again, "form"),
        (tf_kd_self, "form"),
        (tf_kd_reg, "form"),
        (knowledge_adjustment, "adjustment"),
        (dynamic_temperature, "temperature_rule"),
        (distill, "method"),
        (distill, "adjustment"),
        (distill, "temperature_rule"),
    ],
)
def test_an_unknown_word_is_an_error(recipe: Callable[..., Lineage], argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}.*'offical'"):
        call(recipe, **{argument: "offical"})


def test_one_teacher_is_a_tuple_of_one() -> None:
    with pytest.raises((TypeError, ValueError), match=r"teacher.*'resnet14'"):
        distill(teacher="resnet14")  # type: ignore[arg-type]  # read letter by letter it would be eight networks


def test_the_expected_scores_of_the_paper() -> None:
    scores = expected_scores(tolerant(CommonOptions(data="cifar100")), num_classes=100)
    assert scores == pytest.approx((0.6, 0.76, 0.856, 0.9136, 0.94816, 0.968896))
    slower = expected_scores(tolerant(teacher_weight=0.7), 10)
    assert slower == pytest.approx((0.6, 0.72, 0.804, 0.8628, 0.90396, 0.932772))
    first, *later = expected_scores(tolerant(generations=2, tolerance=0.2), 10)
    assert first == pytest.approx(0.6)
    assert later == pytest.approx([0.693586, 0.758987], abs=1e-6)


@repeatable
@given(st.floats(0.21, 0.99))
def test_three_ways_to_one_expected_score(primary: float) -> None:
    for lineage in (
        label_smoothing(primary=primary),
        confidence_penalty(primary=primary),
        tolerant(primary=primary, generations=0),
    ):
        assert expected_scores(lineage, CommonOptions().dataset_info().num_classes) == pytest.approx((primary,))


def test_other_expected_scores() -> None:
    assert expected_scores(baseline(), 10) == (1.0,)
    assert expected_scores(label_smoothing(CommonOptions(data="cifar100")), 100) == pytest.approx((0.901,))
    assert expected_scores(born_again(), 10) == (1.0, 1.0, 1.0, 1.0)
    assert expected_scores(distill(), 10) == (1.0, 1.0)


def test_several_teachers_teach_the_mean_of_their_scores() -> None:
    first, second, third = tolerant(generations=2).generations
    lineage = replace(tolerant(), generations=(first, second, replace(third, teachers=(0, 1))))
    assert expected_scores(lineage, 10) == pytest.approx([0.6, 0.76, 0.4 + 0.6 * (0.6 + 0.76) / 2])
    unequal = replace(third, teachers=(0, 1), teacher_shares=(1.0, 3.0))
    last = expected_scores(replace(lineage, generations=(first, second, unequal)), 10)[-1]
    assert last == pytest.approx(0.4 + 0.6 * (0.6 + 3 * 0.76) / 4)
    decoupled = distill(method="decoupled").generations[-1]  # of which no closed form is known
    for teachers, expected in (((0,), 1.0), ((1,), None), ((0, 1), None)):
        learner = replace(second, name="learner", teachers=teachers)
        line = replace(lineage, generations=(baseline().generations[0], decoupled, learner))
        assert expected_scores(line, 10)[1:] == (None, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CommonOptions(model="resnet21"), "unknown model 'resnet21'"),
        (CommonOptions(data="cifar1000"), "unknown dataset 'cifar1000'"),
        (CommonOptions(epochs=0), "epochs must be at least 1, not 0"),
        (CommonOptions(lr=-0.1), "lr must be at least 0, not -0.1"),
        (CommonOptions(data="cifar100", holdout=50_000), "holdout"),
    ],
)
@pytest.mark.parametrize("recipe", [baseline, tolerant, distill])
def test_mistakes_in_common_options_are_reported_before_anything_is_trained(
    recipe: Callable[..., Lineage], options: CommonOptions, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        recipe(options)


def test_a_recipe_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from tutelage.recipes.baselines import baseline\ndef mine():\n    return baseline()\n")
    assert find_recipe(f"{file}:mine")() == baseline()
    with pytest.raises(ValueError, match=re.escape("unknown recipe 'tolerent': did you mean tolerant?")):
        find_recipe("tolerent")
