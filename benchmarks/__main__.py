"""Print the table of measured ratios (``make bench``); ``--save`` writes it to ``benchmarks/results``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks import (
    checkpoint,
    data_path,
    determinism,
    feature_hooks,
    images,
    listing,
    memory,
    peers,
    report,
    seeds,
    startup,
    stored_teacher,
    teaching,
    trainer_efficiency,
)
from benchmarks.measure import machine, row
from tutelage.engine import keep_freed_memory
from tutelage.errors import unknown

ALL = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        trainer_efficiency,
        data_path,
        teaching,
        stored_teacher,
        peers,
        feature_hooks,
        checkpoint,
        startup,
        seeds,
        determinism,
        report,
        memory,
        images,
        listing,
    )
}
HEAD = "| ratio | median | 95 % interval | goal | verdict | rounds | notes |\n|---|---|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results")
    parser.add_argument("only", nargs="*", help=f"measure only these: {', '.join(ALL)}", metavar="NAME")
    keep_freed_memory()
    arguments = parser.parse_args()
    for name in arguments.only:
        if name not in ALL:
            parser.error(str(unknown("benchmark", name, ALL)))
    table = [machine(), "", HEAD]
    print("\n".join(table), flush=True)
    for name in arguments.only or ALL:
        for ratio in ALL[name].runs():
            table.append(row(ratio))
            print(table[-1], flush=True)
    if arguments.save:
        folder = Path(__file__).parent / "results"
        folder.mkdir(exist_ok=True)
        path = folder / f"{time.strftime('%Y-%m-%d')}-cpu.md"
        path.write_text("\n".join(table) + "\n")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
