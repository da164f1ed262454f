"""The page in a browser: it draws, filters, sorts and saves; no foreign code runs in it, and it requests nothing."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import limit
from tests.report import made
from tutelage.analysis import Comparison
from tutelage.recipes.born_again import born_again
from tutelage.report.format import Cell
from tutelage.report.page.blocks import Section
from tutelage.report.page.build import page
from tutelage.report.page.sections.second_choices import second_choices
from tutelage.report.table import Column, Table
from tutelage.study import Study

playwright = pytest.importorskip("playwright.sync_api", reason="playwright comes with the extra dev")
pytest.importorskip("vl_convert", reason="vl-convert comes with the extra report")

pytestmark = pytest.mark.timeout(600)  # the browser may have to be installed first

ROOT = Path(__file__).parents[2]
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
HOSTILE = (
    "<script>owned()</script>",
    '"><img src=x onerror=owned()>',
    "</script><svg onload=owned()>",
    "'; owned(); //",
    "=1+1",
    "x" * 300,
)


def accuracy(arm: str, place: int, seed: int) -> float:
    first = {"better": 10, "worse": -10}.get(arm, 4 * place)
    return 0.8 + 0.01 * seed + 0.005 * (first + (len(arm) + place + seed * seed) % 3)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    arms = (
        made.arm("plain"),
        *(made.arm(name, lr=lr) for name, lr in (("better", 0.2), ("worse", 0.3))),
        made.arm("chain", born_again, lr=0.5, generations=2),
    )
    study = Study(lineages=arms, seeds=(0, 1, 2, 3))
    runs = tmp_path_factory.mktemp("runs")
    made.write(study, runs, accuracy, without=[("worse", 3)])
    return made.comparison(study, runs)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def text(compared: Comparison, cached: None) -> str:
    return page({"a-run": compared})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, cached: None) -> str:
    arms = [made.arm(name, lr=0.1 + place / 100) for place, name in enumerate(HOSTILE)]
    study = Study(lineages=tuple(arms), seeds=(0, 1, 2), title="<script>owned()</script>")
    runs = tmp_path_factory.mktemp("hostile")
    classes = ("<script>owned()</script>", "dog\udcff", "two\nlines", "\u202eleft", *map(str, range(6)))
    command = "tutelage study '</pre><script>owned()</script>'\n--x \udcff \x1b[2J"
    made.write(study, runs, accuracy, class_names=classes, command=command)
    return page({"hostile": made.comparison(study, runs)})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if shutil.which("chromium") is None:
        subprocess.run(["make", "browser"], cwd=ROOT, capture_output=True, check=False, timeout=limit(500))
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium, and `make browser` could not install it")
    with playwright.sync_playwright() as started:
        patience = limit(60_000)  # milliseconds; five seconds, as is usual, are little beside other work
        playwright.expect.set_options(timeout=patience)
        launched = started.chromium.launch(executable_path=chromium, args=list(SWITCHES), timeout=patience)
        yield launched
        launched.close()


class Opened:
    """A page in a browser without a network, with all that it reported and requested."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1100, "height": 800}} | context))
        self.context.set_default_timeout(limit(60_000))
        self.page = self.context.new_page()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.add_init_script(
            "window.violations = []; window.owned = () => { window.violations.push('a script ran'); };"
            "addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));"
        )
        self.page.route("**/*", self._route)
        self.own = file.as_uri()
        self.page.goto(self.own)
        self.page.wait_for_selector("body[data-drawn], #trouble:visible")
        assert not self.page.locator("#trouble").is_visible(), self.page.locator("#trouble").inner_text()

    def _route(self, route: Any) -> None:
        if route.request.url.split("#")[0] == self.own:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    @property
    def complaints(self) -> list[str]:
        return [*self.console, *self.requests, *self.dialogs, *self.page.evaluate("violations")]

    def column(self, table: str, place: int) -> list[str]:
        cells = self.page.locator(f"table[data-name='{table}'] tbody tr:visible > :nth-child({place})")
        return list(cells.all_inner_texts())

    def marks(self, figure: str) -> int:
        """How many points a figure shows."""
        return int(self.figure(figure).locator(".mark-symbol path").count())

    def figure(self, title: str) -> Any:
        return self.page.locator("figure").filter(has=self.page.get_by_role("heading", name=title, exact=True))

    def saved(self, button: Any) -> tuple[str, list[list[str]]]:
        with self.page.expect_download() as waiting:
            button.click()
        content = Path(waiting.value.path()).read_text(encoding="utf-8")
        return str(waiting.value.suggested_filename), list(csv.reader(io.StringIO(content)))


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a page; at the end it must have reported nothing and requested nothing."""
    pages: list[Opened] = []

    def open_page(text: str, **context: Any) -> Opened:
        file = tmp_path / f"{len(pages)}.html"
        file.write_text(text, encoding="utf-8")
        pages.append(Opened(browser, file, **context))
        return pages[-1]

    yield open_page
    complaints = [page.complaints for page in pages]
    for page_ in pages:
        page_.context.close()
    assert complaints == [[]] * len(pages)


def test_plots_are_drawn(opened: Open, text: str) -> None:
    shown = opened(text)
    figures = shown.page.locator("figure")
    assert figures.count() == 7
    assert shown.page.locator("figure[data-drawn] .plot > svg.marks").count() == 7
    assert shown.marks("Difference to plain") == 3 + 1 + 4 + 3 + 4 + 4  # means, then seeds; "worse" lacks one
    assert shown.marks("Accuracy over generations") == 3 + 3 + 2
    assert shown.figure("Accuracy over generations").locator("[stroke-dasharray='6,4']").count() == 1
    assert shown.figure("Accuracy over generations").locator(".mark-area path").count() == 2
    assert shown.figure("Training loss").locator(".mark-line path").count() == 4
    boxes = [figures.nth(place).locator("svg.marks").bounding_box() for place in range(7)]
    assert all(box["width"] > 300 and box["height"] > 100 for box in boxes)


def test_marks_lie_where_their_numbers_are(opened: Open, text: str, compared: Comparison) -> None:
    means = opened(text).page.locator("figure").first.locator(".mark-symbol").last.locator("path")
    places = [means.nth(place).bounding_box() for place in range(means.count())]
    middles = [box["x"] + box["width"] / 2 for box in places if box is not None]
    values = [arm.difference.mean for arm in compared.arms if arm.difference is not None]
    step = (middles[0] - middles[1]) / (values[0] - values[1])
    assert step > 0
    for middle, value in zip(middles, values, strict=True):
        assert middle - middles[0] == pytest.approx(step * (value - values[0]), abs=1)


def test_arms_and_kinds_are_filtered(opened: Open, text: str) -> None:
    shown = opened(text)
    assert shown.column("comparison", 1) == ["plain", "better", "worse", "chain", "chain"]
    before = shown.marks("Accuracy over generations")
    shown.page.get_by_role("checkbox", name="better").uncheck()
    assert shown.column("comparison", 1) == ["plain", "worse", "chain", "chain"]
    assert "better" not in shown.column("generations", 1)
    playwright.expect(shown.figure("Accuracy over generations").locator(".mark-symbol path")).to_have_count(
        before - 1
    )
    assert shown.figure("Accuracy over generations").locator(".legend li:visible").count() == 3
    shown.page.locator(".kind select").select_option("ensemble")
    assert shown.column("comparison", 3) == ["ensemble"]
    playwright.expect(shown.figure("Accuracy over generations").locator(".mark-symbol path")).to_have_count(2)
    shown.page.locator(".kind select").select_option("")
    shown.page.get_by_role("button", name="None").click()
    assert shown.column("comparison", 1) == []
    playwright.expect(shown.figure("Training loss").locator(".mark-line path")).to_have_count(0)
    shown.page.get_by_role("button", name="All").click()
    playwright.expect(shown.figure("Accuracy over generations").locator(".mark-symbol path")).to_have_count(before)
    assert len(shown.column("comparison", 1)) == 5


def test_a_chart_shows_what_is_chosen(opened: Open, text: str) -> None:
    shown = opened(text)
    energy = shown.figure("Energy: sorted scores on the training images")
    assert energy.locator(".mark-line path").count() == 3  # the chain's generations
    energy.get_by_role("combobox").select_option(label="plain")
    playwright.expect(energy.locator(".mark-line path")).to_have_count(1)
    loss = shown.figure("Training loss")
    loss.get_by_role("combobox").select_option(label="generation 2")
    playwright.expect(loss.locator(".mark-line path")).to_have_count(1)


def test_tables_are_sorted_by_values(opened: Open, text: str, compared: Comparison) -> None:
    shown = opened(text)
    heading = shown.page.locator("table[data-name='comparison'] th", has_text="difference")
    heading.get_by_role("button").click()
    numbers = [float(cell.split()[0]) for cell in shown.column("comparison", 7) if cell]
    assert numbers == sorted(numbers)
    assert min(numbers) < 0 < max(numbers)
    assert shown.column("comparison", 7)[-1] == ""  # the reference
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").press("Enter")  # by keyboard too
    assert [float(cell.split()[0]) for cell in shown.column("comparison", 7) if cell] == numbers[::-1]
    assert shown.column("comparison", 7)[-1] == ""
    assert heading.get_attribute("aria-sort") == "descending"
    shown.page.locator("table[data-name='comparison'] th", has_text="arm").get_by_role("button").click()
    assert shown.column("comparison", 1) == ["better", "chain", "chain", "plain", "worse"]
    assert heading.get_attribute("aria-sort") is None


def test_text_does_not_decide_the_order_of_numbers(opened: Open, compared: Comparison) -> None:
    """Texts that no number can be read from, one that is not finite, one without a value, and none at all."""
    cells = (
        Cell("about ten", 10.0),
        Cell("< 0.001", 0.0004),
        Cell("minus two", -2.0),
        Cell("1,234", 1234),
        Cell("beyond", float("inf")),
        Cell("5 (the reference)"),
        Cell(),
    )
    table = Table(
        name="own",
        title="Own",
        columns=(Column("name"), Column("value", "number")),
        rows=tuple((Cell(f"row {place}"), cell) for place, cell in enumerate(cells)),
    )
    shown = opened(page({"a-run": compared}, [lambda _: Section(title="Own", blocks=(table,))]))
    heading = shown.page.locator("table[data-name='own'] th", has_text="value")
    heading.get_by_role("button").click()
    ascending = ["minus two", "< 0.001", "about ten", "1,234", "beyond"]
    without = ["5 (the reference)", ""]
    assert shown.column("own", 2) == [*ascending, *without]
    heading.get_by_role("button").click()
    assert shown.column("own", 2) == [*ascending[::-1], *without]
    assert heading.evaluate("(element) => getComputedStyle(element).textAlign") == "right"


def test_a_figures_csv_is_its_data(opened: Open, text: str, compared: Comparison) -> None:
    shown = opened(text)
    name, (names, *rows) = shown.saved(shown.figure("Difference to plain").get_by_role("button", name="CSV"))
    assert name == "a-run-differences.csv"
    assert not [heading for heading in names if heading.startswith("_")]
    lines = [dict(zip(names, row, strict=True)) for row in rows]
    means = [line for line in lines if line["part"] == "mean"]
    tested = [(arm.arm, arm.difference) for arm in compared.arms if arm.difference is not None]
    for line, (arm, difference) in zip(means, tested, strict=True):
        assert line["arm"] == arm
        assert float(line["difference"]) == difference.mean
        assert (float(line["low"]) if line["low"] else None) == difference.low
        assert int(line["seeds"]) == difference.n
    assert len(lines) == len(means) + 4 + 3 + 4 + 4
    shown.page.get_by_role("checkbox", name="better").uncheck()  # the data is whole, whatever is shown
    assert len(shown.saved(shown.figure("Difference to plain").get_by_role("button", name="CSV"))[1]) == 1 + len(
        lines
    )


def test_a_table_is_saved_and_a_figures_data_shown(opened: Open, text: str) -> None:
    shown = opened(text)
    block = shown.page.locator("table[data-name='comparison']").locator("xpath=../..")
    name, rows = shown.saved(block.get_by_role("button", name="CSV"))
    assert name == "a-run-comparison.csv"
    assert [row[0] for row in rows] == ["arm", "plain", "better", "worse", "chain", "chain"]
    figure = shown.figure("NLL over generations")
    figure.get_by_text("Data (8 rows)").click()
    playwright.expect(figure.locator(".data tbody tr")).to_have_count(8)
    assert figure.locator(".data th").first.inner_text() == "arm"


def test_what_is_folded_opens(opened: Open, text: str) -> None:
    shown = opened(text)
    listing = shown.page.locator("details", has_text="Configuration of better")
    assert not listing.locator("pre").is_visible()
    listing.locator("summary").press("Enter")
    assert '"name": "better"' in listing.locator("pre").inner_text()


INK = "() => getComputedStyle(document.documentElement).color"
PAPER = "() => getComputedStyle(document.documentElement).backgroundColor"
LABEL = "() => getComputedStyle(document.querySelector('.plot .role-axis-label text')).fill"
WHITE, DARK = "rgb(255, 255, 255)", "rgb(21, 24, 28)"


def test_the_theme_follows_the_reader_and_the_switch(opened: Open, text: str) -> None:
    shown = opened(text)
    light = shown.page.evaluate(LABEL)
    assert shown.page.evaluate(PAPER) == WHITE
    shown.page.get_by_role("radio", name="dark").check(force=True)
    assert shown.page.evaluate(PAPER) == DARK
    assert shown.page.evaluate(LABEL) != light  # the plots follow
    shown.page.emulate_media(media="print")
    assert shown.page.evaluate(PAPER) == WHITE
    assert not shown.page.locator(".filter").is_visible()
    assert shown.page.locator("figure").first.is_visible()
    shown.page.set_viewport_size({"width": 794, "height": 1100})  # A4 at 96 dots an inch
    shown.page.wait_for_function("document.documentElement.scrollWidth === 794")
    assert shown.page.pdf().startswith(b"%PDF")
    night = opened(text, color_scheme="dark")
    assert night.page.evaluate(PAPER) == DARK
    night.page.get_by_role("radio", name="auto").press("ArrowRight")  # by keyboard too
    assert night.page.evaluate(PAPER) == WHITE
    assert night.page.evaluate(LABEL) == light


def test_second_choices_are_a_matrix(opened: Open, compared: Comparison, cached: None) -> None:
    names = (*HOSTILE, "dog")
    records = [made.second_choices(names, place, {(0, 1): 30, (6, 1): 10, (1, 1): 5, (6, 0): 20}) for place in (0, 1)]
    charts = tuple(second_choices([*records, made.second_choices(names, 2, {(0, 1): 3})]))
    shown = opened(page({"a-run": compared}, [lambda _: Section(title="Own", blocks=charts)]))
    figure = shown.figure("Second choices on the training images")
    cells = figure.locator(".mark-rect path")
    assert cells.count() == 4
    boxes = [cells.nth(place).bounding_box() for place in range(4)]
    by_images = {images: box for images, box in zip((30, 20, 10, 5), boxes, strict=True) if box is not None}
    assert by_images[30]["y"] < by_images[5]["y"] < by_images[10]["y"]  # rows: classes 0, 1 and 6, from the top
    assert by_images[30]["x"] == by_images[5]["x"] == by_images[10]["x"] > by_images[20]["x"]
    strengths = [float(cells.nth(place).get_attribute("fill-opacity") or 1) for place in range(4)]
    assert strengths == pytest.approx([1.0, (2 / 3) ** 0.5, (1 / 3) ** 0.5, 1.0], abs=1e-3)
    cells.first.hover(force=True)
    tip = f"{HOSTILE[0]}, then {HOSTILE[1]}\n100.00 % of its images (30)"
    playwright.expect(shown.page.locator("#tip")).to_have_text(tip)
    figure.get_by_role("combobox").select_option(label="generation 2")
    playwright.expect(cells).to_have_count(1)
    labels = figure.locator(".role-axis-label text").all_text_contents()
    assert "dog" in labels
    assert len(labels) == 2 * len(names)
    _, rows = shown.saved(figure.get_by_role("button", name="CSV"))
    assert rows[0] == ["arm", "generation", "place", "true", "second", "images", "share", "kind"]
    assert len(rows) == 1 + 4 + 4 + 1


def test_a_mark_says_what_it_is(opened: Open, text: str) -> None:
    shown = opened(text)
    figure = shown.figure("Difference to plain")
    figure.scroll_into_view_if_needed()
    figure.locator(".mark-symbol path").last.hover(force=True)
    tip = shown.page.locator("#tip")
    playwright.expect(tip).to_be_visible()
    assert tip.inner_text().startswith("chain, ensemble of 0 to 2\n")
    assert " points (" in tip.inner_text()


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_narrow_screen(opened: Open, text: str, hostile: str, width: int) -> None:
    for content in (text, hostile):
        shown = opened(content, viewport={"width": width, "height": 700})
        assert shown.page.evaluate("document.documentElement.scrollWidth") == width
        svg = shown.page.locator("svg.marks").first.bounding_box()
        assert svg is not None
        assert svg["x"] + svg["width"] <= width


def test_the_last_column_is_in_sight(opened: Open, cached: None, tmp_path: Path) -> None:
    """At 1400 pixels, whatever the arms are called: the comparison, the generations and all runs in one table."""
    names = ("plain", "x" * 60, "confidence_penalty_0.33", "two generations of many")
    arms = [made.arm(name, born_again, lr=0.1 + place / 100, generations=1) for place, name in enumerate(names)]
    study = Study(lineages=tuple(arms), seeds=(0, 1))
    made.write(study, tmp_path, accuracy, without=[("plain", 1)])
    compared = made.comparison(study, tmp_path)
    shown = opened(page({"a-run": compared, "another-run": compared}), viewport={"width": 1400, "height": 800})
    for name in ("overview", "comparison", "generations"):
        table = shown.page.locator(f"table[data-name='{name}']").first
        assert table.evaluate("(element) => element.scrollWidth - element.parentElement.clientWidth") <= 0, name


TICKS = """() => [...document.querySelectorAll('figure .role-axis')].map(
    (axis) => [...axis.querySelectorAll('.role-axis-label text')].map((label) => label.textContent))"""


@pytest.mark.parametrize(("generations", "epochs"), [(1, 1), (2, 2)])
def test_every_tick_reads_differently(
    opened: Open, cached: None, tmp_path: Path, generations: int, epochs: int
) -> None:
    """Two generations, one or two epochs, and arms that hardly differ: a tick between two numbers is not rounded."""
    arms = [
        made.arm(name, born_again, epochs, lr=lr, generations=generations) for name, lr in (("a", 0.1), ("b", 0.2))
    ]
    study = Study(lineages=tuple(arms), seeds=(0, 1, 2))
    made.write(study, tmp_path, lambda arm, place, seed: 0.99 if arm == "a" else 0.99 + 0.005 * (seed == 1))
    ticks = opened(page({"a-run": made.comparison(study, tmp_path)})).page.evaluate(TICKS)
    assert [str(place) for place in range(generations + 1)] in ticks
    assert [labels for labels in ticks if len(set(labels)) < len(labels)] == []


@pytest.mark.fault(38)
def test_hostile_names_stay_text(opened: Open, hostile: str) -> None:
    shown = opened(hostile)
    assert shown.page.title() == "<script>owned()</script> - tutelage report"
    assert shown.page.locator("h1").inner_text() == "<script>owned()</script>"
    assert shown.column("comparison", 1) == list(HOSTILE)
    assert shown.page.locator("script").count() == 4  # the page's own: data, library packed and unpacked, script
    assert shown.page.locator("img, [onerror], [onload]").count() == 0
    words = shown.page.locator("body").inner_text()
    for name in ("</pre><script>owned()</script>'\n--x \\udcff \\x1b[2J", "dog\\udcff", "\\u202eleft"):
        assert name in words
    labels = shown.figure(f"Difference to {HOSTILE[0]}").locator(".role-axis-label text").all_text_contents()
    assert HOSTILE[1] in labels
    shown.page.get_by_role("checkbox", name=HOSTILE[1]).uncheck()
    assert shown.column("comparison", 1) == [name for name in HOSTILE if name != HOSTILE[1]]
    figure = shown.figure("Accuracy over generations")
    figure.scroll_into_view_if_needed()
    figure.locator(".mark-symbol path").first.hover(force=True)
    playwright.expect(shown.page.locator("#tip")).to_contain_text("owned()")
    _, rows = shown.saved(figure.get_by_role("button", name="CSV"))
    assert [row[0] for row in rows[1:]] == [f"'{name}" if name.startswith("=") else name for name in HOSTILE]


@pytest.mark.fault(38)
def test_the_policy_holds(browser: Any, text: str, tmp_path: Path) -> None:
    """Foreign code and requests in a page are stopped, and reported: the other tests would notice them."""
    file = tmp_path / "spoilt.html"
    foreign = (
        "<script>owned()</script><img src='https://example.org/x.png' onerror='owned()'><p style='color:red'>x</p>"
    )
    file.write_text(text.replace("<main", f"{foreign}<main"), encoding="utf-8")
    shown = Opened(browser, file)
    violations = shown.page.evaluate("violations")
    assert {"script-src-elem", "script-src-attr", "img-src", "style-src-attr"} <= set(violations)
    assert "a script ran" not in violations
    later = "try { done(eval('1')); } catch (fault) { done(fault.name); }"  # what a tool runs at once may use eval
    assert shown.page.evaluate(f"new Promise((done) => setTimeout(() => {{ {later} }}))") == "EvalError"
    assert shown.page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"
    assert shown.requests == []
    shown.context.close()


def test_many_runs_open_on_request(opened: Open, compared: Comparison, cached: None) -> None:
    shown = opened(page({f"run-{number}": compared for number in range(5)}))
    assert shown.page.locator("figure[data-drawn]").count() == 0
    assert len(shown.column("overview", 1)) == 5 * 5
    shown.page.get_by_role("link", name="run-3").first.click()
    playwright.expect(shown.page.locator("#study-4 figure[data-drawn]").first).to_be_visible()
    assert shown.page.locator("#study-3 figure").first.is_hidden()
