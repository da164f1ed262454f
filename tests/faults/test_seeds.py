"""One seed of a study fails: the others finish, every output reports it, and a second run trains what is missing."""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path

import pytest

from tests.conftest import Tried
from tests.faults.commands import config_of, finish, stamps
from tests.warm import Warm

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
@pytest.mark.parametrize("parallel", [False, pytest.param(True, marks=pytest.mark.torture)])
def test_seeds_that_fail(parallel: bool, warm: Warm, tmp_path: Path, tried: Tried) -> None:
    """In one process, one after the other; or in parallel, where the process of one seed is killed too."""
    runs, page, table = tmp_path / "runs", tmp_path / "page.md", tmp_path / "table.csv"
    faults = {"1": "nan", "2": "raise", "4": "memory", **({"0": "die"} if parallel else {})}
    seeds = list(range(6))
    finished_seeds = [seed for seed in seeds if str(seed) not in faults]
    sound_seeds = [seed for seed in seeds if faults.get(str(seed)) != "die"]  # finished seeds of the sound arm
    words = (*WORDS, "--seeds", *map(str, seeds), "--markdown", str(page), "--csv", str(table))
    words = (*words, "--processes", "3" if parallel else "1")

    pid = warm.start(words, runs, FAULTS=json.dumps(faults))
    code, output = warm.wait(pid), warm.output(pid)
    assert code == 1, output
    assert "Traceback" not in output
    arms = {config_of(model)["lineage"]["name"] for model in (runs / "models").iterdir() if finished(model)}
    assert arms == {"baseline", "plain"}
    (study,) = (runs / "studies").iterdir()
    finish(warm, ("report",), runs)
    html = next((runs / "reports").glob("*.html")).read_text()
    for seed, fault in faults.items():
        arm = "" if fault == "die" else "baseline, "
        assert f"failed: {arm}seed {seed}: " in output
        for text in (output, page.read_text(), html):
            assert plain(REASONS[fault]) in plain(text)
    assert f"{len(finished_seeds)} of 6" in output
    assert f"{len(finished_seeds)} of 6" in page.read_text()
    assert f"{len(finished_seeds)} of 6" in html

    lines = {line["arm"]: line for line in csv.DictReader(table.read_text().splitlines())}
    accuracies = {
        (config["lineage"]["name"], config["lineage_seed"]): json.loads((model / "evaluation.json").read_bytes())
        for model in (runs / "models").iterdir()
        if finished(model) and (config := config_of(model))
    }
    for arm, expected_seeds in (("baseline", finished_seeds), ("plain", sound_seeds)):
        accuracies_of_arm = [accuracies[arm, seed]["test"]["top1"] for seed in expected_seeds]
        assert float(lines[arm]["top1"]) == pytest.approx(statistics.fmean(accuracies_of_arm))
    assert sorted(seed for arm, seed in accuracies if arm == "baseline") == finished_seeds

    earlier = {model: stamps(model) for model in (runs / "models").iterdir() if finished(model)}
    pid = warm.start(words, runs)
    code, output = warm.wait(pid), warm.output(pid)
    assert code == 0, output
    assert {model: stamps(model) for model in earlier} == earlier
    assert sorted(map(int, re.findall(r"seed (\d), baseline, baseline: trained in", output))) == sorted(
        map(int, faults)
    )
    assert "failed" not in output
    assert "failed" not in page.read_text()
    assert "of 6" not in page.read_text()
    assert len(list((runs / "models").iterdir())) == 2 * len(seeds)
    assert study.exists()
    tried(len(faults), f"seeds of 6 failed ({', '.join(faults.values())}), the second run trained these")


def finished(model: Path) -> bool:
    return (model / "manifest.json").exists()


def plain(text: str) -> str:
    """The text without line breaks, table borders, escapes and markup."""
    return re.sub(r"[^\w.,:]+", "", text.replace("&#39;", "").replace("\\\\n", "n").replace("\\n", "n"))
