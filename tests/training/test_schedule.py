from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.training import Cosine, Milestones, OneCycle, Schedule


def test_the_papers_milestones_fall_on_epochs_82_and_123_of_164() -> None:
    steps = 391
    shares = [Milestones().share(epoch * steps / (164 * steps)) for epoch in (0, 81, 82, 122, 123, 163)]
    assert shares == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(epochs=st.integers(1, 400), steps=st.integers(1, 500), at=st.integers(0, 400))
def test_a_milestone_never_falls_late_by_rounding(epochs: int, steps: int, at: int) -> None:
    at = min(at, epochs - 1)
    assert Milestones(at=(at / epochs,)).share(at * steps / (epochs * steps)) == pytest.approx(0.1)


@given(progress=st.floats(0, 1))
@pytest.mark.parametrize("decay", [Milestones(), Cosine(), OneCycle()])
def test_a_share_is_a_share(decay: Milestones | Cosine | OneCycle, progress: float) -> None:
    assert -1e-12 <= decay.share(progress) <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"lr": -1.0}, "lr must be at least 0"),
        ({"lr": float("nan")}, "lr must be at least 0, not nan"),
    ],
)
def test_bad_numbers(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**wrong)


def test_a_decay_must_be_one() -> None:
    with pytest.raises(TypeError, match="decay must be Milestones"):
        Schedule(decay="cosine")
