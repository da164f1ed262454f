"""The section of a study whose features were measured on other datasets."""

from __future__ import annotations

from dataclasses import replace

from tutelage.analysis import Comparison
from tutelage.analysis.transfer import transfer_records
from tutelage.report.page.blocks import Section
from tutelage.report.transfer import transfer_tables


def transfer(comparison: Comparison) -> Section:
    """What ``tutelage transfer`` measured of this study's models, if it did."""
    tables = transfer_tables(transfer_records(comparison.results))
    blocks = tuple(replace(table, folded=True) for table in tables if table.rows)
    return Section(title="Features on other data", blocks=blocks)
