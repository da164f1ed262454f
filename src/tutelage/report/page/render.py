"""The HTML of a page: one file, in which scripts and styles are allowed by their hash alone."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from tutelage.report.page.blocks import Block, Chart, Listing, Statement, StudyPart
from tutelage.report.page.vega import missing_package, vega
from tutelage.report.table import Kind, Table

_MOST_UNFOLDED = 3
"""With more studies than this on a page, each of them is folded."""
_COLUMN_STYLES: dict[Kind, str] = {
    "number": "text-align:right;white-space:nowrap",
    "code": "font-family:var(--code);font-size:.8rem",
}


def html(parts: Sequence[StudyPart], overview: Table | None = None) -> str:
    """The page; ``overview`` is the table in front of several parts.

    Errors: ``ValueError`` that names the extra where a package is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "jinja2") from None
    here = files("tutelage.report.page")
    style = here.joinpath("page.css").read_text("utf-8") + _column_styles(parts, overview)
    script = here.joinpath("page.js").read_text("utf-8")
    library = vega()
    policy = f"default-src 'none'; script-src {_hash(script)} {_hash(library)}; style-src {_hash(style)}"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    kinds = {"statement": Statement, "table": Table, "chart": Chart, "listing": Listing}
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in kinds.items()}
    environment.filters |= {"column_classes": _column_classes, "javascript_number": _javascript_number}
    rendered = environment.from_string(here.joinpath("page.html").read_text("utf-8")).render(
        title=parts[0].title if len(parts) == 1 else f"{len(parts)} runs",
        parts=parts,
        overview=overview,
        links={part.name: number for number, part in enumerate(parts, 1)},
        folded=len(parts) > _MOST_UNFOLDED,
        policy=Markup(f"{policy}; base-uri 'none'; form-action 'none'"),
        style=Markup(style),
        script=Markup(script),
        data=_packed(json.dumps(_escaped(_data(parts)), separators=(",", ":"), allow_nan=False)),
        library=_packed(library),
        version=version("tutelage"),
    )
    return escape_unprintable(rendered)


def escape_unprintable(text: str) -> str:
    r"""Escape what is neither printable nor the end of a line: nothing steers the page or what it is copied into.

    >>> print(escape_unprintable("caf\u00e9\x1b\udcff\u202e"))
    café\x1b\udcff\u202e
    """
    return re.sub(r"[^\n -~]", _escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escaped(value: Any) -> Any:
    """A tree of plain values with :func:`escape_unprintable` applied to its texts."""
    match value:
        case str():
            return escape_unprintable(value)
        case Mapping():
            return {key: _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
    return value


def _blocks(parts: Sequence[StudyPart]) -> Iterator[tuple[StudyPart, Block]]:
    """The blocks of all parts, in the order in which the template writes them."""
    for part in parts:
        for section in part.sections:
            for block in section.blocks:
                yield part, block


def _data(parts: Sequence[StudyPart]) -> dict[str, Any]:
    """What the page's script reads: charts and folded listings by number, and each specification once."""
    charts: list[dict[str, Any]] = []
    specs: dict[str, Mapping[str, Any]] = {}
    listings: list[str] = []
    for part, block in _blocks(parts):
        if isinstance(block, Listing) and block.folded:
            listings.append(block.text)
        if isinstance(block, Chart):
            assert block.rows, f"the chart {block.name} has no rows: leave it out"
            spec = hashlib.sha256(json.dumps(block.spec).encode()).hexdigest()[:12]
            specs[spec] = block.spec
            charts.append(
                {
                    "file": f"{part.name}-{block.name}.csv",
                    "title": block.title,
                    "caption": block.caption,
                    "spec": spec,
                    "columns": {key: [row[key] for row in block.rows] for key in block.rows[0]},
                    "choices": [dataclasses.asdict(choice) for choice in block.choices],
                    "legend": [dataclasses.asdict(entry) for entry in block.legend],
                }
            )
    filters = [
        {"arms": [dataclasses.asdict(arm) for arm in part.arms], "ensembles": part.ensembles} for part in parts
    ]
    return {"charts": charts, "specs": specs, "listings": listings, "filters": filters}


def _column_classes(table: Table) -> str:
    """The classes of a table's element: ``number2 code3`` for numbers in its second and code in its third column."""
    columns = enumerate(table.columns, 1)
    return " ".join(f"{column.kind}{place}" for place, column in columns if column.kind in _COLUMN_STYLES)


def _column_styles(parts: Sequence[StudyPart], overview: Table | None) -> str:
    """A style for each of these classes, for as many columns as the widest table has.

    The policy forbids style attributes, and a class on each cell would make the page larger.
    """
    tables = [block for _, block in _blocks(parts) if isinstance(block, Table)]
    widest = max((len(table.columns) for table in [*tables, overview] if table is not None), default=0)
    return "".join(
        f".{kind}{place} tr>:nth-child({place}){{{style}}}\n"
        for kind, style in _COLUMN_STYLES.items()
        for place in range(1, widest + 1)
    )


def _javascript_number(value: float) -> str:
    """A number as JavaScript reads it.

    >>> _javascript_number(0.1), _javascript_number(float("-inf"))
    ('0.1', '-Infinity')
    """
    return f"{value}".replace("inf", "Infinity")


def _packed(text: str) -> str:
    """Text in a tenth of its size; the page's script unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
