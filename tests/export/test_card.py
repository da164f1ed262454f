"""The model card: what it says, that its code runs, and that nobody's names steer it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tutelage.export import Contract, Exported, Source, open_folder
from tutelage.export.card import card

FILES: dict[str, Any] = {"weights.safetensors": {"size": 1234, "sha256": "ab" * 32}}


@pytest.fixture
def text(exported: Exported) -> str:
    return (exported.folder / "README.md").read_text()


@pytest.fixture
def contract(exported: Exported) -> Contract:
    return open_folder(exported.folder).contract


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(matter)
    return found


def test_what_it_says(text: str, source: Source) -> None:
    every = [model.evaluation()["test"]["top1"] for model in source.siblings]
    assert f"| test | this model | {100 * every[0]:.2f} |" in text
    assert re.search(r"\| test \| mean ± standard deviation of 2 \| \d+\.\d\d ± \d+\.\d\d \|", text)
    assert "- Data: digits, 300 training images; fingerprint" in text
    assert "`0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)`" in text
    assert "- Teacher: big one, a resnet14 (" in text
    assert "- BatchLoader: 3; seed 0; fp32." in text
    assert "the test set was measured once" in text
    assert "Classes, in the order of the logits: 0, 1, 2" in text
    assert "Not stated: ask whoever gave you this model" in text


def test_the_front_matter(text: str, source: Source) -> None:
    found = front_matter(text)
    assert found["license"] == "unknown"
    assert found["pipeline_tag"] == "image-classification"
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"]["name"] == "digits"
    assert result["metrics"][0]["value"] == pytest.approx(source.model.evaluation()["test"]["top1"], abs=1e-6)


def test_its_code_runs(text: str, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported.folder)
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block, "README.md", "exec"), names)
        assert tuple(names["logits"].shape) == (1, 10)


HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "`code`",
    "[link](http://example.com)",
    "![image](x)",
    "two\nlines\n# heading",
    "---",
    "&amp;",
    "*bold* _it_ ~~no~~ $x$ @you http://example.com www.example.com",
    "\x1b[2Jgone\x07",
    "\\",
    "\u202egnp.exe",
)


@pytest.mark.fault(38)
def test_hostile_names_are_shown_letter_by_letter(contract: Contract, source: Source) -> None:
    about = contract.about | {"generation": "<b>\n# g", "lineage": "l](x)", "method": "`` ` <i> ``"}
    about["data"] = about["data"] | {"name": '"\n---\nlicense: mit'}
    about["teachers"] = [{"generation": "<u>", "model": "a`b", "address": "`x`"}]
    hostile = dataclasses.replace(contract, class_names=HOSTILE, about=about, model='m"\n<img>')
    text = card(hostile, source, FILES, "unknown")
    matter = front_matter(text)
    assert matter["license"] == "unknown"
    assert matter["model-index"][0]["results"][0]["dataset"]["name"] == '"\\n---\\nlicense: mit'
    body = text.split("\n---\n", 1)[1]
    html = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    assert not re.search(r"<(script|b|i|u|img|a|del|em|strong)\b", html)
    assert html.count("<h1>") == 1
    for name in HOSTILE:
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
        escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        assert escaped in html, name
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_many_classes_are_cut(contract: Contract, source: Source) -> None:
    many = dataclasses.replace(contract, class_names=tuple(f"class {k}" for k in range(150)))
    text = card(many, source, FILES, "unknown")
    assert "class 99, and 50 more in `model.json`." in text
    assert "class 100" not in text


def test_a_watched_test_set_is_owned_up_to(contract: Contract, source: Source) -> None:
    watched = dataclasses.replace(contract, about=contract.about | {"test_set_watched": True})
    assert "the test set was also watched" in card(watched, source, FILES, "unknown")


def test_a_licence_and_no_run(contract: Contract, source: Source) -> None:
    alone = dataclasses.replace(source, siblings=())
    text = card(contract, alone, FILES, "CC-BY-4.0")
    assert front_matter(text)["license"] == "cc-by-4.0"
    assert "\ncc-by-4.0. The data has its own.\n" in text
    assert "standard deviation" not in text


def test_a_network_of_another_input_size(contract: Contract, source: Source) -> None:
    resized = dataclasses.replace(contract.normalization, size=224)
    text = card(dataclasses.replace(contract, normalization=resized), source, FILES, "unknown")
    assert "resize to 224 x 224 (bilinear, antialiased), then (image − mean) / std" in text


def test_the_page_is_one_file_of_text(exported: Exported) -> None:
    assert Path(exported.folder / "README.md").read_bytes().decode("utf-8").endswith("\n")
