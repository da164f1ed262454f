"""A study as a frozen value, and where it is written down."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tutelage import config, storage
from tutelage.lineage import Lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Lineages, each trained once for every seed; ``watch_test`` and ``meter`` are those of ``lineage.train``.

    Errors: ``ValueError`` for no lineage, no seed, or the same seed twice.
    """

    lineages: tuple[Lineage, ...]
    seeds: tuple[int, ...] = (0,)
    watch_test: bool = False
    meter: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lineages", tuple(self.lineages))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.lineages:
            raise ValueError("a study needs at least one lineage")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a study needs seeds, each once, not {list(self.seeds)}")
        if not all(0 <= seed < 2**63 for seed in self.seeds):
            raise ValueError(f"seeds are whole numbers from 0 on, not {list(self.seeds)}")

    @property
    def name(self) -> str:
        """A readable name that no other study has: lineages, data, network and a hash of the whole."""
        first = self.lineages[0]
        words = [*(lineage.name for lineage in self.lineages[:3]), first.data.name, first.generations[-1].model]
        slug = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", Path(word).stem).strip("-")[:40] for word in words)
        return f"{slug}-{config.digest(self)[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A study as it is written down: with it, all that decides where its models lie; one entry a lineage."""

    study: Study
    precision: str
    fingerprints: tuple[str, ...]
    num_classes: tuple[int, ...]


def write_study(written: Written, runs: Path) -> None:
    """Write a study down before it starts, so that a part of it can be shown while it runs."""
    folder = runs / "studies" / written.study.name
    content = storage.json_bytes(config.to_json(written))
    if not storage.is_finished(folder) or (folder / "study.json").read_bytes() != content:
        storage.commit(folder, {"study.json": content})


def studies(runs: Path) -> list[str]:
    """The names of all studies in a runs folder, the newest first."""
    found = [path for path in (runs / "studies").glob("*") if storage.is_finished(path)]
    return [path.name for path in sorted(found, key=lambda path: -(path / "study.json").stat().st_mtime)]


def load_study(name: str, runs: Path) -> Written:
    """Read a study that was written down.

    Errors: ``ValueError`` with the nearest names; ``storage.Damaged``.
    """
    folder = runs / "studies" / name
    if not storage.is_finished(folder):
        known = studies(runs)
        if not known:
            raise ValueError(f"no run named {name!r}: {runs} holds none yet")
        raise config.unknown("run", name, known)
    storage.verify(folder)
    written = config.from_json(json.loads((folder / "study.json").read_bytes()))
    assert isinstance(written, Written)
    return written
