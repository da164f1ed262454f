"""Write the tables of this folder that are made from code: ``python docs/generate.py``; a test keeps them true."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from tutelage.experiments import experiments, unavailable_experiments
from tutelage.methods import factories
from tutelage.published import tables

DOCS = Path(__file__).parent
BEGIN, END = "<!-- begin: made by docs/generate.py -->", "<!-- end: made by docs/generate.py -->"


def methods_table() -> str:
    """Every method with its file, its formula at its defaults, its arguments and the golden test that names it."""
    tests = {path: path.read_text() for path in sorted((DOCS.parent / "tests" / "methods").glob("test_golden*.py"))}
    tests |= {path: path.read_text() for path in sorted((DOCS.parent / "tests" / "methods").glob("test_presets.py"))}
    lines = ["| file | method | by default | arguments | golden test |", "|---|---|---|---|---|"]
    for name, function in factories().items():
        file = function.__module__.rpartition(".")[2]
        found = [path for path, text in tests.items() if re.search(rf"\b{name}\b", text)]
        assert found, f"no golden test names {name}"
        golden = f"[{found[0].name}](../tests/methods/{found[0].name})"
        parameters = inspect.signature(function).parameters.values()
        options = ", ".join(f"{parameter.name}={parameter.default!r}" for parameter in parameters)
        formula = str(function()).replace("|", "\\|").replace("](", "] (")  # not a link
        where = f"[{file}.py](../src/tutelage/methods/{file}.py)"
        lines.append(f"| {where} | `{name}` | {formula} | `{options or 'none'}` | {golden} |")
    return "\n".join(lines)


def published_lists() -> str:
    """Every printed table, every experiment with its departures, and what is left out."""
    lines = ["## All tables", "", "| paper | table | metric | read in | numbers |", "|---|---|---|---|---|"]
    for table in tables():
        paper = f"[{table.paper}](https://arxiv.org/abs/{table.paper})" if table.paper[0].isdigit() else table.paper
        source = f" ({table.source})" if table.source else ""
        count = len(table.cells) or ""
        lines.append(f"| {paper} | {table.table} | {table.metric} | {table.certainty}{source} | {count} |")
    lines += ["", "## All experiments", ""]
    groups: dict[str, list[str]] = {}
    for name in experiments():
        groups.setdefault(name.partition("/")[0], []).append(name)
    for paper, names in groups.items():
        found = [experiments()[name] for name in names]
        lines += [f"### {paper}", "", "| experiment | what it compares | numbers |", "|---|---|---|"]
        lines += [f"| `{one.name}` | {one.description} | {len(one.links) or 'none'} |" for one in found]
        differs = _once(remark.text for one in found for remark in one.differences)
        unknown = _once(remark.text for one in found for remark in one.unknowns)
        missing = _once(f"{arm.name}: {arm.reason}" for one in found for arm in one.unavailable_arms)
        for heading, texts in (("At full length", differs), ("Not known", unknown), ("No arm", missing)):
            lines += ["", f"{heading}:", "", *(f"- {text}" for text in texts)] if texts else []
        lines.append("")
    lines += ["## Left out", "", "| experiments | why |", "|---|---|"]
    reasons: dict[str, list[str]] = {}
    for name, reason in unavailable_experiments().items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    lines += [f"| {', '.join(names)} | {reason} |" for reason, names in reasons.items()]
    return "\n".join(lines)


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def filled(page: str, made: Callable[[], str] = methods_table) -> str:
    """The page with what stands between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made()}\n\n{END}{after}"


if __name__ == "__main__":
    for name, made in {"methods.md": methods_table, "published.md": published_lists}.items():
        path = DOCS / name
        path.write_text(filled(path.read_text(), made))
        print(f"wrote {path}")
