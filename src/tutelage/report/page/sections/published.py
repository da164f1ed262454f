"""The section of an experiment of a paper: published numbers beside measured ones."""

from __future__ import annotations

from tutelage.analysis import Comparison
from tutelage.analysis.published import compare_published
from tutelage.report.page.blocks import Section
from tutelage.report.published import published_table


def published(comparison: Comparison) -> Section:
    """What the paper published beside what was measured; empty for a study that is no experiment."""
    table = published_table(compare_published(comparison.results))
    return Section(title="Published beside measured", blocks=(table,) if table is not None and table.rows else ())
