"""A model is the one that its address says, wherever it is opened; a checkpoint is continued by its model alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import Tried
from tests.faults import small
from tests.report.made import arm, write
from tutelage import storage
from tutelage.analysis import load_results
from tutelage.artifacts.config import address_of, model_address, read_config
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import read_pretrained
from tutelage.engine import Engine
from tutelage.export import find_model, load_model
from tutelage.lineage import networks_of
from tutelage.methods.label_smoothing import label_smoothing
from tutelage.storage import Damaged
from tutelage.study import Study

FAULT = pytest.mark.fault(39)
REFUSED = r"config\.json describes the model {0}, not {1}: it is another model's"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model, Model]:
    """A runs folder with two finished models of one network, trained by different objectives."""
    torch.set_num_threads(1)
    runs, data = tmp_path_factory.mktemp("two"), small.splits()
    lines = small.line(), small.line(small.generation(objective=label_smoothing()))
    for line in lines:
        small.run(line, data, runs)
    one, other = (small.models(line, data, runs)[0] for line in lines)
    return runs, one, other


@pytest.fixture
def mistaken(two: tuple[Path, Model, Model], tmp_path: Path) -> tuple[Path, Model, str]:
    """A copy of it in which the first model's folder holds the second one; and the address of that."""
    runs, one, other = two
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    model = Model(address=one.address, folder=copy / "models" / one.address)
    shutil.rmtree(model.folder)
    shutil.copytree(other.folder, model.folder)
    return copy, model, other.address


@FAULT
def test_the_address_is_that_of_the_configuration(two: tuple[Path, Model, Model]) -> None:
    for model in two[1:]:
        config = read_config(model.folder)
        assert model.address == model_address(config) == address_of(model.folder)
        assert model.config() == config


READERS: dict[str, Callable[[Path, Model], object]] = {
    "evaluation": lambda runs, model: model.evaluation(),
    "config": lambda runs, model: model.config(),
    "metrics": lambda runs, model: model.metrics(),
    "predictions": lambda runs, model: model.predictions(),
    "weights": lambda runs, model: model.weights(),
    "verify": lambda runs, model: model.verify(),
    "network": lambda runs, model: model.load_network(),
    "training again": lambda runs, model: small.run(small.line(), small.splits(), runs),
    "as a teacher": lambda runs, model: read_pretrained(model.folder),
    "a folder to export": lambda runs, model: find_model(str(model.folder), runs),
    "a link to it": lambda runs, model: find_model(link(model.folder), runs),
    "an address to export": lambda runs, model: find_model(model.address[:9], runs),
    "a folder to predict with": lambda runs, model: load_model(str(model.folder), runs),
}


def link(folder: Path) -> str:
    (folder.parents[1] / "link").symlink_to(folder)
    return str(folder.parents[1] / "link")


@FAULT
@pytest.mark.parametrize("reader", READERS)
def test_a_model_under_the_address_of_another_is_refused(mistaken: tuple[Path, Model, str], reader: str) -> None:
    runs, model, other = mistaken
    before = small.state(runs)
    with pytest.raises(Damaged, match=REFUSED.format(other, model.address)):
        READERS[reader](runs, model)
    assert small.state(runs) == before


@FAULT
@pytest.mark.parametrize("change", ["dependencies", "seed", "objective", "nothing whole"])
def test_a_configuration_of_another_model_is_refused(
    two: tuple[Path, Model, Model], tmp_path: Path, change: str
) -> None:
    """With a manifest that fits: by another program, or by hand."""
    _, model, _ = two
    folder = Path(shutil.copytree(model.folder, tmp_path / model.address))
    config = read_config(folder)
    generation = config["lineage"]["generations"][0]
    if change == "dependencies":
        config["dependencies"]["source"] = "another"
    elif change == "seed":
        config["seed"] += 1
    elif change == "objective":
        generation["objective"]["terms"][0]["target"]["smoothing"] = 0.25
    else:
        del generation["schedule"]
    files = {name: (folder / name).read_bytes() for name in storage.read_manifest(folder)["files"]}
    storage.commit(folder, files | {"config.json": storage.json_bytes(config)})
    with pytest.raises(Damaged, match=r"describes the model \w{24}, not|config\.json has no "):
        Model(address=model.address, folder=folder).evaluation()


@FAULT
def test_a_copy_under_a_name_of_its_own_is_the_model_that_it_was(
    two: tuple[Path, Model, Model], tmp_path: Path
) -> None:
    _, model, _ = two
    shutil.copytree(model.folder, tmp_path / "my student")
    source = find_model(str(tmp_path / "my student"), tmp_path / "runs")
    assert (source.model.address, source.trusted) == (model.address, False)
    assert source.model.evaluation() == model.evaluation()


@FAULT
@pytest.mark.parametrize("own", [False, True], ids=["alone", "beside its own"])
def test_a_checkpoint_of_another_model_is_not_continued(own: bool, tmp_path: Path) -> None:
    """Of the same network, so that every tensor fits."""
    data, line, other = small.splits(), small.line(), small.line(small.generation(objective=label_smoothing()))
    small.run(line, data, tmp_path / "alone")
    (undisturbed,) = small.models(line, data, tmp_path / "alone")
    small.interrupt(other, data, tmp_path / "runs")
    (model,), (stranger,) = (small.models(each, data, tmp_path / "runs") for each in (line, other))
    if own:
        small.interrupt(line, data, tmp_path / "runs")
        newest = storage.checkpoints(stranger.folder)[0].folder
        shutil.copytree(newest, model.folder / "checkpoints" / "000000007")
        warnings: list[str] = []
        small.run(line, data, tmp_path / "runs", warn=warnings.append)
        (warning,) = warnings
        assert f"skipping a damaged checkpoint: {model.folder}/checkpoints/000000007 is a checkpoint of" in warning
        assert model.weights_digest() == undisturbed.weights_digest()
    else:
        model.folder.mkdir(parents=True)
        shutil.copytree(stranger.folder / "checkpoints", model.folder / "checkpoints")
        with pytest.raises(Damaged, match=f"is a checkpoint of {stranger.address}, not of {model.address}"):
            small.run(line, data, tmp_path / "runs")
        assert not model.finished


@FAULT
def test_a_network_that_is_edited_between_generations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second generation would be another model than its address says."""
    code = "import tests.faults.small as s\n\n\ndef net(num_classes):\n    return s.Small(num_classes, 1)\n"
    file = tmp_path / "mine.py"
    file.write_text(code)
    monkeypatch.setattr(small, "NET", f"{file}:net")
    first, second = small.generation("first"), small.generation("second", teachers=(0,))
    line = small.line(first, second)
    engine, data = Engine.choose("cpu", "fp32", 1), small.splits()
    networks = networks_of(line, 0, data, tmp_path, engine)
    small.run(small.line(first), data, tmp_path)
    file.write_text(code.replace("1)\n", "1, 5)\n"))
    from tutelage.lineage import TrainOptions
    from tutelage.lineage.checkpoints import Callbacks
    from tutelage.lineage.generation_trainer import GenerationTrainer

    callbacks = Callbacks(lambda: False, print, lambda: None)
    trainer = GenerationTrainer(networks, 1, TrainOptions(), callbacks, tmp_path / "teachers")
    with pytest.raises(ValueError, match=r"second: .*mine\.py:net has changed since this run began"):
        list(trainer.run())


@FAULT
def test_a_table_of_many_models_is_as_fast(tmp_path: Path, tried: Tried) -> None:
    """Sixteen arms of six seeds: each address is computed once, in less than half of the processor time."""
    arms = tuple(arm(f"arm {number}", lr=0.1 + number / 100) for number in range(16))
    study = Study(lineages=arms, seeds=tuple(range(6)))
    write(study, tmp_path, lambda name, place, seed: 0.5)
    from tutelage.artifacts import config

    whole, alone = list[float](), list[float]()
    for _ in range(3):  # the least of each: a neighbour on the machine takes time from one of them or the other
        config._described.cache_clear()
        start = time.process_time()
        results = load_results(study.name, tmp_path)
        whole.append(time.process_time() - start)
        models = [model for generation in results.generations for model in generation.models.values()]
        assert len(models) == 96
        assert config._described.cache_info().misses == 96  # each configuration is hashed once
        config._described.cache_clear()
        start = time.process_time()
        for model in models:
            config.check_address(model.folder, model.address)
        alone.append(time.process_time() - start)
    print(f"{min(whole):.3f} s, {min(alone):.3f} s of it for the addresses")
    assert min(alone) < 0.5 * min(whole)
    tried(len(models), "models of one table, whose addresses were computed again")
