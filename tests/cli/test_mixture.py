"""Mixtures of methods on the command line: every term is shown, and what would be lost is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tutelage import api
from tutelage.lineage import Stopped
from tutelage.study import Event, Study

MIXED = ("distill", "born_again", "tolerant", "reversed", "defective", "tf_kd_self")


def test_explain_shows_every_term_and_says_what_changes_a_target_instead(in_process: InProcess) -> None:
    added = ("--add", "knowledge_adjustment", "--add", "attention_transfer")
    code, out, error = in_process("explain", "distill", "--method", "distillation", *added)
    assert (code, error) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert (
        "minimises 0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)"
        " + 0.9 4^2 KL(shifted(teacher@4) ‖ student@4) + 1000 attention_transfer(stage1, stage2, stage3)"
    ) in lines
    note = "teacher 2 = 0.9 4^2 KL(shifted(teacher@4) ‖ student@4) stands beside teacher; --adjustment shift changes"
    assert any(line.startswith(note) for line in lines)


def test_three_methods_at_once(in_process: InProcess) -> None:
    added = ("--add", "knowledge_adjustment", "dynamic_temperature", "tolerant_student")
    code, out, _ = in_process("explain", "distill", *added)
    assert code == 0
    assert [f"teacher {number} = " in out for number in (2, 3, 4, 5)] == [True, True, True, False]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "tolerant", "--add", "knowledge_adjustment"),
        ("study", "--arm", "baseline", "--arm", "tolerant --add knowledge_adjustment"),
    ],
)
def test_training_says_it_too_once(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def stops_at_once(study: Study, *, on_start: Callable[[], None], **_: object) -> Iterator[Event]:
        on_start()
        raise Stopped("stopped")
        yield

    monkeypatch.setattr(api, "execute", stops_at_once)
    code, _, error = in_process(*words)
    note = (
        "tolerant: teacher 2 = 0.9 4^2 KL(shifted(teacher@4) ‖ student@4) stands beside teacher; --adjustment shift"
    )
    assert code == 75
    assert error.count(note) == error.count("teacher 2") == 1


@pytest.mark.parametrize("recipe", MIXED)
def test_the_options_are_those_of_every_recipe_with_a_teacher(in_process: InProcess, recipe: str) -> None:
    code, out, _ = in_process("explain", recipe, "--add", "relational", "--adjustment", "shift", "--bias", "1")
    assert code == 0
    assert "KL(shifted(teacher" in out
    assert "25 relational_distance(flatten) + 50 relational_angle(flatten)" in out
    code, out, _ = in_process("run", recipe, "--help")
    assert code == 0
    assert all(option in out for option in ("Options of the mixture", "--add", "--adjustment", "--temperature-rule"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("run", "distill", "--add", "label_smoothing"),
            "add label_smoothing: H(labels smoothed by 0.1, student) would",
        ),
        (
            ("run", "distill", "--add", "labels_only"),
            "add labels_only: it has no term but the labels', which count once",
        ),
        (
            ("explain", "tolerant", "--add", "born_again_labels"),
            "add born_again_labels: 0.5 KL(teacher ‖ student) is there",
        ),
        (
            ("explain", "distill", "--method", "confidence_weighted", "--temperature-rule", "flsw"),
            "temperature_rule flsw: no term of B·max(teacher)/Σ max(teacher) H(labels, student) has a temperature",
        ),
        (
            ("run", "born_again", "--form", "confidence", "--adjustment", "shift"),
            "adjustment shift: no term of B·max(teacher)/Σ max(teacher) H(labels, student) has a target",
        ),
        (
            ("study", "--arm", "baseline", "--arm", "distill --add label_smoothing"),
            "arm distill: add label_smoothing: H(labels smoothed by 0.1, student) would",
        ),
        (
            ("run", "tolerant", "--generations", "0", "--add", "dist"),
            "change what students learn, and there are none",
        ),
    ],
)
def test_what_would_be_lost_is_a_mistake(
    in_process: InProcess, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, error = in_process(*words)
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
