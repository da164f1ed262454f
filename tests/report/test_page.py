"""The page without a browser: its answer, that its numbers are those of the models, and what may run in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.report import made
from tutelage import storage
from tutelage.analysis import Comparison
from tutelage.analysis.summaries import generation_summaries
from tutelage.recipes.born_again import born_again
from tutelage.report.comparison import comparison_markdown
from tutelage.report.format import Cell, text
from tutelage.report.page import render, vega
from tutelage.report.page.blocks import Chart, Section, Statement
from tutelage.report.page.build import page, sections_of
from tutelage.report.page.sections.charts import differences, over_generations
from tutelage.report.page.sections.curves import curves, energy
from tutelage.report.page.sections.summary import answer, arms
from tutelage.report.page.style import arm_styles
from tutelage.report.table import Column, Table
from tutelage.study import Failure, Study

STYLE = Path(render.__file__).with_name("page.css").read_text()


@pytest.fixture(autouse=True)
def _without_bundling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "vega", lambda: "window.vegaEmbed = null;")


def accuracy(arm: str, place: int, seed: int) -> float:
    """A spread over the seeds that all arms share, and one of their own."""
    gain = {"better": 0.05, "worse": -0.05, "same": 0.0}.get(arm, 0.02 * place)
    first = {"better": 1, "worse": 2, "same": 3, "chain": 4}.get(arm, 0)
    own = (0, 2, 1, 1, 0, 2, 1)[(first + 4 * place + 2 * seed) % 7]
    return 0.8 + 0.01 * seed + gain + 0.005 * own


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    lineages = (
        made.arm("plain"),
        *(made.arm(name, lr=lr) for name, lr in (("better", 0.2), ("worse", 0.3), ("same", 0.4))),
        made.arm("chain", born_again, lr=0.5, generations=2),
    )
    study = Study(lineages=lineages, seeds=(0, 1, 2, 3, 4))
    runs = tmp_path_factory.mktemp("compared")
    made.write(study, runs, accuracy)
    return made.comparison(study, runs)


def unpacked(text: str, name: str = "data") -> Any:
    match = re.search(rf'id="{name}">([^<]*)<', text)
    assert match is not None
    content = gzip.decompress(base64.b64decode(match[1])).decode()
    return json.loads(content) if name == "data" else content


def sentences(section: Section) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Statement)]


def leads(section: Section) -> list[tuple[str, str]]:
    return [(block.mark, block.text) for block in section.blocks if isinstance(block, Statement) and block.lead]


def test_the_answer_names_who_beats_the_reference(compared: Comparison) -> None:
    section = answer(compared)
    assert leads(section) == [
        ("better", "Better than plain, as single models: better, chain."),
        ("worse", "Worse than plain, as single model: worse."),
        ("better", "Better than plain, as ensemble: chain."),
    ]
    better = next(text for text in sentences(section) if text.startswith("better, baseline"))
    difference = compared.arms[1].difference
    assert difference is not None
    assert difference.low is not None
    assert f"{100 * difference.mean:+.2f} points (95 % interval {100 * difference.low:+.2f}" in better
    assert "after Holm's correction, 5 of 5 seeds." in better
    assert any("it costs 3 times as much to use" in text for text in sentences(section))
    assert any(
        text.startswith("No difference shown, which is not the same as none: same") for text in sentences(section)
    )


def test_nothing_shown_is_said_plainly(compared: Comparison) -> None:
    undecided = [replace(arm, verdict="not shown") if arm.corrected is not None else arm for arm in compared.arms]
    assert leads(answer(replace(compared, arms=tuple(undecided)))) == [
        ("open", "No single model is shown to be better than plain."),
        ("open", "No ensemble is shown to be better than plain."),
    ]


def test_one_seed_and_one_arm_say_so(tmp_path: Path) -> None:
    one = Study(lineages=(made.arm("plain"), made.arm("same", lr=0.4)), seeds=(3,))
    made.write(one, tmp_path, accuracy)
    compared_one = made.comparison(one, tmp_path)
    ((mark, text),) = leads(answer(compared_one))
    assert (mark, "one seed has no interval" in text) == ("open", True)
    assert any(
        "Not tested: same (one seed: no interval; McNemar p = " in text for text in sentences(answer(compared_one))
    )
    alone = Study(lineages=(made.arm("chain", born_again, generations=1),), seeds=(0, 1))
    made.write(alone, tmp_path, accuracy)
    (single, together) = leads(answer(made.comparison(alone, tmp_path)))
    assert single[1].startswith("chain, born again 1: 8")
    assert "95 % interval" in single[1]
    assert "(2 of 2 seeds)" in single[1]
    assert together[1].startswith("chain, ensemble of 0 to 1")
    assert arms(made.comparison(alone, tmp_path)).blocks == ()


def test_failed_and_missing_seeds_are_named(tmp_path: Path) -> None:
    study = Study(lineages=(made.arm("plain"), made.arm("same", lr=0.4)), seeds=(0, 1, 2))
    failure = Failure(seed=2, arm="same", message="Traceback\nthe loss is nan")
    made.write(study, tmp_path, accuracy, without=[("same", 2)], failures=[failure], watch_test=True)
    statements = sentences(answer(made.comparison(study, tmp_path)))
    assert "Failed: same, seed 2: the loss is nan" in statements
    assert "Not all seeds are finished: same (2 of 3 seeds)." in statements
    assert "The test set was watched during training; nothing was chosen by it." in statements
    empty = Study(lineages=(made.arm("plain", epochs=3),), seeds=(0,))
    made.write(empty, tmp_path, accuracy, without=[("plain", 0)])
    nothing = made.comparison(empty, tmp_path)
    assert leads(answer(nothing)) == [("failed", "Not finished: there is nothing to show yet.")]
    assert "Not finished" in page({"empty": nothing})


def test_the_table_says_what_the_markdown_says(compared: Comparison) -> None:
    (table,) = arms(compared).blocks
    assert isinstance(table, Table)
    pipes = [line for line in comparison_markdown(compared).splitlines() if line.startswith("| ")]
    for row, line in zip(table.rows, pipes[2 : 2 + len(table.rows)], strict=True):
        cells = [cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")]
        assert [cell.text for place, cell in enumerate(row) if place != 2] == cells
    assert [cell.text for cell in table.column("kind")] == ["single"] * 5 + ["ensemble"]
    numbers = [place for place, column in enumerate(table.columns, 1) if column.kind == "number"]
    assert numbers == [4, 5, 6, 7, 8, 10, 11]


def test_cells_of_numbers_carry_their_values(compared: Comparison) -> None:
    (comparison_table,) = arms(compared).blocks
    assert isinstance(comparison_table, Table)
    (element,) = re.findall(r'<table data-name="comparison".*?</table>', page({"run": compared}), re.DOTALL)
    assert 'class="number4 number5 number6 number7 number8 number10 number11"' in element
    assert element.count('<th scope="col" data-number>') == 7
    carried = [float(value) for value in re.findall(r'data-value="([^"]*)"', element)]
    columns = [column.kind == "number" for column in comparison_table.columns]
    cells = [cell for row in comparison_table.rows for cell, number in zip(row, columns, strict=True) if number]
    assert carried == [cell.value for cell in cells if cell.value is not None]
    first = compared.arms[0].top1
    assert first is not None
    assert 100 * first.mean == pytest.approx(carried[1])


def test_values_that_are_not_finite_are_those_of_the_script(compared: Comparison) -> None:
    def own(_: Comparison) -> Section:
        values = (float("inf"), float("-inf"), float("nan"), 1e-9, None, "none")
        rows = tuple((Cell(f"{value}", value),) for value in values)
        return Section(
            title="Own", blocks=(Table(name="own", title="Own", columns=(Column("x", "number"),), rows=rows),)
        )

    values = re.findall(r'<th scope="row"(?: data-value="([^"]*)")?>', page({"run": compared}, [own]))
    assert values == ["Infinity", "-Infinity", "nan", "1e-09", "", ""]


def test_the_differences_are_those_of_the_comparison(compared: Comparison) -> None:
    chart = differences(compared)
    assert chart is not None
    means = [row for row in chart.rows if row["part"] == "mean"]
    tested = [arm.difference for arm in compared.arms if arm.difference is not None]
    for row, difference in zip(means, tested, strict=True):
        assert (row["difference"], row["low"], row["high"]) == (difference.mean, difference.low, difference.high)
        seeds = [
            each["difference"] for each in chart.rows if each["part"] == "seed" and each["_label"] == row["_label"]
        ]
        assert sum(map(float, map(str, seeds))) / 5 == pytest.approx(difference.mean)
    assert {row["_label"] for row in means} == {"better", "worse", "same", "chain", "chain (ensemble)"}


def test_generations_show_the_models_numbers(compared: Comparison) -> None:
    chart = over_generations(compared, "top1", "title", "axis", ".2%")
    assert chart is not None
    generations = {(each.arm, each.place): each for each in compared.results.generations}
    for row in chart.rows:
        generation = generations[str(row["arm"]), int(str(row["place"]))]
        measures = generation.test() if row["kind"] == "single" else generation.ensemble()
        assert row["mean"] == pytest.approx(sum(each.top1 for each in measures.values()) / 5)
    assert [row["arm"] for row in chart.rows if row["_reference"]] == ["plain"]
    assert [row["place"] for row in chart.rows if row["kind"] == "ensemble"] == [1, 2]
    nll = over_generations(compared, "nll", "title", "axis", ".3f")
    assert nll is not None
    assert all(float(str(row["low"])) >= 0 for row in nll.rows)


def test_the_summaries_are_those_of_the_comparison(compared: Comparison) -> None:
    last = {
        (each.arm, each.ensemble): each.summary for each in generation_summaries(compared.results, "nll")
    }  # of each line, the last generation
    assert {(arm.arm, arm.ensemble): arm.nll for arm in compared.arms} == last


def test_an_outlier_can_be_left_out_of_sight(compared: Comparison, tmp_path: Path) -> None:
    whole = over_generations(compared, "top1", "title", "axis", ".2%")
    assert whole is not None
    assert whole.choices == ()
    study = Study(lineages=(made.arm("plain"), made.arm("chain", born_again, lr=0.5, generations=1)), seeds=(0, 1))
    made.write(study, tmp_path, lambda arm, place, seed: 0.9 if arm == "plain" or place else 0.1 + 0.01 * seed)
    chart = over_generations(made.comparison(study, tmp_path), "top1", "title", "axis", ".2%")
    assert chart is not None
    assert [choice.label for choice in chart.choices] == [
        "all generations",
        "those within 10 points of the reference",
    ]
    assert [(row["arm"], row["place"]) for row in chart.rows if not row["_near"]] == [("chain", 0), ("chain", 1)]
    assert [row["kind"] for row in chart.rows if not row["_near"]] == ["single", "ensemble"]


def test_energy_and_curves_are_means_over_the_seeds(compared: Comparison) -> None:
    chart = energy(compared)
    assert chart is not None
    row = next(row for row in chart.rows if (row["arm"], row["place"], row["rank"]) == ("chain", 2, 1))
    firsts = [measures.energy[0] for measures in compared.results.generations[-1].train().values()]
    assert row["score"] == pytest.approx(sum(firsts) / 5)
    assert chart.choices[0].label == "chain"  # the arm with the most generations
    loss, views = curves(compared, 10_000)
    assert loss.name == "curves-loss"
    assert [row["mean"] for row in loss.rows[:3]] == [2.5, 1.25, 0.83333]
    assert len(loss.rows) == 7 * 12
    assert "Not every epoch" not in loss.caption
    low, high = (float(str(views.rows[11][name])) for name in ("low", "high"))
    assert low < float(str(views.rows[11]["mean"])) < high


def test_many_curves_are_thinned_and_say_so(compared: Comparison) -> None:
    loss = curves(compared, 7 * 4)[0]
    assert [row["epoch"] for row in loss.rows[:4]] == [1, 5, 8, 12]
    assert len(loss.rows) == 7 * 4
    assert "Not every epoch is drawn" in loss.caption


def test_the_test_curve_stands_only_where_it_was_watched(compared: Comparison, tmp_path: Path) -> None:
    assert [chart.name for chart in curves(compared, 100)] == ["curves-loss", "curves-accuracy"]
    watched = Study(lineages=(made.arm("plain", epochs=4), made.arm("same", epochs=5)), seeds=(0,))
    made.write(watched, tmp_path / "other", accuracy, watch_test=True)
    last = curves(made.comparison(watched, tmp_path / "other"), 100)[-1]
    assert last.title == "Accuracy on the test set, which was watched"
    assert "Nothing was chosen by it." in last.caption


def test_every_number_can_be_traced(compared: Comparison) -> None:
    text = page({"a run": compared})
    models = [model for generation in compared.results.generations for model in generation.models.values()]
    assert [model.address for model in models if f"<td>{model.address}</td>" not in text] == []
    assert "run a run" in text
    assert "tutelage study --arm ..." in text
    for fact in ("x86_64", "fp32", "2.13.0", "3.11.7", "f" * 64, "0 1 2 3 4", "1x8x8", "not recorded"):
        assert fact in text
    listings = [json.loads(listing) for listing in unpacked(text)["listings"]]
    assert [listing["name"] for listing in listings] == ["plain", "better", "worse", "same", "chain"]
    assert listings[1]["generations"][0]["schedule"]["lr"] == 0.2


def test_a_commit_is_shown_where_it_is_known(tmp_path: Path) -> None:
    study = Study(lineages=(made.arm("plain"),), seeds=(0,))
    made.write(study, tmp_path, accuracy)
    compared = made.comparison(study, tmp_path)
    model = compared.results.generations[0].models[0]
    manifest = storage.read_manifest(model.folder)
    manifest["note"]["commit"] = "c0ffee1"
    storage.write_bytes(model.folder / storage.MANIFEST, storage.json_bytes(manifest))
    text = page({"run": compared})
    assert "<td>c0ffee1</td>" in text
    assert "not recorded" not in text


class ParsedPage(HTMLParser):
    """The elements of a page and its text, as a parser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self.inside, self.words).append(data)


def digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@pytest.mark.fault(38)
def test_only_what_is_ours_may_run(compared: Comparison) -> None:
    text = page({"run": compared})
    parsed = ParsedPage(text)
    (policy,) = [
        str(attributes["content"])
        for tag, attributes in parsed.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    *packed, script = parsed.scripts
    (style,) = parsed.styles
    assert rules == {
        "default-src": "'none'",
        "script-src": f"{digest(script)} {digest(unpacked(text, 'library'))}",
        "style-src": digest(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert len(packed) == 2
    links = [
        value for _, attributes in parsed.elements for name in ("src", "href") if (value := attributes.get(name))
    ]
    assert [link for link in links if not link.startswith("#")] == []
    assert [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")] == []
    assert not any("style" in attributes for _, attributes in parsed.elements)
    assert "url(" not in style
    assert "@import" not in style


HOSTILE = (
    "<script>owned()</script>",
    '"><img src=x onerror=owned()>',
    "</script></td><b>",
    "{{ 7 * 7 }}",
    "=1+1",
    "x" * 300,
    "a\u2019b & c",
)


@pytest.mark.fault(38)
def test_hostile_names_stay_text(tmp_path: Path) -> None:
    lineages = [made.arm(name, lr=0.1 + place / 100) for place, name in enumerate(HOSTILE)]
    study = Study(lineages=tuple(lineages), seeds=(0, 1), title="<b>title</b>")
    failure = Failure(seed=1, arm="=1+1", message="<i>why</i>")
    classes = ("<u>cat</u>", "dog\udcff", "two\nlines", "\u202eleft", *map(str, range(6)))
    command = "tutelage study '</pre><script>owned()</script>'\n--x \udcff \x1b[2J"
    made.write(
        study, tmp_path, accuracy, class_names=classes, command=command, failures=[failure], without=[("=1+1", 1)]
    )
    compared = made.comparison(study, tmp_path)
    text = page({"run": compared})
    text.encode()
    parsed = ParsedPage(text)
    words = "".join(parsed.words)
    for name in (*HOSTILE, "<b>title</b>", "<u>cat</u>", "dog\\udcff", "two\nlines", "\\u202eleft", "<i>why</i>"):
        assert name in words
    assert "</pre><script>owned()</script>'\n--x \\udcff \\x1b[2J" in words
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"img", "b", "i", "u"})
    assert len(parsed.scripts) == 3
    rows = unpacked(text)["charts"][0]["columns"]["arm"]
    assert set(rows) == set(HOSTILE[1:])


def test_what_is_packed_can_be_printed_too(compared: Comparison) -> None:
    def own(_: Comparison) -> Section:
        rows = ({"arm": "\udcff\x1b", "x": 1.0},)
        return Section(title="Own", blocks=(Chart(name="own", title="\u202e", caption="", spec={}, rows=rows),))

    (chart,) = unpacked(page({"run": compared}, [own]))["charts"]
    assert chart["columns"] == {"arm": ["\\udcff\\x1b"], "x": [1.0]}
    assert chart["title"] == "\\u202e"


def test_a_section_of_ones_own(compared: Comparison) -> None:
    def own(comparison: Comparison) -> Section:
        row = (text(comparison.reference), Cell("12.5 %", 0.125))
        table = Table(name="own", title="Mine", columns=(Column("arm"), Column("share", "number")), rows=(row,))
        return Section(title="My section", text=("in words",), blocks=(table, Statement(text="a statement")))

    html = page({"run": compared}, [*sections_of(), own])
    expected = ("My section", "in words", '<td data-value="0.125">12.5 %</td>', "a statement", 'class="number2"')
    assert [part for part in expected if part not in html] == []
    nothing = page({"run": compared}, [lambda _: Section(title="Nothing")])
    assert "Nothing" not in nothing


def test_the_section_that_the_documentation_shows(compared: Comparison) -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", documentation, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    text = page({"run": compared}, [*sections_of(), names["spread"]])
    (chart,) = [chart for chart in unpacked(text)["charts"] if chart["title"] == "Spread"]
    assert chart["columns"]["arm"] == ["plain", "better", "worse", "same", "chain", "chain"]
    first = compared.arms[0].top1
    assert first is not None
    assert chart["columns"]["deviation"][0] == first.deviation


def test_several_runs_on_one_page(compared: Comparison, tmp_path: Path) -> None:
    other = Study(lineages=(made.arm("plain", epochs=3),), seeds=(0,))
    made.write(other, tmp_path / "other", accuracy)
    runs = {"first": compared, "second": made.comparison(other, tmp_path / "other")}
    text = page(runs)
    assert "<title>2 runs - tutelage report</title>" in text
    assert text.index("The last generations of all runs") < text.index('id="study-1"')
    assert text.count("<details><summary><h2>") == 0
    assert page(runs | {"third": compared, "fourth": compared}).count("<details><summary><h2>") == 4


def test_a_hundred_runs_stay_below_two_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lineages = [made.arm(f"arm {number}", epochs=150, lr=0.1 + number / 100) for number in range(20)]
    study = Study(lineages=tuple(lineages), seeds=(0, 1, 2, 3, 4))
    made.write(study, tmp_path, accuracy)
    text = page({"hundred": made.comparison(study, tmp_path)})
    assert text.count("<td>finished</td>") == 100
    assert len(text.encode()) < 2_000_000
    assert len(unpacked(text, "library")) > 500_000  # the real one


def test_arms_are_drawn_differently() -> None:
    lineages = tuple(made.arm(f"arm {number}", lr=0.1 + number / 100) for number in range(30))
    comparison = SimpleNamespace(results=SimpleNamespace(study=Study(lineages=lineages)), reference="arm 3")
    styles = arm_styles(comparison)  # type: ignore[arg-type]
    assert styles["arm 3"].colour == "var(--ink)"
    assert len({(style.colour, style.shape) for style in styles.values()}) == 30


def test_the_scripts_are_bundled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def bundle(snippet: str) -> str:
        calls.append(snippet)
        return "the bundle"

    monkeypatch.setitem(sys.modules, "vl_convert", SimpleNamespace(javascript_bundle=bundle))
    monkeypatch.setattr(vega, "version", lambda package: "1.0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [vega.vega(), vega.vega()] == ["the bundle"] * 2
    assert len(calls) == 1
    (cached,) = tmp_path.rglob("vega-*.js")
    cached.write_text("something else")
    assert vega.vega() == "the bundle"
    assert vega.vega() == cached.read_text() == "the bundle"
    assert len(calls) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(cached))  # a file, in which nothing can be stored
    assert vega.vega() == "the bundle"


def test_without_the_extra_one_error_says_what_to_install(
    compared: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(vega, "version", missing)
    with pytest.raises(ValueError, match=r"needs the package vl-convert-python: pip install 'tutelage\[report\]'"):
        vega.vega()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ValueError, match=r"needs the package jinja2: pip install 'tutelage\[report\]'"):
        page({"run": compared})


# Colours: relative luminance and contrast as in WCAG 2.2; colour blindness by Machado et al. (2009), severity 1.

BLIND = {
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
OKLAB = (
    (
        (0.412221471, 0.536332536, 0.051445993),
        (0.211903498, 0.680699545, 0.107396957),
        (0.088302462, 0.281718838, 0.629978701),
    ),
    (
        (0.210454255, 0.793617785, -0.004072047),
        (1.977998495, -2.428592205, 0.45059371),
        (0.025904037, 0.782771766, -0.808675766),
    ),
)


def times(matrix: tuple[tuple[float, ...], ...], vector: list[float]) -> list[float]:
    return [sum(one * other for one, other in zip(row, vector, strict=True)) for row in matrix]


def linear(colour: str) -> list[float]:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def palette(theme: int) -> dict[str, str]:
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)
    return {name: (light, dark)[theme] for name, light, dark in pairs}


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(sum(times(((0.2126, 0.7152, 0.0722),), linear(colour))) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def as_perceived(colour: str, how: str) -> list[float]:
    light = [min(1.0, max(0.0, share)) for share in times(BLIND[how], linear(colour))]
    return times(OKLAB[1], [share ** (1 / 3) for share in times(OKLAB[0], light)])


def pairs_of(names: list[str]) -> Iterator[tuple[str, str]]:
    return ((one, other) for place, one in enumerate(names) for other in names[place + 1 :])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_are_legible_and_distinct(theme: int) -> None:
    colours = palette(theme)
    names = ["ink", *(f"c{number}" for number in range(1, 7))]
    assert min(contrast(colours[name], colours["paper"]) for name in names) >= 3
    assert min(contrast(colours[name], colours["paper"]) for name in ("ink", "muted", "link")) >= 4.5
    assert contrast(colours["muted"], colours["raised"]) >= 4.5
    for how in BLIND:
        perceived = {name: as_perceived(colours[name], how) for name in names}
        for one, other in pairs_of(names):
            squares = ((a - b) ** 2 for a, b in zip(perceived[one], perceived[other], strict=True))
            assert sum(squares) ** 0.5 > 0.09, (how, one, other)
