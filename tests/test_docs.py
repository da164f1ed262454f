"""The code in the pages runs, and prints what the comments behind it say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "methods.md", DOCS / "studies.md", DOCS / "tracking.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize(
    ("page", "code"),
    [
        pytest.param(page, found[1], id=f"{page.name}:{text[: found.start()].count(chr(10)) + 1}")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in BLOCK.finditer(text)
    ],
)
def test_blocks_print_what_they_say(page: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, page.name, "exec", dont_inherit=True), {"__name__": "page"})
    told = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert told
    assert capsys.readouterr().out.splitlines() == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_table_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert module.filled(page) == page, "run: python docs/generate.py"
