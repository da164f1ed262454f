"""Pickles that execute code, through every way in which a command or a function reads a file that others wrote.

A row of ENTRIES is one such way: where the stranger's bytes are put, the command, and its allowed exit codes. ``2``
and ``1`` come with one clear line; ``0`` is for commands that do not read that file, or create it again.
"""

from __future__ import annotations

import itertools
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Many, Tried
from tests.data.conftest import tar_gz
from tests.data.folders import read_image
from tests.faults.foreign import (
    OPTIONS,
    RUN,
    World,
    entry,
    forge,
    make,
    payloads,
    program,
    put,
    remove_marker,
    values,
)
from tutelage import storage, user_code
from tutelage.analysis import load_results
from tutelage.artifacts.model import Model
from tutelage.data import DataConfig
from tutelage.data.cifar import import_archive, load_cifar
from tutelage.data.layouts import LAYOUTS
from tutelage.data.load import load
from tutelage.data.pickles import read_pickle
from tutelage.export import load_model
from tutelage.models.weights import read_weights
from tutelage.recipes.study_spec import read_study
from tutelage.study import load_study
from tutelage.study.files import load_failures
from tutelage.teachers.logit_store import LogitStore
from tutelage.validation import parse_json

pytestmark = pytest.mark.fault(28)

MODEL_FILES = ("config.json", "evaluation.json", "metrics.jsonl", "predictions.safetensors", "weights.safetensors")
SHOW, REPORT, LIST = ("show", "{study}"), ("report", "{study}"), ("list", "runs")
WITH_DIAGNOSTICS = ("report", "{study}", "--diagnostics")
DIAGNOSE, TRANSFER = ("diagnose", "{study}"), ("transfer", "{study}", "--data", "digits", *OPTIONS, "--probe", "knn")
EXPORT, PREDICT = ("export", "{study}:0", "--format", "safetensors"), ("predict", "{study}:0", "image.png")
WITH_TEACHER = (*RUN, "--seeds", "3", "--teacher-weights", "{teacher}")
BASELINE = ("run", "baseline", "--epochs", "1", "--threads", "1", "--track", "none", "--data")
READERS = {
    "show": (SHOW, "22 22 00 00 00 22 2 2 2"),
    "list": (LIST, "00 00 00 00 00 00 0 0 0"),
    "report": (REPORT, "22 22 22 00 00 22 2 2 2"),
    "report --diagnostics": (WITH_DIAGNOSTICS, "22 22 22 22 00 22 2 2 2"),
    "diagnose": (DIAGNOSE, "22 22 00 22 02 22 2 2 2"),
    "transfer": (TRANSFER, "22 22 00 00 02 22 2 2 2"),
    "export": (EXPORT, "22 22 22 22 22 22 0 2 2"),
    "predict": (PREDICT, "22 22 22 20 22 22 0 2 2"),
    "run": (RUN, "22 22 11 10 10 00 0 2 0"),
    "run --teacher-weights": (WITH_TEACHER, "22 20 20 20 22 00 0 2 0"),
}
"""Commands that read a run, and the exit code for each file of :func:`replaced_files` in turn."""


class Entry(NamedTuple):
    """A way in: where a stranger's bytes are put, the command, its allowed exit codes, and the expected message."""

    put: Callable[[World, bytes], object]
    words: tuple[str, ...]
    codes: tuple[int, ...] = (2,)
    says: str = ""


def beside(name: str, world: World, payload: bytes) -> None:
    put(world.folder / name, payload)


def in_runs(name: str, forged: bool, world: World, payload: bytes) -> None:
    """In the run: replaces a file of its first model, its study, or what was computed from them later."""
    name = name.replace("study.json", "study*.json")  # a command that saves the study again numbers its file
    path = next(world.runs.glob(name.format(model=world.models[0], study=world.study)))
    (forge if forged else put)(path, payload)


def as_object(world: World, payload: bytes) -> None:
    """An ``.npz`` with one malicious array."""
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    objects = np.array([values(world.marker)["os.system"]] * 20, object)
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    which = list(arrays)[len(payload) % 4]
    np.savez(world.folder / "evil.npz", **arrays | {which: objects})


def as_class(world: World, payload: bytes) -> None:
    """A folder of images with one file that is not an image."""
    for number in range(6):
        path = world.folder / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(path)
    put(world.folder / "photos" / "b" / "1.png", payload)


def in_archive(world: World, payload: bytes) -> None:
    layout = LAYOUTS["cifar10"]
    files = {f"{layout.folder}/{name}": payload for name in (layout.meta, *layout.train, *layout.test)}
    put(world.folder / "evil.tar.gz", tar_gz(files))


def unpacked(world: World, payload: bytes) -> None:
    layout = LAYOUTS["cifar10"]
    for name in (layout.meta, *layout.train, *layout.test):
        put(world.folder / layout.folder / name, payload)


def as_dataset(forged: bool, world: World, payload: bytes) -> None:
    """An imported dataset that somebody has changed."""
    folder, note = world.folder / "data" / "cifar10", {"name": "cifar10", "source": {"file": "a", "official": True}}
    storage.commit(folder, {"data.safetensors": b"not yet"}, note)
    (forge if forged else put)(folder / "data.safetensors", payload)


def checkpoint(name: str, world: World, payload: bytes) -> None:
    """The first model is unfinished and has a checkpoint with a valid manifest."""
    files = {
        "state.safetensors": storage.tensor_bytes({"network/a": torch.zeros(1)}),
        "history.json": b"[]",
        "environment.json": b"{}",
    }
    storage.remove(world.model())
    storage.save_checkpoint(world.model(), 1, files | {name: payload}, owner=world.model().name)


def other_checkpoint(world: World, payload: bytes) -> None:
    """A checkpoint that can be read and says that it is the model's, but holds the state of another network."""
    checkpoint("history.json", world, b'[{"epoch": 1}]')


def exported(name: str, world: World, payload: bytes) -> None:
    """An exported folder whose model.json lists the stranger's file with its actual size and checksum."""
    metadata = json.loads((world.folder / "exported" / "model.json").read_bytes())
    content = program({key: metadata[key] for key in metadata if key not in ("files", "checked")}, payload)
    content = content if name.endswith(".pt2") else payload
    put(world.folder / "exported" / name, content)
    put(world.folder / "exported" / "model.json", json.dumps(metadata | {"files": {name: entry(content)}}).encode())


def replaced_files() -> Iterator[tuple[str, Callable[[World, bytes], object]]]:
    """The files of a run: each of the first model and the study, replaced and forged, then the others."""
    for path in (*(f"models/{{model}}/{name}" for name in MODEL_FILES), "studies/{study}/study.json"):
        for forged in (False, True):
            yield f"{Path(path).name} {'forged' if forged else 'replaced'}", partial(in_runs, path, forged)
    yield "failures.json", failures
    for folder in ("models/{model}", "studies/{study}"):
        yield f"manifest.json of {folder[:5]}", partial(in_runs, f"{folder}/manifest.json", False)


def entries() -> Iterator[tuple[str, Entry]]:
    for suffix in (".pt", ".pth.tar", ".bin", ".safetensors", ".onnx", ""):
        name = f"teacher{suffix}"
        words = (*RUN, "--teacher-weights", name)
        yield f"run --teacher-weights {name}", Entry(partial(beside, name), words, says=name)
    arm = "distill --teacher resnet8 --teacher-weights teacher.pt --epochs 1"
    study = ("study", "--threads", "1", "--track", "none")
    yield "study --arm", Entry(partial(beside, "teacher.pt"), (*study, "--arm", arm, *OPTIONS), says=r"teacher\.pt")
    yield (
        "study FILE.toml",
        Entry(partial(beside, "teacher.pt"), ("study", "mine.toml", *study[1:]), says=r"teacher\.pt"),
    )
    words = ("explain", "distill", "--teacher", "resnet8", "--teacher-weights", "teacher.pt", *OPTIONS)
    yield "explain --shares", Entry(partial(beside, "teacher.pt"), (*words, "--shares"), says=r"teacher\.pt")
    yield "a payload as TOML", Entry(partial(beside, "evil.toml"), ("study", "evil.toml"), says=r"evil\.toml")

    for name, (words, codes) in READERS.items():
        for (label, where), code in zip(replaced_files(), codes.replace(" ", ""), strict=True):
            yield f"{name}: {label}", Entry(where, words, (int(code),))
    made_again = {"measured/*/train.safetensors": DIAGNOSE, "transfer/*/*/transfer.json": TRANSFER}
    for (name, words), forged in itertools.product(made_again.items(), (False, True)):
        where = partial(in_runs, name, forged)
        yield f"{words[0]}: {name} {'forged' if forged else 'replaced'}", Entry(where, words, (0, 2))
    for name, code in {"store.json": 1, "rows": 0, "*.block": 0}.items():
        more = (*RUN, "--temperature", "3")
        yield f"run: teachers/*/{name}", Entry(partial(in_runs, f"teachers/*/{name}", False), more, (code,))
    for name in ("state.safetensors", "history.json", "environment.json"):
        yield f"run: checkpoint, {name}", Entry(partial(checkpoint, name), RUN, (1,), "failed: ")
    yield "run: checkpoint, of something else", Entry(other_checkpoint, RUN, (1,), "failed: ")

    for words in (("run", "baseline"), ("explain", "baseline"), ("transfer", "{study}")):
        for name, where in {"evil.npz": partial(beside, "evil.npz"), "photos": as_class}.items():
            yield f"{words[0]} --data {name}", Entry(where, (*words, "--data", name), says="evil|photos")
    yield "run --data, objects", Entry(as_object, (*BASELINE, "evil.npz"), says="Python objects, which are refused")
    words = ("data", "import", "cifar10")
    yield "data import FILE", Entry(partial(beside, "evil.tar.gz"), (*words, "evil.tar.gz"), says=r"evil\.tar\.gz")
    yield "data import, a member", Entry(in_archive, (*words, "evil.tar.gz"), says="cifar-10-batches-py/")
    yield "data import FOLDER", Entry(unpacked, (*words, "cifar-10-batches-py"), says="cifar-10-batches-py/")
    for forged in (False, True):
        where, how = partial(as_dataset, forged), "forged" if forged else "replaced"
        yield f"data check, {how}", Entry(where, ("data", "check", "cifar10"), (0,) if forged else (2,))
        yield f"run --data cifar10, {how}", Entry(where, (*BASELINE, "cifar10"), says=r"data\.safetensors")

    for name in ("weights.safetensors", "model.onnx", "model.pt2"):
        alone = partial(beside, name)
        yield f"predict {name}", Entry(alone, ("predict", name, "image.png"), says=re.escape(name))
        for words in ("exported", f"exported/{name}"):
            yield f"predict {words} of {name}", Entry(partial(exported, name), ("predict", words, "image.png"))
    where = partial(beside, "exported/model.json")
    yield "predict exported, model.json", Entry(where, ("predict", "exported", "image.png"), says=r"model\.json")
    yield "export --to", Entry(where, ("export", "{study}", "--to", "exported"), says=r"model\.json")
    yield "predict IMAGE", Entry(partial(beside, "evil.png"), ("predict", "exported", "evil.png"), says=r"evil\.png")


def failures(world: World, payload: bytes) -> None:
    put(world.runs / "studies" / world.study / "failures.json", payload)


ENTRIES = dict(entries())


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("foreign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        patch.setenv("TUTELAGE_RUNS", "runs")
        patch.chdir(folder)
        torch.set_num_threads(1)
        return folder, *make(folder)


@pytest.fixture
def world(
    finished: tuple[Path, str, tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> World:
    source, study, models = finished
    folder = tmp_path / "work"
    shutil.copytree(source, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TUTELAGE_RUNS", "runs")
    monkeypatch.setenv("TUTELAGE_DATA", str(folder / "data"))
    monkeypatch.setattr("os.fsync", lambda _: None)
    Image.new("L", (8, 8)).save(folder / "image.png")
    (folder / "mine.toml").write_text(
        'arms = [{recipe = "distill", teacher = ["resnet8"], teacher_weights = ["teacher.pt"]}]\n'
        "train_size = 20\ntest_size = 20\nepochs = 1\n"
    )
    return World(folder=folder, study=study, models=models, capture=capsys)


def test_the_payloads_are_live(tmp_path: Path) -> None:
    """Without this the other tests would prove nothing."""
    marker = tmp_path / "marker"
    for name, value in values(marker).items():
        pickle.loads(pickle.dumps(value, protocol=2))
        assert remove_marker(marker), name
    for name in ("torch.save", "torch.save, old"):
        (tmp_path / "file").write_bytes(payloads(marker)[name])
        torch.load(tmp_path / "file", weights_only=False)
        assert remove_marker(marker), name
    for name in (".npy", ".npz"):
        (tmp_path / "file").write_bytes(payloads(marker)[name])
        arrays = np.load(tmp_path / "file", allow_pickle=True)
        assert remove_marker(marker) or (arrays["train_images"] is not None and remove_marker(marker)), name


@pytest.mark.parametrize("name", ENTRIES)
def test_no_command_runs_a_payload(name: str, world: World, many: Many, tried: Tried) -> None:
    case, contents = ENTRIES[name], list(payloads(world.marker).items())
    number = list(ENTRIES).index(name)
    count = many(1, len(contents))
    for step in range(count):  # a different payload per way in, all of them in ``make torture``
        payload, content = contents[(number + step) % len(contents)]
        case.put(world, content)
        outcome = world.tutelage(*case.words)
        assert not remove_marker(world.marker), (name, payload)
        assert outcome.code in case.codes, (payload, outcome)
        assert "Traceback" not in outcome.err
        if outcome.code:
            *_, last = outcome.err.splitlines()
            assert last.startswith("tutelage: " if outcome.code == 2 else ("tutelage: ", "seed 0")), outcome.err
            assert re.search(case.says, outcome.err), outcome.err
            assert "pickle.load" not in outcome.err  # torch's own message advises to load the file unsafely
    tried(count, "commands given a payload, none of which ran")


def functions(world: World, payload: bytes) -> dict[str, Callable[[], object]]:
    """The same for Python: the functions that read a file."""
    evil, model = world.folder / "evil", Model(address=world.model().name, folder=world.model())
    put(evil, payload)
    for name in ("evil.npz", "evil.png", "evil.pt", "evil.safetensors", "evil.pt2", "evil.onnx", "evil.toml"):
        put(world.folder / name, payload)
    in_archive(world, payload)
    for name in MODEL_FILES:
        forge(model.folder / name, payload)
    forge(world.runs / "studies" / world.study / "study.json", payload)
    put(world.runs / "studies" / world.study / "failures.json", payload)
    as_dataset(True, world, payload)
    photo = world.folder / "evil.png"
    opened = ("evil.pt2", "evil.onnx", "evil.safetensors")
    return {
        "read_weights": lambda: read_weights(world.folder / "evil.pt"),
        "read_weights, safetensors": lambda: read_weights(world.folder / "evil.safetensors"),
        "read_weights, folder": lambda: read_weights(model.folder),
        "read_pickle": lambda: read_pickle(payload, "evil"),
        "load, npz": lambda: load(DataConfig(name=str(world.folder / "evil.npz")), world.folder),
        "load_cifar": lambda: load_cifar("cifar10", world.folder / "data"),
        "import_archive": lambda: import_archive("cifar10", world.folder / "evil.tar.gz", world.folder / "data"),
        "read_image": lambda: read_image(photo, 1, 8),
        "read_tensors": lambda: storage.read_tensors(evil),
        "parse_json": lambda: parse_json(payload, "evil"),
        "read_study": lambda: read_study(world.folder / "evil.toml"),
        "load_study": lambda: load_study(world.study, world.runs),
        "load_results": lambda: load_results(world.study, world.runs),
        "load_failures": lambda: load_failures(world.study, world.runs),
        **{
            part.__name__: part
            for part in (model.evaluation, model.config, model.metrics, model.predictions, model.weights)
        },
        **{f"load_model {name}": partial(load_model, str(world.folder / name), world.runs) for name in opened},
    }


def test_no_function_runs_a_payload(world: World, many: Many, tried: Tried) -> None:
    count = 0
    for payload, content in list(payloads(world.marker).items())[:: many(4, 1)]:
        for name, read in functions(world, content).items():
            with pytest.raises(ValueError, match=r"\S"):
                read()
            assert not remove_marker(world.marker), (name, payload)
            count += 1
    tried(count, "functions given a payload, none of which ran")


def test_no_store_runs_a_payload(world: World, tried: Tried) -> None:
    """Damaged parts of a store are set aside and computed again."""
    count = 0
    for content in payloads(world.marker).values():
        for name in ("000000000000-1.block", "rows", "000000000000-3.block"):
            with LogitStore(world.folder / "store", {"a": 1}, size=4, num_classes=2, warn=lambda _: None) as store:
                put(store.folder / name, content)
            opened = LogitStore(world.folder / "store", {"a": 1}, size=4, num_classes=2, warn=lambda _: None)
            assert len(opened.keys) == 0
            count += 1
    assert not remove_marker(world.marker)
    tried(count, "stores with a payload, none of which ran")


def code_uses() -> dict[str, list[str]]:
    """Where the source unpickles, imports by name, or evaluates code."""
    unpickle = (
        r"pickle\.|\bmarshal\b|shelve|joblib|torch\.load|torch\.export\.load|torch\.jit|np\.load\(|allow_pickle"
    )
    run = r"(?<!\.)\beval\(|\bexec\(|exec_module|import_module|__import__|runpy|trust_remote_code|from_pretrained"
    words = f"{unpickle}|format\\.read_array\\(|{run}"
    source, matches = Path(user_code.__file__).parent, {}
    for path in sorted(source.rglob("*.py")):
        code = re.sub(r'"""[\s\S]*?"""', "", path.read_text()).replace('torch.export.load("', "")  # a card's example
        if lines := [line.strip() for line in code.splitlines() if re.search(words, line.partition("  #")[0])]:
            matches[str(path.relative_to(source))] = lines
    return matches


ACCOUNTED: dict[str, dict[str, str]] = {
    "serialization.py": {
        "importlib.import_module(f": "only modules below tutelage, or those the caller allows by name",
        "importlib.import_module(package)": "a package of ours",
    },
    "data/npz.py": {"allow_pickle=False": "refused by its header before, and by NumPy then"},
    "export/formats.py": {"importlib.import_module(package)": "onnx, onnxscript or onnxruntime"},
    "export/read.py": {"torch.export.load(": "only with --trust, or the bytes just written"},
    "models/_transformers.py": {
        'importlib.import_module("': "transformers and huggingface_hub",
        "from_pretrained(": "local files, safetensors only, no code of theirs",
        "trust_remote_code=False": "no code of theirs",
    },
    "models/external.py": {"importlib.import_module(package)": "timm or transformers"},
    "user_code.py": {
        "spec.loader.exec_module(module)": "what a user names on the command line or in Python; not from a TOML file",
        "importlib.import_module(source)": "the same as a module",
    },
    "models/weights.py": {"torch.load(path, map_location": "weights_only=True"},
    "track/dispatch.py": {"importlib.import_module(f": "one of three trackers, by a name that was checked"},
}


def test_every_place_that_could_run_code_is_accounted_for() -> None:
    for file, lines in code_uses().items():
        reasons = ACCOUNTED.get(file, {})
        for line in lines:
            assert any(expected in line for expected in reasons), (
                f"{file}: {line}: why does this not run a stranger's code?"
            )
    assert code_uses().keys() >= ACCOUNTED.keys()
    weights = (Path(user_code.__file__).parent / "models" / "weights.py").read_text()
    assert "weights_only=True" in weights
    assert "weights_only=False" not in weights


def test_a_stranger_cannot_name_code_in_a_json_file(world: World, tried: Tried) -> None:
    """The functions and values of a configuration are tutelage's own, referred to by name."""
    path = world.runs / "studies" / world.study / "study.json"
    original = path.read_text()
    (world.folder / "evil.py").write_text(f"open({str(world.marker)!r}, 'w')\n")
    names = ("os:system", "evil:net", "evil.py:net", "builtins:eval", "tutelage.config:os", "config:json")
    names += ("storage.files:shutil", "storage.files.shutil:rmtree", "__main__:main", "..evil:net", "subprocess:run")
    for name in names:
        for reference in ('"functional:cross_entropy"', '"objective:Match"', '"lineage:Generation"'):
            assert reference in original
            forge(path, original.replace(reference, json.dumps(name)).encode())
            outcome = world.tutelage("show", "{study}")
            assert (outcome.code, len(outcome.err.splitlines())) == (2, 1), (name, reference, outcome)
            assert not remove_marker(world.marker)
    tried(3 * len(names), "names of code in a study.json, none of which was imported")


PLAIN = "{mark}\nfrom torch import nn\ndef net(num_classes, in_channels):\n    return nn.Flatten()\n"
CODE = {
    "a function": (PLAIN, True),
    "a class": ("{mark}\nfrom torch import nn\nclass net(nn.Flatten):\n    pass\n", True),
    "assigned": ("{mark}\nfrom torch import nn\nnet = nn.Flatten\n", False),
    "decorated": ("{mark}\nimport functools\n@functools.cache\ndef net(): ...\n", False),
    "twice": (PLAIN + "def net(): ...\n", False),
    "imported": ("{mark}\nfrom torch.nn import Flatten as net\n", False),
    "from anywhere": (PLAIN + "from os.path import *\n", False),
    "inside": ("{mark}\nif True:\n    def net(): ...\n", False),
    "not there": ("{mark}\n", False),
    "no Python": ("{mark}\ndef net(:\n", False),
    "too deep": ("{mark}\ndef net(): ...\nx = " + "(" * 5000 + ")" * 5000, False),
}


@pytest.mark.parametrize("name", CODE)
def test_showing_a_strangers_run_runs_no_network_of_theirs(name: str, world: World) -> None:
    """The file is read for its SHA-256, and imported only on request."""
    text, plain = CODE[name]
    for package in ("evil.py", "package/evil.py"):
        (world.folder / package).parent.mkdir(exist_ok=True)
        (world.folder / package).write_text(text.replace("{mark}", f"open({str(world.marker)!r}, 'w').close()"))
    (world.folder / "package" / "__init__.py").write_text(f"open({str(world.marker)!r}, 'w').close()\n")
    path = world.runs / "studies" / world.study / "study.json"
    original = path.read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(world.folder)
        for where in ("evil.py:net", f"{world.folder}/evil.py:net", "evil:net", "package.evil:net"):
            forge(path, original.replace('"model": "resnet8"', f'"model": "{where}"').encode())
            for words in (SHOW, REPORT):
                outcome = world.tutelage(*words)
                assert not remove_marker(world.marker), (where, words)
                assert outcome.code == (0 if plain else 2), outcome
                assert plain or "is code outside tutelage, and importing it runs it: add --trust" in outcome.err
    if name in ("assigned", "decorated", "twice"):
        forge(path, original.replace('"model": "resnet8"', '"model": "evil.py:net"').encode())
        assert world.tutelage(*SHOW, "--trust").code == 0
        assert remove_marker(world.marker)
