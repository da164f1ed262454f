"""A study as a frozen value."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tutelage import errors, serialization
from tutelage.lineage import Lineage

MAX_MODELS = 20_000
"""Generations of all arms times seeds: each takes part of a millisecond whenever the study is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Arms x seeds: each lineage is an arm under its own name, trained once for every seed.

    ``reference`` names the arm that the others are compared to, the first by default; ``title`` replaces the arms in
    the study's name.

    Errors: ``ValueError`` for no lineage, two of one name, no seed, a seed twice, more than 20,000 models, or a
    reference that is no arm.
    """

    lineages: tuple[Lineage, ...]
    seeds: tuple[int, ...] = (0,)
    reference: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lineages", tuple(self.lineages))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.lineages:
            raise ValueError("a study needs at least one lineage")
        generations = sum(len(lineage.generations) for lineage in self.lineages)
        if generations * len(self.seeds) > MAX_MODELS:
            raise ValueError(
                f"{generations} generations with {len(self.seeds)} seeds are {generations * len(self.seeds)} models: "
                f"a study has at most {MAX_MODELS}; divide it into several"
            )
        text = str(list(self.seeds)) if len(self.seeds) <= 20 else f"{str(list(self.seeds[:20]))[:-1]}, ...]"
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a study needs seeds, each once, not {text}")
        if not all(0 <= seed < 2**63 for seed in self.seeds):
            raise ValueError(f"seeds are whole numbers from 0 on, not {text}")
        arms = [lineage.name for lineage in self.lineages]
        for arm, count in Counter(arms).items():
            if count > 1:
                raise ValueError(f"two arms of a study are named {arm!r}: give each a name of its own")
            if not arm.strip() or not arm.isprintable():
                raise ValueError(f"an arm's name is one line of text, not {arm!r}")
        if self.reference is not None and self.reference not in arms:
            raise errors.unknown("reference", self.reference, arms)

    @property
    def name(self) -> str:
        """A readable name that no other study has: its title, or arms, data and network, and a hash of the whole."""
        first = self.lineages[0]
        parts = [*(lineage.name for lineage in self.lineages[:3]), first.data.name, first.generations[-1].model]
        if self.title is not None:
            parts = [self.title]
        words = [re.sub(r"[^A-Za-z0-9_]+", "-", Path(part).stem).strip("-")[:40] for part in parts]
        # "study" where nothing is left, since a name that begins with a dash would be read as an option
        slug = "-".join(filter(None, words)) or "study"
        return f"{slug}-{serialization.digest(self)[:8]}"
