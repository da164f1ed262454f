"""Tables of hyper-parameters: values against their sources, what the papers print, and faults in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

import pytest

from tutelage.experiments.hyperparameters import crd, logits, teacher_free
from tutelage.experiments.hyperparameters.reader import StepSchedule, parse_hyperparameters
from tutelage.models.build import names as model_names
from tutelage.published import cells
from tutelage.training import Milestones, WarmUp


def printed(paper: str, table: str) -> list[tuple[str, str]]:
    """The rows and columns of a table that hold a number."""
    return [(cell.row, cell.column) for cell in cells(paper, table)]


def test_the_networks_of_the_benchmark_are_those_that_its_tables_print() -> None:
    columns = {column for table in ("same type", "different type") for _, column in printed("1910.10699", table)}
    labels = {label for column in columns for label in column.split(" to ")}
    assert {network.printed for network in crd.HYPERPARAMETERS.networks} == labels
    assert len(crd.NETWORKS) == len(crd.HYPERPARAMETERS.networks) == 15
    assert set(crd.NETWORKS) <= set(model_names())
    assert [network.model for network in crd.NETWORKS.values() if not network.pre_activations] == ["shufflenet_v2"]
    for network in crd.NETWORKS.values():
        assert len(network.pre_activations) in (0, len(network.feature_maps))
    assert crd.NETWORKS["resnet110"].pre_activations == ("stage1.17.sum", "stage2.17.sum", "stage3.17.sum")
    slow = {network.model: network.lr for network in crd.NETWORKS.values() if network.lr is not None}
    assert slow == {"mobilenet_v2_half": 0.01, "shufflenet_v1": 0.01, "shufflenet_v2": 0.01}
    assert (crd.FIRST_STAGE.methods, crd.FIRST_STAGE.epochs) == (("AB", "FSP"), 30)


@pytest.mark.parametrize(
    ("pair", "standardized", "standardized_decoupled", "other_weight"),
    [
        ("resnet56 to resnet20", (2.0, 9.0), (3.0, 18.0, 2.0), 2.0),
        ("vgg13 to vgg8", (3.0, 9.0), (2.0, 15.0, 2.0), 6.0),
        ("resnet110 to resnet20", (4.0, 12.0), (2.0, 15.0, 2.0), None),
        ("resnet32x4 to wrn-40-2", (3.0, 9.0), (2.0, 9.0, 8.0), None),
        ("wrn-40-2 to resnet8x4", (2.0, 9.0), (2.0, 18.0, 2.0), None),
        ("ResNet50 to MobileNetV2", (3.0, 1.0), (2.0, 15.0, 2.0), 8.0),
    ],
)
def test_the_values_of_a_pair(
    pair: str,
    standardized: tuple[float, float],
    standardized_decoupled: tuple[float, float, float],
    other_weight: float | None,
) -> None:
    values = logits.PAIRS[pair]
    assert values.standardized == logits.Standardized(temperature=standardized[0], teacher_weight=standardized[1])
    assert values.standardized_decoupled == logits.StandardizedDecoupled(
        temperature=standardized_decoupled[0],
        teacher_weight=standardized_decoupled[1],
        other_weight=standardized_decoupled[2],
    )
    assert values.decoupled == (None if other_weight is None else logits.Decoupled(other_weight=other_weight))


def test_every_printed_method_has_values_for_its_pair() -> None:
    assert len(logits.PAIRS) == len(logits.HYPERPARAMETERS.pairs) == 16
    for table in ("same type", "different type"):
        rows = [*printed("2403.01427", table), *printed("2203.08679", table)]
        for row, column in rows:
            pair = logits.PAIRS[column]
            assert (row != "KD + LS(td)") or pair.standardized
            assert (row != "DKD + LS(td)") or pair.standardized_decoupled
            assert (row != "MLKD") or pair.multi_level
            assert (row != "DKD") or pair.decoupled or pair.standardized_decoupled
    assert {f"{pair.multi_level}" for pair in logits.PAIRS.values() if pair.student == "ShuffleNetV2"} == {
        "MultiLevel(epochs=960, lr=0.01)"
    }


def test_the_values_of_the_teacher_free_framework() -> None:
    networks = teacher_free.NETWORKS
    assert len(networks) == len(teacher_free.NETWORKS_BY_MODEL) == len(teacher_free.HYPERPARAMETERS.networks) == 7
    assert networks["ResNet18"].self_taught == teacher_free.SelfTaught(
        temperature=6.0, teacher_weight=0.95, multiplier=50.0, batch_size=128
    )
    assert networks["GoogLeNet"].virtually_taught == teacher_free.VirtuallyTaught(
        temperature=40.0, teacher_weight=0.1, multiplier=50.0, real_teacher="ResNeXt29"
    )
    assert networks["ShuffleNetV2"].normal == teacher_free.Normal(temperature=20.0, teacher_weight=0.95)
    assert {name: one.poor_teacher_epochs for name, one in networks.items() if one.poor_teacher_epochs} == {
        "ResNet18": 1,
        "ResNet50": 50,
        "ResNeXt29": 50,
    }
    assert {row for row, _ in printed("1909.11723", "5")} == {
        name for name, one in networks.items() if one.self_taught
    }
    assert {row for row, _ in printed("1909.11723", "9")} == {
        name for name, one in networks.items() if one.virtually_taught
    }


def test_milestones_stay_at_their_epochs() -> None:
    benchmark = crd.SCHEDULE
    assert benchmark.schedule().decay == Milestones(at=(150 / 240, 180 / 240, 210 / 240), factor=0.1)
    assert benchmark.schedule(epochs=480).decay == Milestones(at=(150 / 480, 180 / 480, 210 / 480), factor=0.1)
    delayed = benchmark.schedule(delay=30)
    assert delayed.epochs == 270
    assert delayed.decay == Milestones(at=(180 / 270, 210 / 270, 240 / 270), factor=0.1)
    warm = teacher_free.HYPERPARAMETERS.schedule.schedule()
    assert warm.decay == WarmUp(then=Milestones(at=(60 / 200, 120 / 200, 160 / 200), factor=0.2), over=1 / 200)


def test_every_table_is_part_of_the_package_and_says_where_its_values_come_from() -> None:
    folder = files("tutelage.experiments.hyperparameters")
    tables = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".toml")}
    assert set(tables) == {"crd.toml", "logits.toml", "teacher_free.toml"}
    assert all(re.search(r"^(source = |\[sources\])", text, re.M) for text in tables.values())


@dataclass(frozen=True, kw_only=True)
class Row:
    student: str
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Document:
    rows: tuple[Row, ...]
    methods: tuple[str, ...] = ()
    best: Row | None = None
    schedule: StepSchedule | None = None


ROW = '[[rows]]\nstudent = "vgg8"\n'


def test_a_file_becomes_a_dataclass() -> None:
    text = f'methods = ["AB"]\nbest = {{student = "vgg13", temperature = 2.5}}\n{ROW}temperature = 4\n'
    document = parse_hyperparameters(text, Document, "mine.toml")
    vgg8, vgg13 = Row(student="vgg8", temperature=4.0), Row(student="vgg13", temperature=2.5)
    assert document == Document(rows=(vgg8,), methods=("AB",), best=vgg13)
    assert type(document.rows[0].temperature) is float  # 4 and 4.0 would be two addresses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = [", "mine.toml: "),
        ("", "mine.toml: the key 'rows' is missing"),
        (ROW, "mine.toml: rows[0]: the key 'temperature' is missing"),
        (f"{ROW}temprature = 4", "mine.toml: rows[0]: unknown key 'temprature': did you mean temperature"),
        (f'{ROW}temperature = "4"', "mine.toml: rows[0].temperature: expected a number, not '4'"),
        (f"{ROW}temperature = inf", "mine.toml: rows[0].temperature: expected a number, not inf"),
        ("rows = 3", "mine.toml: rows: expected a list, not 3"),
        ("rows = [3]", "mine.toml: rows[0]: expected a table, not 3"),
        ("rows = []\nmethods = [3]", "mine.toml: methods[0]: expected text, not 3"),
        ("rows = []\n[schedule]\nepochs = 240.5", "mine.toml: schedule: the key 'source' is missing"),
        ("rows = []\nbest = true", "mine.toml: best: expected a table, not True"),
    ],
)
def test_a_fault_is_named_with_the_file_and_the_path(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_hyperparameters(text, Document, "mine.toml")
