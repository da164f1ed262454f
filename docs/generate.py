"""Write the tables of this folder that are made from code: ``python docs/generate.py``; a test keeps them true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from tutelage.methods import factories

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


def filled(page: str) -> str:
    """The page with the table between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{methods_table()}\n\n{END}{after}"


if __name__ == "__main__":
    path = DOCS / "methods.md"
    path.write_text(filled(path.read_text()))
    print(f"wrote {path}")
