"""How ``make torture`` divides the tests, and what it makes a page of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults import rows, torture

HERE = Path(__file__).parent


def part(name: str, commit: str = "0123456789ab", **fields: Any) -> dict[str, Any]:
    test = {"test": f"tests/faults/test_{name}.py::test_it[a]", "rows": [1, 2], "outcome": "passed", "reason": ""}
    return {
        "part": name,
        "command": f"TUTELAGE_FUZZ=60 make torture PART={name}",
        "commit": commit,
        "date": "2026-11-21",
        "processor": "A Processor, 2 cores, Linux 6.18",
        "versions": "Python 3.11.7, torch 2.13.0",
        "seconds": 3000,
        "tests": [{**test, "tried": [[1200, "kills"]]}],
        **fields,
    }


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own with a page, and a folder of results that git ignores."""
    root = tmp_path / "checkout"
    (root / "docs" / "evidence").mkdir(parents=True)
    (root / ".venv").mkdir()
    (root / ".gitignore").write_text(".venv/\n")
    (root / "docs" / "evidence" / "faults.md").write_text("old\n")
    monkeypatch.setattr(torture, "ROOT", root)
    monkeypatch.setattr(torture, "RESULTS", root / ".venv")
    monkeypatch.setattr(torture, "PAGE", root / "docs" / "evidence" / "faults.md")
    git = ("git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *words], check=True)
    return root


@pytest.fixture
def pytest_run(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Instead of running tests: one passes, in each part. Returns the commands and environments."""
    calls: list[dict[str, Any]] = []
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if "pytest" not in command:
            return real(command, **options)
        calls.append({"command": command, **options})
        Path(options["env"]["TUTELAGE_FAULTS"]).write_text(json.dumps(part("kills")["tests"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_each_test_belongs_to_one_part() -> None:
    """The last part runs whatever the others leave."""
    named = [name for names in torture.PARTS.values() for name in names]
    assert len(set(named)) == len(named)
    assert [name for name in named if not (HERE / name).exists()] == []
    assert [name for name, names in torture.PARTS.items() if not names] == ["rest"]
    assert {word.removeprefix("--ignore=tests/faults/") for word in torture.words("rest")[1:]} == set(named)


def test_a_page_says_which_commands_made_it_and_which_parts_it_lacks() -> None:
    text = rows.page([part("kills"), part("soak", seconds=1800)], ["kills", "soak", "fuzz"])
    assert "Commit 0123456789ab. **Parts that have not run: fuzz.**" in text
    assert (
        "| `TUTELAGE_FUZZ=60 make torture PART=soak` | 2026-11-21 | 30 | 1 | A Processor, 2 cores, Linux 6.18, "
        "Python 3.11.7, torch 2.13.0 |"
    ) in text
    assert "- `tests/faults/test_kills.py::test_it`: 1 passed; kills: 1,200" in text
    assert text.index("**Not run.**") > text.index("## 3.") > text.index("Kept in the parts that have run.")
    assert "\n\n\n" not in text
    whole = rows.page([part("kills")], ["kills"])
    assert "have not run" not in whole
    assert "**Without a test.**" in whole


def test_parts_of_one_commit_make_a_page(
    checkout: Path, pytest_run: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTELAGE_FUZZ", "7")
    assert torture.main(["kills"]) == 0
    assert torture.main(["fuzz"]) == 0  # the page of the first part is no change
    text = torture.PAGE.read_text()
    assert "`TUTELAGE_FUZZ=7 make torture PART=kills`" in text
    assert "Parts that have not run: soak, power, rest." in text
    assert {call["env"]["TUTELAGE_TORTURE"] for call in pytest_run} == {"1"}
    assert {call["env"]["TUTELAGE_FUZZ"] for call in pytest_run} == {"7"}
    monkeypatch.delenv("TUTELAGE_FUZZ")
    assert torture.main([]) == 0
    assert "have not run" not in torture.PAGE.read_text()
    assert 300 <= int(pytest_run[-1]["env"]["TUTELAGE_FUZZ"]) <= 600
    assert {path.name for path in torture.RESULTS.iterdir()} == {f"faults-{name}.json" for name in torture.PARTS}


@pytest.mark.parametrize("name", ["new.py", ".gitignore", "docs/evidence/other.md"])
def test_nothing_runs_on_what_is_not_committed(name: str, checkout: Path, pytest_run: list[dict[str, Any]]) -> None:
    (checkout / name).write_text("changed\n")
    with pytest.raises(torture.Refused, match=f"commit your changes first.*{name}"):
        torture.main(["kills"])
    assert pytest_run == []


def test_parts_of_different_commits_make_no_page(checkout: Path, pytest_run: list[dict[str, Any]]) -> None:
    (torture.RESULTS / "faults-soak.json").write_text(json.dumps(part("soak")))
    with pytest.raises(torture.Refused, match=r"of different commits: kills [0-9a-f]{12}, soak 0123456789ab"):
        torture.main(["kills"])
    assert torture.PAGE.read_text() == "old\n"
    assert len(pytest_run) == 1


@pytest.mark.parametrize("code", [2, 3, 4, 5, -9])
def test_a_part_that_did_not_end_leaves_no_result(code: int, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (torture.RESULTS / "faults-kills.json").write_text(json.dumps(part("kills")))
    monkeypatch.setattr(torture, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code))
    with pytest.raises(torture.Refused, match=f"kills did not run to its end: pytest ended with {code}"):
        torture.main(["kills"])
    assert list(torture.RESULTS.iterdir()) == []


def test_failed_tests_are_a_result(checkout: Path, pytest_run: list[dict[str, Any]]) -> None:
    failed = part("kills", tests=[{**part("kills")["tests"][0], "outcome": "failed"}])
    text = rows.page([failed], ["kills"])
    assert "**Not kept.**" in text
    assert "2 broken" in text


def test_a_part_that_does_not_exist() -> None:
    with pytest.raises(torture.Refused, match="there is no part kill: the parts are kills, soak, power, fuzz, rest"):
        torture.main(["kill"])


@pytest.mark.parametrize(
    ("share", "numbers"),
    [("", [4, 0, 13, 1]), ("1", [300, 1, 1, 3]), ("0.1", [30, 1, 1, 2]), ("0.001", [4, 1, 1, 2])],
)
def test_how_often_something_is_tried(
    share: str, numbers: list[int], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is 0 or 1 in torture is no number of repetitions, and has no share."""
    monkeypatch.setenv("TUTELAGE_TORTURE", share)
    many = request.getfixturevalue("many")
    assert [many(4, 300), many(0, 1), many(13, 1), many(1, 3)] == numbers
