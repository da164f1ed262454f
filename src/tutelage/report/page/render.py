"""From the parts of a page to its HTML: one file, in which scripts and styles are allowed by their hash alone."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from tutelage.report.page.blocks import Chart, Listing, Part, Statement, Table
from tutelage.report.page.vega import needs, vega

_MOST_OPEN = 3
"""With more studies than this on a page, each opens on request."""


def html(parts: Sequence[Part], overview: Table | None = None) -> str:
    """The page; ``overview`` is the table that stands before several parts.

    Errors: ``ValueError`` that names the extra where a package is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise needs(error.name or "jinja2") from None
    here = files("tutelage.report.page")
    style, script, template = (here.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js", "html"))
    style += _columns(parts, overview)
    library = vega()
    allowed = f"script-src {_hash(script)} {_hash(library)}; style-src {_hash(style)}"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made = environment.from_string(template).render(
        title=parts[0].title if len(parts) == 1 else f"{len(parts)} runs",
        parts=parts,
        overview=overview,
        links={part.name: number for number, part in enumerate(parts, 1)},
        folded=len(parts) > _MOST_OPEN,
        policy=Markup(f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"),
        style=Markup(style),
        script=Markup(script),
        data=_packed(json.dumps(_printed(_data(parts)), separators=(",", ":"), allow_nan=False)),
        library=_packed(library),
        version=version("tutelage"),
    )
    return printable(made)


def printable(text: str) -> str:
    r"""Text of which nothing steers the page or what it is copied into: escapes for what cannot be printed.

    >>> print(printable("caf\u00e9\x1b\udcff\u202e"))
    café\x1b\udcff\u202e
    """
    return re.sub(r"[^\n -~]", _seen, text)


def _seen(found: re.Match[str]) -> str:
    mark = found[0]
    return mark if mark.isprintable() else mark.encode("unicode_escape").decode()


def _blocks(parts: Sequence[Part]) -> Iterator[tuple[Part, Statement | Table | Chart | Listing]]:
    """The blocks of all parts, in the order in which the template writes them."""
    for part in parts:
        for section in part.sections:
            for block in section.blocks:
                yield part, block


def _data(parts: Sequence[Part]) -> dict[str, Any]:
    """What the page's script reads: charts and folded listings by number, and each specification once."""
    charts: list[dict[str, Any]] = []
    specs: dict[str, Mapping[str, Any]] = {}
    listings: list[str] = []
    for part, block in _blocks(parts):
        if isinstance(block, Listing) and block.folded:
            listings.append(block.text)
        if isinstance(block, Chart):
            assert block.rows, f"the chart {block.name} has no rows: leave it out"
            name = hashlib.sha256(json.dumps(block.spec).encode()).hexdigest()[:12]
            specs[name] = block.spec
            charts.append(
                {
                    "file": f"{part.name}-{block.name}.csv",
                    "title": block.title,
                    "words": block.words,
                    "spec": name,
                    "columns": {key: [row[key] for row in block.rows] for key in block.rows[0]},
                    "choices": block.choices,
                    "key": block.key,
                }
            )
    filters = [{"arms": part.arms, "kinds": part.kinds} for part in parts]
    return {"charts": charts, "specs": specs, "listings": listings, "filters": filters}


def _printed(value: Any) -> Any:
    """A tree of plain values with all its texts as :func:`printable` has them."""
    match value:
        case str():
            return printable(value)
        case Mapping():
            return {key: _printed(item) for key, item in value.items()}
        case list() | tuple():
            return [_printed(item) for item in value]
    return value


def _columns(parts: Sequence[Part], overview: Table | None) -> str:
    """Styles of the columns of numbers and of code, in as many columns as the widest table has."""
    tables = [block for _, block in _blocks(parts) if isinstance(block, Table)]
    widest = max((len(table.columns) for table in [*tables, overview] if table is not None), default=0)
    looks = (("n", "text-align:right;white-space:nowrap"), ("k", "font-family:var(--code);font-size:.8rem"))
    return "".join(
        f".{kind}{place} tr>:nth-child({place}){{{rule}}}\n" for kind, rule in looks for place in range(1, widest + 1)
    )


def _packed(text: str) -> str:
    """Text in a tenth of its size; the page's script unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
