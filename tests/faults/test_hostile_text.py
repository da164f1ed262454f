"""Names with a meaning in a page, a terminal, a spreadsheet, Markdown or a path: they are treated as plain text."""

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

from tests.conftest import Tried
from tests.data.folders import read_folder
from tests.report import made
from tutelage.analysis import load_results
from tutelage.cli import command
from tutelage.cli.console import print_tables, printable_lines
from tutelage.data.npz import read_npz
from tutelage.errors import printable
from tutelage.lineage import Generation
from tutelage.methods.hinton import labels_only
from tutelage.report.comparison import comparison_csv, comparison_markdown
from tutelage.report.csv import tables_csv
from tutelage.report.format import Cell
from tutelage.report.markdown import document
from tutelage.report.page.build import page
from tutelage.report.table import make_table
from tutelage.study import Study
from tutelage.training import Schedule

pytestmark = pytest.mark.fault(38)

PRINTABLE = (  # one line of printable text each: valid names of arms
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
CONTROL = (
    "new\nline",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eleft",
    "back\rover",
    "\x9b31m",
    "bell\x07",
    "nul\x00",
    "\udcff",
)
"""Text that controls a terminal or breaks a line: valid in names of classes, files and folders, not of arms."""


def is_harmless(text: str) -> bool:
    """Whether a terminal only displays the text."""
    return all(c.isprintable() or c == "\n" for c in text)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class HostileStudy:
    """A folder with a study whose arms, classes, data file and folder have hostile names."""

    def __init__(self, folder: Path, run: Callable[..., Any]) -> None:
        self.folder, self.run = folder, run
        self.data = folder / "<b>\x1b[31m\n[bold] '\"..npz"
        names = [*PRINTABLE, *CONTROL[:-2]]
        labels = np.arange(3 * len(names)) % len(names)
        images = np.zeros((len(labels), 8, 8), np.uint8)
        arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
        with self.data.open("wb") as file:
            np.savez(file, **arrays, class_names=np.array(names))
        toml = [
            "epochs = 1",
            f"data = {json.dumps(str(self.data))}",
            f"name = {json.dumps('../<script>' + CONTROL[1] + 'y' * 300)}",
        ]
        for number, arm in enumerate(PRINTABLE[:9]):
            toml += ["[[arms]]", "recipe = 'baseline'", f"lr = {0.1 + number / 100:.2f}", f"name = {json.dumps(arm)}"]
        (folder / "study.toml").write_text("\n".join(toml))


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> HostileStudy:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TUTELAGE_RUNS", "runs")
    monkeypatch.setattr("os.fsync", lambda _: None)

    def run(*words: str, code: int = 0) -> str:
        exit_code = command(list(words))
        captured = capsys.readouterr()
        assert exit_code == code, captured.err
        assert is_harmless(captured.out + captured.err), words
        return captured.out + captured.err

    return HostileStudy(folder, run)


def test_commands_only_display_names(hostile: HostileStudy, tmp_path: Path, tried: Tried) -> None:
    """Train, show, report, diagnose, transfer and export; files are written only where requested."""
    quick = ("--threads", "1", "--track", "none")
    output = hostile.run("study", "study.toml", *quick, "--markdown", "a.md", "--csv", "a.csv")
    for arm in PRINTABLE[:9]:
        assert f"seed 0, {arm}, baseline: trained in" in output
    (name,) = [path.name for path in Path("runs/studies").iterdir()]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name)
    out = "e<b>\x1b[31m[bold]"
    table = hostile.run("show", name)
    assert "SUM(1)" in table
    hostile.run("report", name, "--diagnostics")
    hostile.run("diagnose", name, "--markdown", "d.md", "--csv", "d.csv")
    options = ("--data", str(hostile.data), "--probe", "knn", "--no-floor", "--markdown", "t.md", "--csv", "t.csv")
    hostile.run("transfer", name, *options)
    hostile.run("export", f"{name}:@SUM(1)/baseline", "--to", out, "--format", "safetensors")
    hostile.run("explain", "baseline", "--data", str(hostile.data))
    hostile.run("list", "runs")
    Image.new("L", (8, 8)).save("\x1b[2Jimage.png")
    for line in hostile.run("predict", out, "\x1b[2Jimage.png", "--top", "30").splitlines()[1:]:
        assert re.fullmatch(r" +\d+\.\d\d  .+", line)

    assert list(tmp_path.iterdir()) == [hostile.folder]
    written = {"a.md", "a.csv", "d.md", "d.csv", "t.md", "t.csv", "study.toml", hostile.data.name, "\x1b[2Jimage.png"}
    others = {path for path in files(hostile.folder) if not path.startswith("runs/")} - written
    assert others == {f"{out}/{file}" for file in ("README.md", "model.json", "weights.safetensors")}
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", path) for path in files(hostile.folder / "runs"))

    pages = [*Path("runs/reports").glob("*.md"), *map(Path, ("a.md", "d.md", "t.md")), Path(out) / "README.md"]
    assert len(pages) == 5
    for path in pages:
        text = path.read_text()
        assert is_harmless(text), path
        # Without fences, code and front matter.
        outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$|`[^`\n]*`|^---\n.*?^---$", "", text)
        assert not re.search(r"(?<!\\)<(?!b>)\w", outside), path
    for path in (*Path("runs/reports").glob("*.csv"), *map(Path, ("a.csv", "d.csv", "t.csv"))):
        check_csv(path.read_text())
    (html,) = Path("runs/reports").glob("*.html")
    assert "<script>owned" not in html.read_text()
    check_html(html.read_text())
    tried(11, "commands on hostile names, all of which only displayed them")


def check_html(text: str) -> None:
    """Assert that no name became an element, and that no element acts by itself."""
    elements: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            elements.extend([(tag, ""), *((tag, name) for name, _ in attrs)])

    Reader().feed(text)
    assert ("script", "") in elements
    assert not {tag for tag, _ in elements} & {"img", "b", "iframe", "object", "form", "base", "link"}
    assert not [element for element in elements if element[1].startswith("on") or element[1] in ("srcdoc", "style")]
    assert elements.count(("script", "")) == 3  # the page's own


def check_csv(text: str) -> None:
    """Assert that no text cell starts like a formula."""
    assert is_harmless(text)
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            if not re.fullmatch(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|nan|inf)", cell):
                assert cell.lstrip()[:1] not in tuple("=+-@"), cell


@pytest.mark.parametrize("name", CONTROL)
def test_names_of_arms_are_one_line_of_text(name: str, hostile: HostileStudy) -> None:
    Path("a.toml").write_text(f"arms = [{{recipe = 'baseline', name = {json.dumps(name)}}}]", "utf-8", "replace")
    if name != "\udcff":  # which TOML cannot represent
        assert "an arm's name is one line of text, not " in hostile.run("study", "a.toml", code=2)
    with pytest.raises(ValueError, match="an arm's name is one line of text"):
        Study(lineages=(made.arm(name),))
    with pytest.raises(ValueError, match="a generation's name is one line of text"):
        Generation(name=name, model="resnet8", objective=labels_only(), schedule=Schedule())
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", [*PRINTABLE[:5], *CONTROL])
def test_errors_are_one_harmless_line(name: str, hostile: HostileStudy) -> None:
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
        output = hostile.run(*words, code=2)
        assert output.count("\n") == 1, (words, output)
    assert not any(path.name != "study.toml" for path in hostile.folder.iterdir() if path != hostile.data)


def test_runs_of_a_strangers_folder_are_listed_as_text(hostile: HostileStudy) -> None:
    """The folders of a stranger's run may have any names."""
    study = Study(lineages=(made.arm("a"),))
    name = made.write(study, Path("runs"), lambda *_: 0.5)
    for other in (CONTROL[1], "<script>owned()<\u2215script>", "=1+1", "two\nlines"):
        (Path("runs") / "studies" / other).mkdir()
        for file in (Path("runs") / "studies" / name).iterdir():
            (Path("runs") / "studies" / other / file.name).write_bytes(file.read_bytes())
        assert load_results(other, Path("runs")).name == other
        hostile.run("show", other)
        hostile.run("report", other)
        with pytest.raises(AssertionError):
            hostile.run("show", f"{other}2")
    assert len(hostile.run("list", "runs").splitlines()) == 6
    assert all(not path.name.startswith((".", "/")) for path in Path("runs/reports").iterdir())


def test_class_names_from_bytes_and_folders(tmp_path: Path) -> None:
    """Names that are not UTF-8 become text that is."""
    pixels, labels = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    np.savez(
        tmp_path / "a.npz",
        train_images=pixels,
        train_labels=labels,
        test_images=pixels,
        test_labels=labels,
        class_names=np.array([b"caf\xe9", b"\xff\xfe<script>"]),
    )
    assert read_npz(tmp_path / "a.npz").info.class_names == ("caf\\udce9", "\\udcff\\udcfe<script>")
    for label, name in enumerate((b"caf\xe9", b"\x1b[2J\n<script>")):
        folder = tmp_path / "photos" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for row in range(3):
            Image.new("L", (8, 8), label).save(folder / f"{row}.png")
    names = read_folder(tmp_path / "photos").info.class_names
    assert names == ("\x1b[2J\n<script>", "caf\\udce9")
    assert all(name.encode() for name in names)
    assert [printable(name) for name in names] == ["\\x1b[2J\\n<script>", "caf\\udce9"]


def test_names_in_reports_stay_text(tmp_path: Path) -> None:
    """The same for the functions behind the commands, with names that no command accepts."""
    study = Study(lineages=tuple(made.arm(name, lr=0.1 + k / 100) for k, name in enumerate(PRINTABLE)))
    made.write(study, tmp_path, lambda *_: 0.5, class_names=[f"{k}{CONTROL[k % 6]}" for k in range(10)])
    compared = made.comparison(study, tmp_path)
    check_csv(comparison_csv(compared))
    cells = [row[0] for row in csv.reader(io.StringIO(comparison_csv(compared)))][1:]
    assert all(cell in (name, f"'{name}") for cell, name in zip(cells, PRINTABLE, strict=True))
    text = comparison_markdown(compared)
    assert is_harmless(text)
    assert "\\<script\\>owned()\\</script\\>" in text
    assert "<script>owned" not in page({"a": compared})
    hostile = (*PRINTABLE, *CONTROL)
    table = make_table(
        "own",
        CONTROL[1],
        ("a", CONTROL[0]),
        [(Cell(name, name), Cell(name, name)) for name in hostile],
        hostile,
        [{"a": name} for name in hostile],
    )
    assert is_harmless(document(CONTROL[1], [table], f"tutelage {CONTROL[0]}\n```\n<script>{CONTROL[1]}"))
    check_csv(tables_csv([table]))


def test_a_terminal_receives_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(Cell(name[:60]), Cell(name[:60])) for name in (*PRINTABLE, *CONTROL)]
    print_tables(make_table("own", CONTROL[1], ["a", "b"], rows))
    output = capsys.readouterr().out
    assert is_harmless(output)
    for name in (*PRINTABLE[:4], *PRINTABLE[5:]):
        assert name.strip()[:60] in output  # "[bold red]" is not a style here, and ":smile:" not a picture
    assert printable_lines("\x1b[2J\n\x9b") == "\\x1b[2J\n\\x9b"
    assert torch.get_num_threads() == 1
