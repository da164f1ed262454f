"""The published numbers: golden cells, a second transcription, and the sums that the papers print."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import FrozenInstanceError
from importlib.resources import files
from pathlib import Path

import pytest

from tutelage.published import PublishedCell, PublishedTable, cell, cells, tables
from tutelage.published.cells import CERTAINTIES, METRICS, NOT_FOUND

SECOND = Path(__file__).with_name("printed.md")
ACC, ERR, TOP5 = "top-1 accuracy %", "top-1 error %", "top-5 error %"

# (paper, table, metric): how many cells, and one of them
GOLDEN: dict[tuple[str, str, str], tuple[int, str, str, float]] = {
    ("1805.05551", "1", ERR): (46, "DenseNet-190, D(0.6, 0.7), ensemble", "gen 5", 14.85),
    ("1805.05551", "1, state of the arts", ERR): (6, "state of the arts", "6", 14.90),
    ("1805.05551", "2", ERR): (12, "ResNet18, D(0.6, 0.6)", "gen 0", 32.52),
    ("1805.05551", "2", TOP5): (12, "ResNet18, D(0.6, 0.6), ensemble", "gen 5", 9.23),
    ("1805.05551", "2, gains", "top-1 error gain, points"): (3, "SORT", "gain", 0.55),
    ("1805.05551", "2, gains", "top-5 error gain, points"): (3, "SE", "gain", 0.80),
    ("1805.05551", "figure 1", "mean score %"): (2, "right class", "CIFAR-100", 98.4),
    ("1805.05551", "figure 1", "training accuracy %"): (2, "training accuracy", "CIFAR-10", 99.986),
    ("1805.05551", "AAAI 2019, best accuracy", ACC): (1, "tolerant teacher", "best", 73.72),
    ("1909.11723", "1", ACC): (32, "DenseNet121, ShuffleNetV2", "Re-KD", 79.83),
    ("1909.11723", "2", ACC): (16, "ResNeXt29, ResNet18", "normal KD", 95.80),
    ("1909.11723", "3", ACC): (20, "ResNet50, ResNet18", "Re-KD", 67.89),
    ("1909.11723", "4", ACC): (16, "ResNeXt29, ShuffleNetV2", "De-KD", 72.26),
    ("1909.11723", "4, Tiny-ImageNet", ACC): (8, "ResNet50, MobileNetV2", "De-KD", 56.02),
    ("1909.11723", "5", ACC): (12, "ResNeXt29", "Tf-KD_self", 82.08),
    ("1909.11723", "5", "top-1 accuracy gain, points"): (6, "GoogLeNet", "normal KD gain", 1.39),
    ("1909.11723", "6 to 8, Tiny-ImageNet", ACC): (8, "DenseNet121", "Tf-KD_self", 68.29),
    ("1909.11723", "6 to 8, Tiny-ImageNet", "top-1 accuracy gain, points"): (4, "ResNet50", "normal KD gain", 0.76),
    ("1909.11723", "6 to 8, ImageNet", ACC): (9, "ResNeXt101", "Tf-KD_self", 79.56),
    ("1909.11723", "9", ACC): (16, "ResNet18", "+ LSR", 77.26),
    ("1909.11723", "10", ACC): (16, "ResNet50", "Tf-KD_reg", 67.92),
    ("1909.11723", "11", ACC): (12, "ResNeXt101", "Tf-KD_reg", 79.76),
    ("1909.11723", "figure 2", ACC): (4, "ResNeXt29 teachers", "highest", 71.8),
    ("1805.04770", "1", ERR): (16, "WRN-28-10", "BAN", 3.86),
    ("1805.04770", "2", ERR): (39, "DenseNet-80-120", "Ens*3", 14.9),
    ("1805.04770", "3", ERR): (12, "WRN-28-2", "DenseNet-90-60 student", 18.49),
    ("1805.04770", "4", ERR): (8, "compression 0.5", "error", 19.83),
    ("1805.04770", "5", ERR): (12, "WRN-4-0.5", "BAN", 17.13),
    ("1805.04770", "6", "perplexity"): (8, "LSTM", "test BAN+L", 68.56),
    ("1910.10699", "same type", ACC): (104, "PKT", "resnet56 to resnet20", 70.34),
    ("1910.10699", "different type", ACC): (84, "AT", "vgg13 to MobileNetV2", 59.40),
    ("2403.01427", "same type", ACC): (51, "KD + DOT", "vgg13 to vgg8", 73.77),
    ("2403.01427", "different type", ACC): (49, "MLKD + LS(td)", "resnet32x4 to wrn-40-2", 79.66),
    ("2203.08679", "same type", ACC): (7, "DKD", "resnet56 to resnet20", 71.97),
    ("2203.08679", "different type", ACC): (11, "KD", "wrn-40-2 to ShuffleNetV1", 74.83),
    ("2203.08679", "ImageNet", ACC): (6, "KD + DOT", "ResNet50 to MobileNetV1", 73.09),
    ("2205.10536", "same type", ACC): (3, "DIST", "resnet56 to resnet20", 71.75),
    ("2205.10536", "different type", ACC): (3, "DIST", "resnet32x4 to ShuffleNetV1", 76.34),
    ("2205.10536", "ImageNet", ACC): (3, "KD", "ResNet34 to ResNet18", 71.21),
    ("PkuDavidGuan/Distillation", "README, teachers", ACC): (3, "1.0x", "accuracy", 78.11),
    ("PkuDavidGuan/Distillation", "README, students", ACC): (9, "2.0x to 1.0x", "SP", 85.32),
    ("AberHu/Knowledge-Distillation-Zoo", "README, baselines", ACC): (4, "resnet110", "CIFAR-100", 73.15),
    ("AberHu/Knowledge-Distillation-Zoo", "README, CIFAR-10", ACC): (36, "AB", "resnet110 to resnet110", 94.63),
    ("AberHu/Knowledge-Distillation-Zoo", "README, CIFAR-100", ACC): (36, "CC", "resnet110 to resnet20", 69.33),
}
MISSING = {
    ("1805.05551", "figure 2"),
    ("1805.05551", "AAAI 2019, baselines"),
    ("1805.05551", "AAAI 2019, distances"),
    ("1805.05551", "AAAI 2019, transfer"),
    *(("1911.07471", name) for name in ("CIFAR-100", "CINIC-10", "Tiny-ImageNet", "ablations", "combinations")),
}
RANGES = {"perplexity": (50.0, 100.0), "points": (0.0, 5.0), "%": (2.0, 100.0)}


@pytest.mark.parametrize("place", GOLDEN, ids=" ".join)
def test_a_golden_cell_and_the_number_of_cells(place: tuple[str, str, str]) -> None:
    count, row, column, value = GOLDEN[place]
    paper, table, metric = place
    assert len(cells(paper, table, metric=metric)) == count
    assert cell(paper, table, row, column, metric).value == value


def test_every_table_is_above_or_was_not_found() -> None:
    found = {(table.paper, table.table, table.metric) for table in tables() if table.certainty != NOT_FOUND}
    assert found == set(GOLDEN)
    assert {(table.paper, table.table) for table in tables() if table.certainty == NOT_FOUND} == MISSING
    assert len(cells()) == sum(count for count, *_ in GOLDEN.values())


def test_what_was_not_found_holds_no_number() -> None:
    for table in tables():
        if table.certainty == NOT_FOUND:
            assert (table.cells, table.metric) == ((), "")
            assert not re.search(r"\d\.\d\d", " ".join((table.caption, *table.notes)))


def test_no_cell_without_certainty_metric_and_a_plausible_value() -> None:
    for one in cells():
        assert one.certainty in CERTAINTIES
        assert one.certainty != NOT_FOUND
        assert one.metric in METRICS
        low, high = next(limits for unit, limits in RANGES.items() if one.metric.endswith(unit))
        assert low < one.value <= high, one
        assert one.spread is None or 0.0 < one.spread < 0.5, one
        assert all(text.strip() == text and text for text in (one.paper, one.table, one.row, one.column))


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(one.name for one in cells()).items() if count > 1] == []
    assert [place for place, count in Counter(_place(table) for table in tables()).items() if count > 1] == []


def _place(table: PublishedTable) -> tuple[str, str, str]:
    return table.paper, table.table, table.metric


def test_only_secondary_sources_are_marked_secondary() -> None:
    assert {one.paper for one in cells() if one.certainty == "secondary"} == {
        "1805.05551",  # the one number of its second version
        "PkuDavidGuan/Distillation",
        "AberHu/Knowledge-Distillation-Zoo",
    }
    assert all("README" in one.source for one in cells() if one.certainty == "official code")
    doubted = {one.paper for one in cells() if "doubtful" in one.source}
    assert doubted == {"PkuDavidGuan/Distillation"}


def _second() -> dict[tuple[str, str, str], dict[tuple[str, str], tuple[float, float | None]]]:
    """The other transcription: a Markdown table under each heading ``paper; table; metric``."""
    found: dict[tuple[str, str, str], dict[tuple[str, str], tuple[float, float | None]]] = {}
    for section in SECOND.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        paper, table, metric = heading.split("; ")
        head, _, *body = [[word.strip() for word in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
        values = {}
        for row in body:
            for column, text in zip(head[1:], row[1:], strict=True):
                if text:
                    value, _, spread = text.partition(" +- ")
                    values[row[0], column] = (float(value), float(spread) if spread else None)
        found[paper, table, metric] = values
    return found


@pytest.mark.parametrize("place", _second(), ids=" ".join)
def test_a_second_transcription_agrees(place: tuple[str, str, str]) -> None:
    paper, table, metric = place
    ours = {(one.row, one.column): (one.value, one.spread) for one in cells(paper, table, metric=metric)}
    assert ours == _second()[place]


BASELINE = re.compile(r"([\d.]+) above (the student's baseline of Table 1|the teacher's baseline|the baseline)")
PRINTED = re.compile(r"prints a gain of (\d\.\d+)|\+(\d\.\d+) in Table 5")


def _baseline(one: PublishedCell, whose: str) -> float:
    if whose == "the student's baseline of Table 1":
        student = one.row.split(", ")[1]
        row = next(other.row for other in cells(one.paper, "1") if other.row.endswith(f", {student}"))
        return cell(one.paper, "1", row, "student baseline").value
    column = "teacher baseline" if whose == "the teacher's baseline" else "baseline"
    return cell(one.paper, one.table, one.row, column, one.metric).value


def test_derived_gains_are_what_the_cells_say() -> None:
    noted = [(one, note, found) for one in cells() for note in one.notes if (found := BASELINE.search(note))]
    assert len(noted) == 10  # nine contradictions of the Tf-KD paper, and one gain that is right
    contradictions = 0
    for one, note, found in noted:
        gain = one.value - _baseline(one, found[2])
        assert gain == pytest.approx(float(found[1]), abs=0.005), note
        if printed := PRINTED.search(note):
            contradictions += 1
            assert abs(gain - float(printed[1] or printed[2])) > 0.015, note
    assert contradictions == 9


def test_gains_of_normal_distillation_agree_with_table_1() -> None:
    for row, gain in (("MobileNetV2", 2.67), ("ShuffleNetV2", 1.71)):
        both = f"ResNet18, {row}"
        taught, alone = (cell("1909.11723", "1", both, name).value for name in ("normal KD", "student baseline"))
        assert taught - alone == pytest.approx(gain)
        assert cell("1909.11723", "5", row, "normal KD gain").value == gain


def test_the_gains_of_the_tolerant_paper() -> None:
    for metric, gain in ((ERR, "top-1 error gain, points"), (TOP5, "top-5 error gain, points")):
        plain = cell("1805.05551", "2", "ResNet18, baseline", "gen 0", metric).value
        last = cell("1805.05551", "2", "ResNet18, D(0.6, 0.6)", "gen 5", metric).value
        assert plain - last == pytest.approx(cell("1805.05551", "2, gains", "ours", "gain", gain).value)
    patriarch = cell("1805.05551", "2", "ResNet18, D(0.6, 0.6)", "gen 0", ERR).value
    assert patriarch - cell("1805.05551", "2", "ResNet18, baseline", "gen 0", ERR).value == pytest.approx(2.02)


def test_the_same_baseline_is_the_same_everywhere() -> None:
    alone: dict[str, set[float]] = {}
    for table in tables("1909.11723"):
        for one in table.cells:
            if table.data == "cifar100" and one.column == "baseline":
                alone.setdefault(one.row, set()).add(one.value)
            if table.data == "cifar100" and one.column in ("teacher baseline", "student baseline"):
                label = one.row.split(", ")[one.column.startswith("student")]
                alone.setdefault(label, set()).add(one.value)
    assert alone.pop("GoogLeNet") == {78.72, 78.15}  # as the paper has it
    assert all(len(values) == 1 for values in alone.values()), alone


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("1805.0555", "1"), "unknown paper '1805.0555': did you mean 1805.05551"),
        (("1805.05551", "9"), "unknown table '9': choose from"),
        (("1911.07471", "CIFAR-10"), "unknown table 'CIFAR-10': did you mean CIFAR-100"),
    ],
)
def test_a_name_that_does_not_exist(names: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        cells(*names)


def test_an_empty_or_ambiguous_cell() -> None:
    with pytest.raises(ValueError, match="unknown column 'gen 3': did you mean gen 0"):
        cell("1805.05551", "1", "DenseNet-100, baseline", "gen 3")
    with pytest.raises(ValueError, match="printed in several metrics: choose 'top-1 error %' or 'top-5 error %'"):
        cell("1805.05551", "2", "ResNet18, baseline", "gen 0")
    with pytest.raises(ValueError, match="the numbers of this table were not found"):
        cell("1911.07471", "CIFAR-100", "KA", "accuracy")


def test_cells_are_frozen_and_the_files_are_part_of_the_package() -> None:
    with pytest.raises(FrozenInstanceError):
        cells()[0].value = 0.0  # type: ignore[misc]
    found = [path.name for path in files("tutelage.published").iterdir() if path.name.endswith(".toml")]
    assert len(found) == len({table.paper for table in tables()}) == 10
