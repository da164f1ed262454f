"""``make bench``: print the table of ratios; ``--save`` keeps it in ``benchmarks/results``."""

from __future__ import annotations

import argparse
import time
from itertools import chain
from pathlib import Path

from benchmarks import feature_taps, stored_teacher, trainer_efficiency
from benchmarks.measure import row, surroundings
from tutelage.engine import keep_freed_memory

HEAD = "| ratio | median | 95 % interval | goal | rounds | notes |\n|---|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/results")
    keep_freed_memory()
    arguments = parser.parse_args()
    table = [surroundings(), "", HEAD]
    print("\n".join(table), flush=True)
    ratios = (benchmark.run() for benchmark in (trainer_efficiency, feature_taps))
    for ratio in chain(ratios, stored_teacher.runs()):
        table.append(row(ratio))
        print(table[-1], flush=True)
    if arguments.save:
        folder = Path(__file__).parent / "results"
        folder.mkdir(exist_ok=True)
        path = folder / f"{time.strftime('%Y-%m-%d')}-cpu.md"
        path.write_text("\n".join(table) + "\n")
        print(f"\nkept in {path}")


if __name__ == "__main__":
    main()
