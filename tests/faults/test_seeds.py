"""One seed of a study fails: the others do not, all that is shown says so, and a second run makes up for it."""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
from pathlib import Path

import pytest

from tests.conftest import Tried
from tests.faults.commands import finish, made_of, stamps
from tests.faults.warm import Warm

WORDS = (
    *("study", "--arm", "baseline --model tests.faults.networks:Faulty", "--arm", "plain=baseline --model resnet8"),
    *("--reference", "plain", "--epochs", "10", "--train-size", "100", "--test-size", "60"),
    *("--threads", "1", "--track", "none"),
)
REASONS = {
    "nan": "the loss is nan at step 1 of 20",
    "raise": "KeyError: 'a layer\\\\nof this name' (networks.py, line",
    "memory": "can't allocate memory",
    "die": "its process ended with signal 9",
}


@pytest.mark.fault(37)
@pytest.mark.parametrize("side_by_side", [False, pytest.param(True, marks=pytest.mark.torture)])
def test_seeds_that_fail(side_by_side: bool, warm: Warm, tmp_path: Path, tried: Tried) -> None:
    """In one process, one after the other; or side by side, where the process of one of them is killed too."""
    runs, page, table = tmp_path / "runs", tmp_path / "page.md", tmp_path / "table.csv"
    faults = {"1": "nan", "2": "raise", "4": "memory", **({"0": "die"} if side_by_side else {})}
    seeds = list(range(6))
    well = [seed for seed in seeds if str(seed) not in faults]
    both = [seed for seed in seeds if faults.get(str(seed)) != "die"]  # seeds of the arm that does not fail
    words = (*WORDS, "--seeds", *map(str, seeds), "--markdown", str(page), "--csv", str(table))

    pid = warm.start(words, runs, FAULTS=json.dumps(faults))
    if not side_by_side:
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})  # as many processes as there are cores for them
    code, said = warm.wait(pid), warm.said(pid)
    assert code == 1, said
    assert "Traceback" not in said
    arms = {made_of(model)["lineage"]["name"] for model in (runs / "models").iterdir() if finished(model)}
    assert arms == {"baseline", "plain"}
    (study,) = (runs / "studies").iterdir()
    finish(warm, ("report",), runs)
    html = next((runs / "reports").glob("*.html")).read_text()
    for seed, fault in faults.items():
        arm = "" if fault == "die" else "baseline, "
        assert f"failed: {arm}seed {seed}: " in said
        for shown in (said, page.read_text(), html):
            assert plain(REASONS[fault]) in plain(shown)
    assert f"{len(well)} of 6" in said
    assert f"{len(well)} of 6" in page.read_text()
    assert f"{len(well)} of 6" in html

    lines = {line["arm"]: line for line in csv.DictReader(table.read_text().splitlines())}
    accuracies = {
        (told["lineage"]["name"], told["lineage_seed"]): json.loads((model / "evaluation.json").read_bytes())
        for model in (runs / "models").iterdir()
        if finished(model) and (told := made_of(model))
    }
    for arm, there in (("baseline", well), ("plain", both)):
        found = [accuracies[arm, seed]["test"]["top1"] for seed in there]
        assert float(lines[arm]["top1"]) == pytest.approx(statistics.fmean(found))
    assert sorted(seed for arm, seed in accuracies if arm == "baseline") == well

    kept = {model: stamps(model) for model in (runs / "models").iterdir() if finished(model)}
    pid = warm.start(words, runs)
    if not side_by_side:
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})
    code, said = warm.wait(pid), warm.said(pid)
    assert code == 0, said
    assert {model: stamps(model) for model in kept} == kept
    assert sorted(map(int, re.findall(r"seed (\d), baseline, baseline: trained in", said))) == sorted(
        map(int, faults)
    )
    assert "failed" not in said
    assert "failed" not in page.read_text()
    assert "of 6" not in page.read_text()
    assert len(list((runs / "models").iterdir())) == 2 * len(seeds)
    assert study.exists()
    tried(len(faults), f"seeds of 6 failed ({', '.join(faults.values())}), the second run trained these")


def finished(model: Path) -> bool:
    return (model / "manifest.json").exists()


def plain(text: str) -> str:
    """Without what lines, tables and pages do to it."""
    return re.sub(r"[^\w.,:]+", "", text.replace("&#39;", "").replace("\\\\n", "n").replace("\\n", "n"))
