"""The model card: its content, its code, and names that try to break out of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.conftest import Tried
from tutelage import storage
from tutelage.artifacts.config import model_address
from tutelage.export import ExportResult, FinishedModel, ModelMetadata, load_folder
from tutelage.export.card import model_card
from tutelage.export.origin import export_metadata

FILES: dict[str, Any] = {"weights.safetensors": {"size": 1234, "sha256": "ab" * 32}}


@pytest.fixture
def text(exported: ExportResult) -> str:
    return (exported.folder / "README.md").read_text()


@pytest.fixture
def metadata(exported: ExportResult) -> ModelMetadata:
    return load_folder(exported.folder).metadata


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    values: dict[str, Any] = yaml.safe_load(matter)
    return values


def test_the_content(text: str, source: FinishedModel) -> None:
    every = [model.evaluation()["test"].top1 for model in source.siblings]
    assert f"| test | this model | {100 * every[0]:.2f} |" in text
    assert re.search(r"\| test \| mean ± standard deviation of 2 \| \d+\.\d\d ± \d+\.\d\d \|", text)
    assert "- Data: digits, 300 training images; fingerprint" in text
    assert "`0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)`" in text
    assert "- Teacher: big one, a resnet14 (" in text
    assert "- Epochs: 3; seed 0; fp32." in text
    assert "the test set was measured once" in text
    assert "Classes, in the order of the logits: 0, 1, 2" in text
    assert "Not stated. Ask whoever gave you this model" in text


def test_the_front_matter(text: str, source: FinishedModel) -> None:
    values = front_matter(text)
    assert values["license"] == "unknown"
    assert values["pipeline_tag"] == "image-classification"
    (result,) = values["model-index"][0]["results"]
    assert result["dataset"]["name"] == "digits"
    assert result["metrics"][0]["value"] == pytest.approx(source.model.evaluation()["test"].top1, abs=1e-6)


def test_its_code_runs(text: str, exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_hostile_names_are_shown_letter_by_letter(metadata: ModelMetadata, source: FinishedModel) -> None:
    about = metadata.about | {"generation": "<b>\n# g", "lineage": "l](x)", "method": "`` ` <i> ``"}
    about["data"] = about["data"] | {"name": '"\n---\nlicense: mit'}
    about["teachers"] = [{"generation": "<u>", "model": "a`b", "address": "`x`"}]
    hostile = dataclasses.replace(metadata, class_names=HOSTILE, about=about, model='m"\n<img>')
    text = model_card(hostile, source, FILES, "unknown")
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


def test_many_classes_are_cut(metadata: ModelMetadata, source: FinishedModel) -> None:
    many = dataclasses.replace(metadata, class_names=tuple(f"class {k}" for k in range(150)))
    text = model_card(many, source, FILES, "unknown")
    assert "class 99, and 50 more in `model.json`." in text
    assert "class 100" not in text


def test_a_watched_test_set_is_disclosed(metadata: ModelMetadata, source: FinishedModel) -> None:
    watched = dataclasses.replace(metadata, about=metadata.about | {"test_set_watched": True})
    assert "the test set was also measured after each epoch" in model_card(watched, source, FILES, "unknown")


def test_a_licence_and_no_run(metadata: ModelMetadata, source: FinishedModel) -> None:
    alone = dataclasses.replace(source, siblings=())
    text = model_card(metadata, alone, FILES, "CC-BY-4.0")
    assert front_matter(text)["license"] == "cc-by-4.0"
    assert "\ncc-by-4.0. The training data has a licence of its own.\n" in text
    assert "standard deviation" not in text


def test_a_network_of_another_input_size(metadata: ModelMetadata, source: FinishedModel) -> None:
    resized = dataclasses.replace(metadata.normalization, size=224)
    text = model_card(dataclasses.replace(metadata, normalization=resized), source, FILES, "unknown")
    assert "resize to 224 x 224 (bilinear, antialiased), then (image − mean) / std" in text


def test_the_page_is_one_file_of_text(exported: ExportResult) -> None:
    assert Path(exported.folder / "README.md").read_bytes().decode("utf-8").endswith("\n")


INJECTION = '"}\n---\n# <img src=x> [a](b) | `c`'


def variants(tree: Any) -> Iterator[Any]:
    """The tree with each of its values, or one of its keys, replaced by hostile text, or with such a key added."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree | {INJECTION: value}
            yield {INJECTION if name == key else name: inner for name, inner in tree.items()}
            for variant in variants(value):
                yield tree | {key: variant}
    elif isinstance(tree, list) and tree:
        for variant in variants(tree[0]):
            yield [variant, *tree[1:]]
    else:
        yield INJECTION


@pytest.mark.fault(38)
def test_whatever_a_models_files_say_stays_text(
    source: FinishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried
) -> None:
    """Any value and any key of its configuration and its measures, under a manifest and an address that fit."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    names = "config.json", "evaluation.json", "metrics.jsonl"
    files = {name: (source.model.folder / name).read_bytes() for name in names}
    cards = refused = 0
    for name in names[:2]:
        for variant in variants(json.loads(files[name])):
            content = files | {name: json.dumps(variant).encode()}
            storage.commit(tmp_path / "model", content)
            with contextlib.suppress(KeyError, IndexError, TypeError):
                address = model_address(json.loads(content["config.json"]))
            model = dataclasses.replace(source.model, address=address, folder=tmp_path / "model")
            changed = dataclasses.replace(source, model=model, siblings=(model, model))
            try:
                text = model_card(export_metadata(changed), changed, FILES, "unknown")
            except ValueError:
                refused += 1
                continue
            cards += 1
            values = front_matter(text)
            assert set(values) == {"license", "library_name", "pipeline_tag", "tags", "model-index"}
            assert values["license"] == "unknown"
            html = MarkdownIt("gfm-like", {"linkify": False}).render(text.split("\n---\n", 1)[1])
            assert not re.search(r"<(img|a)\b", html), variant
            assert html.count("<h1>") == 1
            assert {row.count("<td") for row in html.split("<tr>")[2:]} == {6}
    assert min(cards, refused) > 20
    tried(cards, f"hostile texts in a model's files, which stay text in its card; {refused} more are refused")
