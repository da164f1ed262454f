"""docs/published.md: its code prints what it says, and its lists are what the package says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tutelage.experiments import experiments, unavailable_experiments

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "published.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_print_what_they_say(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "published.md", "exec"), {"__name__": "page"})
    promised = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert promised
    assert capsys.readouterr().out.splitlines() == promised


def test_links_within_the_repository_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE) if "://" not in link]
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_commands_name_experiments_that_exist() -> None:
    names = re.findall(r"^tutelage study (\S+)", PAGE, re.M)
    assert len(names) == 2
    assert set(names) <= set(experiments())


def test_the_lists_are_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled(PAGE, module.published_lists) == PAGE, "run: python docs/generate.py"
    assert all(f"`{name}`" in PAGE for name in (*experiments(), *unavailable_experiments()))
