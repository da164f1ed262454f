"""Teachers: frozen, on their student's pixels, alone or as an ensemble."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import make_splits

from tutelage.data import Batch, BatchLoader, CropFlip, Normalization
from tutelage.engine import Engine
from tutelage.models.build import build
from tutelage.objective import Prediction
from tutelage.teachers import NetworkTeacher, TeacherEnsemble


def batch() -> Batch:
    data = BatchLoader(make_splits().train, CropFlip(padding=1), 8, torch.device("cpu"))
    return next(data.batches(0, 0))


def teacher(seed: int, layers: tuple[str, ...] = ()) -> NetworkTeacher:
    normalization = Normalization((0.4,), (0.3,))
    return NetworkTeacher(build("resnet8", 4, 1, seed=seed), normalization, Engine.choose("cpu", "fp32", 1), layers)


@pytest.mark.fault(34)
def test_it_answers_in_eval_mode_without_a_graph() -> None:
    one = teacher(0, ("stage2", "flatten"))
    one.network.train()
    answer = one(batch())
    assert not one.network.training
    assert not answer.logits.requires_grad
    assert answer.features["stage2"].shape == (8, 32, 4, 4)
    assert answer.features["flatten"].shape == (8, 64)
    assert not any(feature.requires_grad for feature in answer.features.values())


@pytest.mark.fault(34)
def test_it_sees_the_batch_in_its_own_normalization() -> None:
    images = batch()
    one = teacher(0)
    expected = one.network(images.normalized(Normalization((0.4,), (0.3,))))
    torch.testing.assert_close(one(images).logits, expected)


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    images, members = batch(), [teacher(seed) for seed in range(3)]
    probs = torch.stack([member(images).logits.softmax(1) for member in members])
    torch.testing.assert_close(TeacherEnsemble(members)(images).logits.softmax(1), probs.mean(0))
    shares = torch.tensor([1.0, 2.0, 5.0])
    weighted = (probs * (shares / 8)[:, None, None]).sum(0)
    torch.testing.assert_close(TeacherEnsemble(members, shares.tolist())(images).logits.softmax(1), weighted)


def test_an_ensemble_of_certain_teachers_stays_finite() -> None:
    def certain(_: Batch) -> Prediction:
        return Prediction(torch.tensor([[0.0, 900.0]]), {})

    assert TeacherEnsemble([certain, certain])(batch()).logits.isfinite().all()


def test_ensembles_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="one share each or no shares, not 0 teachers and 0 shares"):
        TeacherEnsemble([])
    with pytest.raises(ValueError, match="not 1 teachers and 2 shares"):
        TeacherEnsemble([teacher(0)], [0.5, 0.5])
