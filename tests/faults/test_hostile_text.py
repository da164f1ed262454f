"""Names that would be more than names: in a page, a terminal, a spreadsheet, Markdown or a path; they stay text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.table import Table

from tests.conftest import Tried
from tests.report import made
from tutelage.analysis import load_results
from tutelage.analysis.sheets import Sheet
from tutelage.cli import command
from tutelage.cli.console import draw, lines
from tutelage.data.folder import read_folder
from tutelage.data.npz import read_npz
from tutelage.errors import printable
from tutelage.lineage import Generation
from tutelage.methods.hinton import labels_only
from tutelage.report import as_csv, markdown
from tutelage.report.page.build import page
from tutelage.report.table import sheets_csv, sheets_markdown
from tutelage.study import Study
from tutelage.training import Schedule

pytestmark = pytest.mark.fault(38)

SPOKEN = (  # one line of printable text each: names of arms may be this
    "<script>owned()</script>",
    "<img src=x onerror=owned()>",
    "../../../up",
    "/etc/passwd",
    "x" * 300,
    '=HYPERLINK("http://example.org","x")',
    "  =1+1",
    "@SUM(1)",
    "-1+1|cmd",
    "|pi`pe`",
    "[/]",
    "[bold red]x[/bold red]",
    "{{7*7}}${7*7}",
    "'; rm -rf ~; echo '",
    ":smile:",
)
STEERING = (
    "new\nline",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eleft",
    "back\rover",
    "\x9b31m",
    "bell\x07",
    "nul\x00",
    "\udcff",
)
"""What would steer a terminal or break a line: names of classes, files and folders may hold it, of arms may not."""


def harmless(text: str) -> bool:
    """Whether a terminal only shows it."""
    return all(c.isprintable() or c == "\n" for c in text)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class Made:
    """A folder with a study of hostile arms on images of hostile classes, in a file and a folder of hostile names."""

    def __init__(self, folder: Path, run: Callable[..., Any]) -> None:
        self.folder, self.run = folder, run
        self.data = folder / "<b>\x1b[31m\n[bold] '\"..npz"
        names = [*SPOKEN, *STEERING[:-2]]
        labels = np.arange(3 * len(names)) % len(names)
        images = np.zeros((len(labels), 8, 8), np.uint8)
        arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
        with self.data.open("wb") as file:
            np.savez(file, **arrays, class_names=np.array(names))
        told = [
            "epochs = 1",
            f"data = {json.dumps(str(self.data))}",
            f"name = {json.dumps('../<script>' + STEERING[1] + 'y' * 300)}",
        ]
        for number, arm in enumerate(SPOKEN[:9]):
            told += ["[[arms]]", "recipe = 'baseline'", f"lr = {0.1 + number / 100:.2f}", f"name = {json.dumps(arm)}"]
        (folder / "study.toml").write_text("\n".join(told))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Made:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TUTELAGE_RUNS", "runs")
    monkeypatch.setattr("os.fsync", lambda _: None)

    def run(*words: str, code: int = 0) -> str:
        found = command(list(words))
        said = capsys.readouterr()
        assert found == code, said.err
        assert harmless(said.out + said.err), words
        return said.out + said.err

    return Made(folder, run)


def test_commands_show_names_and_obey_none(asked: Made, tmp_path: Path, tried: Tried) -> None:
    """Trained, shown, reported, diagnosed, carried and exported; nothing is written but where it was asked for."""
    quick = ("--threads", "1", "--track", "none")
    said = asked.run("study", "study.toml", *quick, "--markdown", "a.md", "--csv", "a.csv")
    for arm in SPOKEN[:9]:
        assert f"seed 0, {arm}, baseline: trained in" in said
    (name,) = [path.name for path in Path("runs/studies").iterdir()]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name)
    out = "e<b>\x1b[31m[bold]"
    told = asked.run("show", name)
    assert "SUM(1)" in told
    asked.run("report", name, "--diagnostics")
    asked.run("diagnose", name, "--markdown", "d.md", "--csv", "d.csv")
    carried = ("--data", str(asked.data), "--probe", "knn", "--no-floor", "--markdown", "t.md", "--csv", "t.csv")
    asked.run("transfer", name, *carried)
    asked.run("export", f"{name}:@SUM(1)/baseline", "--to", out, "--format", "safetensors")
    asked.run("explain", "baseline", "--data", str(asked.data))
    asked.run("list", "runs")
    Image.new("L", (8, 8)).save("\x1b[2Jimage.png")
    for line in asked.run("predict", out, "\x1b[2Jimage.png", "--top", "30").splitlines()[1:]:
        assert re.fullmatch(r" +\d+\.\d\d  .+", line)

    assert list(tmp_path.iterdir()) == [asked.folder]
    expected = {"a.md", "a.csv", "d.md", "d.csv", "t.md", "t.csv", "study.toml", asked.data.name, "\x1b[2Jimage.png"}
    others = {path for path in files(asked.folder) if not path.startswith("runs/")} - expected
    assert others == {f"{out}/{file}" for file in ("README.md", "model.json", "weights.safetensors")}
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", path) for path in files(asked.folder / "runs"))

    pages = [*Path("runs/reports").glob("*.md"), *map(Path, ("a.md", "d.md", "t.md")), Path(out) / "README.md"]
    assert len(pages) == 5
    for path in pages:
        text = path.read_text()
        assert harmless(text), path
        # Without fences, code and front matter.
        outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$|`[^`\n]*`|^---\n.*?^---$", "", text)
        assert not re.search(r"(?<!\\)<(?!b>)\w", outside), path
    for path in (*Path("runs/reports").glob("*.csv"), *map(Path, ("a.csv", "d.csv", "t.csv"))):
        check_csv(path.read_text())
    (html,) = Path("runs/reports").glob("*.html")
    assert "<script>owned" not in html.read_text()
    check_html(html.read_text())
    tried(11, "commands on hostile names, none of which did more than show")


def check_html(text: str) -> None:
    """No element that a name made, and none that does something of itself."""
    found: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend([(tag, ""), *((tag, name) for name, _ in attrs)])

    Reader().feed(text)
    assert ("script", "") in found
    assert not {tag for tag, _ in found} & {"img", "b", "iframe", "object", "form", "base", "link"}
    assert not [one for one in found if one[1].startswith("on") or one[1] in ("srcdoc", "style")]
    assert found.count(("script", "")) == 3  # the page's own


def check_csv(text: str) -> None:
    """No cell that is text begins as a formula does."""
    assert harmless(text)
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            if not re.fullmatch(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|nan|inf)", cell):
                assert cell.lstrip()[:1] not in tuple("=+-@"), cell


@pytest.mark.parametrize("name", STEERING)
def test_names_of_arms_are_one_line_of_text(name: str, asked: Made) -> None:
    Path("a.toml").write_text(f"arms = [{{recipe = 'baseline', name = {json.dumps(name)}}}]", "utf-8", "replace")
    if name != "\udcff":  # which TOML cannot say
        assert "an arm's name is one line of text, not " in asked.run("study", "a.toml", code=2)
    with pytest.raises(ValueError, match="an arm's name is one line of text"):
        Study(lineages=(made.arm(name),))
    with pytest.raises(ValueError, match="a generation's name is one line of text"):
        Generation(name=name, model="resnet8", objective=labels_only(), schedule=Schedule())
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", [*SPOKEN[:5], *STEERING])
def test_mistakes_are_told_in_one_line_that_steers_nothing(name: str, asked: Made) -> None:
    name = name.replace("\0", "")
    for words in (
        ("show", name),
        ("report", name),
        ("export", name),
        ("predict", name, name),
        ("transfer", name, "--data", name),
        ("run", name),
        ("run", "baseline", "--data", name),
        ("run", "baseline", "--model", name),
        ("run", "baseline", "--model", f"{name}.py:{name}"),
        ("study", name),
        ("study", "--arm", name),
        ("data", "import", "cifar10", name),
        ("list", name),
        (name,),
    ):
        said = asked.run(*words, code=2)
        assert said.count("\n") == 1, (words, said)
    assert not any(path.name != "study.toml" for path in asked.folder.iterdir() if path != asked.data)


def test_runs_of_a_strangers_folder_are_listed_as_text(asked: Made) -> None:
    """The folders of a run that came from elsewhere may have any names."""
    study = Study(lineages=(made.arm("a"),))
    name = made.write(study, Path("runs"), lambda *_: 0.5)
    for other in (STEERING[1], "<script>owned()<\u2215script>", "=1+1", "two\nlines"):
        (Path("runs") / "studies" / other).mkdir()
        for file in (Path("runs") / "studies" / name).iterdir():
            (Path("runs") / "studies" / other / file.name).write_bytes(file.read_bytes())
        assert load_results(other, Path("runs")).name == other
        asked.run("show", other)
        asked.run("report", other)
        with pytest.raises(AssertionError):
            asked.run("show", f"{other}2")
    assert len(asked.run("list", "runs").splitlines()) == 6
    assert all(not path.name.startswith((".", "/")) for path in Path("runs/reports").iterdir())


def test_class_names_from_bytes_and_folders(tmp_path: Path) -> None:
    """Those that are no UTF-8 become text that is."""
    pixels, labels = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    np.savez(
        tmp_path / "a.npz",
        train_images=pixels,
        train_labels=labels,
        test_images=pixels,
        test_labels=labels,
        class_names=np.array([b"caf\xe9", b"\xff\xfe<script>"]),
    )
    assert read_npz(tmp_path / "a.npz").facts.class_names == ("caf\\udce9", "\\udcff\\udcfe<script>")
    for label, name in enumerate((b"caf\xe9", b"\x1b[2J\n<script>")):
        folder = tmp_path / "photos" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for row in range(3):
            Image.new("L", (8, 8), label).save(folder / f"{row}.png")
    names = read_folder(tmp_path / "photos").facts.class_names
    assert names == ("\x1b[2J\n<script>", "caf\\udce9")
    assert all(name.encode() for name in names)
    assert [printable(name) for name in names] == ["\\x1b[2J\\n<script>", "caf\\udce9"]


def test_what_reports_are_made_of_stays_text(tmp_path: Path) -> None:
    """The same for the functions behind the commands, with names that no command would let in."""
    study = Study(lineages=tuple(made.arm(name, lr=0.1 + k / 100) for k, name in enumerate(SPOKEN)))
    made.write(study, tmp_path, lambda *_: 0.5, class_names=[f"{k}{STEERING[k % 6]}" for k in range(10)])
    compared = made.comparison(study, tmp_path)
    check_csv(as_csv(compared))
    shown = [row[0] for row in csv.reader(io.StringIO(as_csv(compared)))][1:]
    assert all(cell in (name, f"'{name}") for cell, name in zip(shown, SPOKEN, strict=True))
    text = markdown(compared)
    assert harmless(text)
    assert "\\<script\\>owned()\\</script\\>" in text
    assert "<script>owned" not in page({"a": compared})
    hostile = (*SPOKEN, *STEERING)
    sheet = Sheet(
        name="own",
        title=STEERING[1],
        headings=("a", STEERING[0]),
        rows=tuple((name, name) for name in hostile),
        notes=hostile,
        series=tuple({"a": name} for name in hostile),
    )
    assert harmless(sheets_markdown(STEERING[1], [sheet], f"tutelage {STEERING[0]}\n```\n<script>{STEERING[1]}"))
    check_csv(sheets_csv([sheet]))


def test_a_terminal_gets_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a", "b", title=STEERING[1])
    for name in (*SPOKEN, *STEERING):
        table.add_row(name[:60], name[:60])
    draw(table, "")
    said = capsys.readouterr().out
    assert harmless(said)
    for name in (*SPOKEN[:4], *SPOKEN[5:]):
        assert name.strip()[:60] in said  # "[bold red]" is no style, ":smile:" no picture
    assert lines("\x1b[2J\n\x9b") == "\\x1b[2J\n\\x9b"
    assert torch.get_num_threads() == 1
