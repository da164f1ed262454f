"""Invalid requests: TOML files of studies, and the JSON files of runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Many, Tried
from tutelage import serialization, storage
from tutelage.artifacts.config import model_address
from tutelage.artifacts.metadata import parse
from tutelage.artifacts.model import Model
from tutelage.cli import command
from tutelage.evaluation import measure
from tutelage.recipes import call, find_recipe, option_types, recipes
from tutelage.recipes.study_spec import MAX_TOML, read_study
from tutelage.storage import read_manifest
from tutelage.study import Study
from tutelage.study.files import Failure, StudyRecord, load_failures, load_study, write_failures, write_study
from tutelage.validation import MAX_DEPTH, checked, parse_json

pytestmark = pytest.mark.fault(30)

ONE = 'arms = ["baseline"]\n'
BIG = 9 * 10**22
TOML = {
    # numbers: text and invalid numbers
    ONE + 'lr = "0.1"': "lr: expected a number, not '0.1'",
    ONE + 'epochs = "2"': "epochs: expected a whole number, not '2'",
    ONE + "epochs = 2.0": "epochs: expected a whole number, not 2.0",
    ONE + "epochs = true": "epochs: expected a whole number, not True",
    ONE + "epochs = 2020-01-01": "epochs: expected a whole number, not datetime.date(2020, 1, 1)",
    ONE + "epochs = [2]": "epochs: expected a whole number, not [2]",
    ONE + "lr = nan": "lr: expected a number, not nan",
    ONE + "lr = -inf": "lr: expected a number, not -inf",
    ONE + "lr = 1e400": "lr: expected a number, not inf",
    ONE + "lr = -0.1": "arms[0]: lr must be at least 0, not -0.1",
    ONE + f"epochs = {BIG}": f"epochs: expected a whole number, not {BIG}",
    ONE + "epochs = " + "9" * 5000: "Exceeds the limit (4300 digits) for integer string conversion",
    ONE + f"seeds = [{BIG}]": f"seeds: expected a list, each a whole number, not [{BIG}]",
    ONE + "seeds = [-1]": "seeds are whole numbers from 0 on, not [-1]",
    ONE + "seeds = [0, 0]": "a study needs seeds, each once, not [0, 0]",
    ONE + "seeds = 3": "seeds: expected a list, each a whole number, not 3",
    ONE + "train_size = -1": "train_size must be from 10 (one image per class) to 1796",
    # wrong types
    ONE + "data = 3": "data: expected text, not 3",
    ONE + 'meter = "yes"': "meter: expected true or false, not 'yes'",
    ONE + "name = 5": "name: expected text, not 5",
    ONE + "reference = ['baseline']": "reference: expected text, not ['baseline']",
    'arms = "baseline"': "arms: expected a list of arms, not 'baseline'",
    "arms = {recipe = 'baseline'}": "arms: expected a list of arms, not {'recipe': 'baseline'}",
    "arms = [3]": "arms[0]: an arm is a recipe's name, or a table with a recipe in it, not 3",
    "arms = [['baseline']]": "arms[0]: an arm is a recipe's name, or a table with a recipe in it, not ['baseline']",
    "arms = [{name = 'a'}]": "arms[0]: an arm is a recipe's name, or a table with a recipe in it, not {'name': 'a'}",
    "arms = [{recipe = 7}]": "arms[0]: recipe: expected text, not 7",
    "arms = [{recipe = 'baseline', name = 7}]": "arms[0].name: expected text, not 7",
    "arms = []": "a study needs at least one lineage",
    "epochs = 2": "a study needs arms: write arms = [...] or [[arms]] tables, each with a recipe",
    "": "a study needs arms",
    # unknown names, and the nearest known one
    ONE + "sedes = [0]": "unknown key 'sedes': did you mean seeds?",
    ONE + "epoch = 2": "unknown key 'epoch': did you mean epochs?",
    "arms = ['baselin']": "arms[0]: unknown recipe 'baselin': did you mean baseline?",
    "arms = [{recipe = 'tolerant', primry = 0.5}]": "unknown argument of tolerant 'primry': did you mean primary?",
    ONE + "model = 'resnet21'": "arms[0]: unknown model 'resnet21': did you mean resnet",
    ONE + "data = 'cifar1000'": "arms[0]: unknown dataset 'cifar1000': did you mean cifar10",
    ONE + "reference = 'tolerant'": "unknown reference 'tolerant': choose from baseline",
    # duplicates
    ONE + "epochs = 2\nepochs = 3": "Cannot overwrite a value",
    "arms = [{recipe = 'baseline', lr = 0.1, lr = 0.2}]": "uplicate inline table key 'lr'",
    "[[arms]]\nrecipe = 'baseline'\n[arms.x]\n[arms.x]": "Cannot declare ('arms', 'x') twice",
    "arms = ['baseline', 'baseline']": "two arms of a study are named 'baseline': give each a name of its own",
    # not TOML
    "arms = [": "Invalid value (at end of document)",
    "arms": "Expected '=' after a key in a key/value pair",
    "\0": "Invalid statement (at line 1, column 1)",
    "arms = " + "[" * 5000 + "]" * 5000: "its arrays are nested too deep",
    "a" + ".a" * 32_000 + " = 1": "a key has more than 50 parts",
    "[" + "'a' . " * 10_000 + "a]": "a key has more than 50 parts",
    ONE + "#" * MAX_TOML: f"is larger than {MAX_TOML} bytes, the limit for a study",
}
"""TOML that is malformed or an invalid request, and the message for it."""


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_RUNS", "runs")

    def run(*words: str) -> str:
        """Execute a command that is refused with one line, and writes nothing."""
        code = command(list(words))
        captured = capsys.readouterr()
        assert (code, captured.out, captured.err.count("\n")) == (2, "", 1), (code, captured)
        assert not (tmp_path / "runs").exists()
        return captured.err

    return run


def test_an_invalid_file_is_refused(refused: Any, tmp_path: Path, tried: Tried) -> None:
    for text, expected in TOML.items():
        (tmp_path / "a.toml").write_text(text)
        message = refused("study", "a.toml")
        assert message.startswith("tutelage: a.toml")
        assert expected in message, (text[:200], message)
        assert len(message) < 1000
    for content in (b"\xff\xfe", b"arms = ['\x80']", b"\xef\xbb\xbfarms = ['baseline']"):
        (tmp_path / "a.toml").write_bytes(content)
        assert refused("study", "a.toml").startswith("tutelage: a.toml: ")
    (tmp_path / "folder.toml").mkdir()
    assert "folder.toml" in refused("study", "folder.toml")
    assert "nowhere.toml" in refused("study", "nowhere.toml")
    tried(len(TOML) + 5, "TOML files refused in one line that names the place")


def test_run_accepts_no_file(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(ONE)
    assert "unknown recipe 'a.toml'" in refused("run", "a.toml")
    assert "a TOML file is for tutelage study" in refused("run", "a.toml")


@pytest.mark.parametrize(("option", "value"), [("--lr", "nan"), ("--lr", "inf"), ("--epochs", str(BIG))])
def test_the_command_line_refuses_such_numbers_too(refused: Any, option: str, value: str) -> None:
    assert f"{option[2:]}: expected a number, not {value}" in refused("run", "baseline", option, value)


def accepts_text(annotation: Any) -> bool:
    return "str" in str(annotation)


def test_a_file_cannot_name_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried) -> None:
    """No argument of any recipe that accepts text: running the named code would create the marker."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nnet = recipe = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    count, refused = 0, set()
    for name in ("evil.py:net", "evil:net", f"{tmp_path}/evil.py:net"):
        arms = [{"recipe": name}]
        for recipe in recipes():
            options = [option for option, kind in option_types(find_recipe(recipe)).items() if accepts_text(kind)]
            arms += [{"recipe": recipe, option: value} for option in options for value in (name, [name])]
        for arm in arms:
            fields = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arm.items())
            (tmp_path / "a.toml").write_text(f"arms = [{{{fields}}}]")
            try:
                read_study(tmp_path / "a.toml")
            except ValueError as error:
                if "add --trust" in str(error):
                    refused |= arm.keys() - ({"recipe"} if len(arm) > 1 else set())
            assert not (tmp_path / "marker").exists(), arm
            count += 1
    assert {"recipe", "model", "teacher"} <= refused
    tried(count, "names of code in TOML files, none of which was imported")


def test_a_trusted_file_may_name_code(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "mine.py").write_text(
        f"open({str(tmp_path / 'marker')!r}, 'w').close()\nfrom tutelage.recipes.baselines import baseline\n"
    )
    (tmp_path / "a.toml").write_text('arms = [{recipe = "mine.py:baseline", epochs = 2}]')
    assert "'mine.py:baseline' is code outside tutelage" in refused("study", "a.toml")
    assert not (tmp_path / "marker").exists()
    assert read_study(tmp_path / "a.toml", trust=True)[0].lineages[0].name == "baseline"
    assert (tmp_path / "marker").exists()
    (tmp_path / "a.toml").write_text('arms = [{recipe = "os:system", command = "true"}]')
    assert "the recipe system must return a Lineage, not int" in refused("study", "a.toml", "--trust")


# ---------------------------------------------------------------- JSON of a run


WRONG = (
    None,
    True,
    -1,
    1.5,
    BIG,
    "1e-3",
    "",
    [],
    {},
    [[]],
    {"is": "data:DataConfig"},
    {"is": "os:system"},
    {"function": "x"},
)


def study_record() -> StudyRecord:
    lineages = (call("distill", epochs=2, temperature=2.0), call("tolerant", epochs=2, generations=1))
    return StudyRecord(
        study=Study(lineages=lineages), precision="fp32", fingerprints=("f", "f"), num_classes=(10, 10), command="t"
    )


def variants(tree: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The tree with each of its values replaced by each wrong one, left out, or renamed to an unknown key."""

    def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, part in inner:
            yield (*path, step)
            yield from places(part, (*path, step))

    for path in places(tree):
        for wrong in (*WRONG, "left out", "renamed"):
            variant = copy.deepcopy(tree)
            holder = variant
            for step in path[:-1]:
                holder = holder[step]
            if wrong == "left out":
                del holder[path[-1]]
            elif wrong == "renamed" and isinstance(holder, dict):
                holder[f"{path[-1]}s"] = holder.pop(path[-1])
            else:
                holder[path[-1]] = copy.deepcopy(wrong)
            yield path, variant


def test_a_study_with_any_value_changed_is_read_or_refused(tmp_path: Path, many: Many, tried: Tried) -> None:
    """The result is a ``StudyRecord`` with the right types, or one error that names the file."""
    write_study(study_record(), tmp_path)
    name = study_record().study.name
    path = tmp_path / "studies" / name / "study.json"
    count = refused = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        for place, tree in islice(variants(serialization.to_json(study_record())), 0, None, many(11, 1)):
            storage.commit(path.parent, {"study.json": json.dumps(tree).encode()})
            count += 1
            try:
                record = load_study(name, tmp_path)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error), place  # noqa: PT017 - either outcome is right
            else:
                assert serialization.digest(record)
    assert refused > 0.8 * count
    tried(count, f"changed values in a study.json, {refused} refused by name and the others of the right kind")


def test_a_model_with_any_value_changed_is_read_or_refused(tmp_path: Path, many: Many, tried: Tried) -> None:
    labels = torch.arange(6) % 3
    logits = torch.eye(3)[labels]
    trees: dict[str, Any] = {
        "evaluation.json": {name: measure(logits, labels).to_json() for name in ("test", "train", "holdout")},
        "config.json": {
            "place": 0,
            "seed": 0,
            "lineage_seed": 0,
            "dependencies": {"source": "tutelage", "numerics": 1},
            "lineage": serialization.to_json(study_record().study.lineages[0]),
            "class_names": ["a", "b", "c"],
            "input": [1, 8, 8],
            "data_fingerprint": "f",
            "data_notes": [],
            "precision": "fp32",
            "teachers": [],
            "normalization": {"is": "data:Normalization", "mean": [0.5], "std": [0.2], "size": None},
        },
    }
    model, count = Model(address=model_address(trees["config.json"]), folder=tmp_path), 0
    storage.commit(tmp_path, {name: json.dumps(tree).encode() for name, tree in trees.items()})
    readers = {
        "evaluation.json": (model.evaluation,),
        "config.json": (model.config, model.network_name, model.normalization),
    }
    for parts in readers.values():
        for part in parts:
            part()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        for name, tree in trees.items():
            for place, variant in islice(variants(tree), 0, None, many(4, 1)):
                if place[:1] == ("lineage",) and len(place) > 4:
                    continue  # covered by the test above
                storage.commit(
                    tmp_path,
                    {file: json.dumps(variant if file == name else t).encode() for file, t in trees.items()},
                )
                for part in readers[name]:
                    count += 1
                    try:
                        part()
                    except ValueError as error:
                        assert name in str(error), place  # noqa: PT017 - either outcome is right
    tried(count, "changed values in the JSON of a model, read or refused by name")


def test_metadata_with_any_value_changed_is_read_or_refused(tried: Tried) -> None:
    metadata = {
        "format": 1,
        "model": "resnet8",
        "input": {"channels": 1, "height": 8, "width": 8},
        "normalization": {"mean": [0.5], "std": [0.25], "size": None},
        "class_names": ["a", "b"],
        "about": {},
    }
    assert parse(metadata, "model.json").model == "resnet8"
    count = 0
    for place, tree in variants(metadata):
        count += 1
        try:
            parse(tree, "model.json")
        except ValueError as error:
            assert str(error).startswith("model.json is not model metadata"), place  # noqa: PT017 - either is right
    tried(count, "changed values in model metadata, read or refused by name")


def test_invalid_failures(tmp_path: Path) -> None:
    write_study(study_record(), tmp_path)
    name = study_record().study.name
    write_failures(name, [Failure(seed=1, arm="a", message="why")], tmp_path)
    assert load_failures(name, tmp_path) == (Failure(seed=1, arm="a", message="why"),)
    path = tmp_path / "studies" / name / "failures.json"
    original = json.loads(path.read_text())
    for wrong in (None, 3, "x", {}, [3], [[]], [{"is": "data:DataConfig"}], [original[0] | {"seed": "1"}]):
        path.write_text(json.dumps(wrong))
        with pytest.raises(storage.Damaged, match=r"failures\.json: \$"):
            load_failures(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"a": 1, "a": 2}', "it contains the key 'a' twice"),
        ('[{"b": {"long": 1, "long": 1}}]', "it contains the key 'long' twice"),
        ("[NaN]", "NaN is not a finite number"),
        ('{"lr": -Infinity}', "-Infinity is not a finite number"),
        ("1e999", "1e999 is not a finite number"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 102 + "]" * 102, f"it is nested deeper than {MAX_DEPTH}"),
        ('{"a":' * 200 + "1" + "}" * 200, f"it is nested deeper than {MAX_DEPTH}"),
        ("[" * 10**6 + "]" * 10**6, f"it is nested deeper than {MAX_DEPTH}"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"\x80\x04]", "codec can't decode"),
        ("\x1b[2J", "Expecting value"),
    ],
)
def test_invalid_json(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.json cannot be read as JSON: ") as error:
        parse_json(text, "a.json")
    assert message in str(error.value)
    assert str(error.value).isprintable()


def test_valid_json() -> None:
    assert parse_json("[" * 100 + "]" * 100, "a.json") is not None
    assert parse_json('{"a": [1, 2.5, null, true, "é"], "b": {}}', "a.json") == {
        "a": [1, 2.5, None, True, "é"],
        "b": {},
    }


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ([1, 2], tuple[int, int, int], "a list of 3: a whole number, a whole number, a whole number, not [1, 2]"),
        ([1, "2"], tuple[int, int], "a list of 2: a whole number, a whole number, not [1, '2']"),
        (2**63, int, f"a whole number, not {2**63}"),
        (float("inf"), float | None, "a number, not inf"),
        ("x" * 500, int, "a whole number, not 'xxx"),
        ("kl_divergence", Any, None),
        ({}, dict, None),
    ],
)
def test_checked_values(value: Any, kind: Any, expected: str | None) -> None:
    if expected is None:
        assert checked(value, kind, "here") == value
        return
    with pytest.raises(ValueError, match=r"^here: expected ") as error:
        checked(value, kind, "here")
    assert str(error.value).startswith(f"here: expected {expected}")
    assert len(str(error.value)) < 200


def test_a_manifest_with_any_value_changed(tmp_path: Path, tried: Tried) -> None:
    storage.commit(tmp_path, {"a": b"1", "b": b"2"}, note={"seed": 1})
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert read_manifest(tmp_path)["note"] == {"seed": 1}
    count = 0
    for _, tree in variants({key: value for key, value in manifest.items() if key != "sha256"}):
        (tmp_path / "manifest.json").write_text(json.dumps(tree))
        count += 1
        try:
            storage.verify(tmp_path)
        except storage.Damaged as error:
            assert str(tmp_path) in str(error)  # noqa: PT017 - either outcome is right
    tried(count, "changed values in a manifest, read or refused by name")
