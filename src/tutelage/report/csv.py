"""Records as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tutelage.report.format import escape_csv
from tutelage.report.table import Record, Table


def records_csv(records: Iterable[Record]) -> str:
    """One line per record, with all digits; columns that a record lacks are empty.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    lines = list(records)
    names = dict.fromkeys(name for record in lines for name in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    for record in lines:
        writer.writerow({k: escape_csv(value) if isinstance(value, str) else value for k, value in record.items()})
    return text.getvalue()


def tables_csv(tables: Sequence[Table], column: str = "diagnostic") -> str:
    """The records of several tables as one CSV, whose first column names the table."""
    return records_csv({column: table.name} | dict(record) for table in tables for record in table.records)
